//! Cache fills that race with changes, in every order. Each actor is a future that yields after each step; a scheduler
//! runs every possible interleaving, each on a new cache.

use std::cell::{Cell, RefCell};
use std::future::{Ready, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{InvalidKeys, RowCache};
use crate::crypto::TokenHash;
use crate::error::{Error, Result};
use crate::model::session::SessionEntry;

const A: TokenHash = TokenHash([1; 32]);
const B: TokenHash = TokenHash([2; 32]);

/// The row of a token at a version, which is stored in a field that the cache ignores.
fn row(version: u32) -> SessionEntry {
    let mut row = SessionEntry::example();
    row.generations_behind = version;
    row
}

/// State shared by the actors of one run.
struct World {
    cache: RowCache<TokenHash, SessionEntry>,
    /// The database: its version, which counts changes.
    committed: Cell<u32>,
    acknowledged: Cell<u32>,
    answers: Cell<usize>,
}

impl World {
    fn new() -> Self {
        Self::with(RowCache::new(Some(100), Arc::default()))
    }

    fn with(cache: RowCache<TokenHash, SessionEntry>) -> Self {
        Self { cache, committed: Cell::new(0), acknowledged: Cell::new(0), answers: Cell::new(0) }
    }

    fn check_answer(&self, began_at: u32, answer: &SessionEntry) {
        self.answers.set(self.answers.get() + 1);
        assert!(
            answer.generations_behind >= began_at,
            "a verification that began after change {began_at} was acknowledged saw {}",
            answer.generations_behind
        );
    }

    fn check_cache(&self) {
        for token in [A, B] {
            let cached = self.cache.rows.as_ref().and_then(|rows| rows.peek(&token));
            if let Some(cached) = cached {
                let acknowledged = self.acknowledged.get();
                assert!(cached.generations_behind >= acknowledged, "the cache holds what change {acknowledged} ended");
            }
        }
    }
}

/// Yields: the scheduler picks the actor of the next step.
async fn step() {
    let mut stopped = false;
    poll_fn(|context| {
        if std::mem::replace(&mut stopped, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

type Actor = Pin<Box<dyn Future<Output = ()>>>;

/// Steps: insert the placeholder; read; cache the row and answer.
fn verify(world: &Rc<World>, token: TokenHash) -> Actor {
    let world = Rc::clone(world);
    Box::pin(async move {
        let began_at = world.acknowledged.get();
        if let Some(found) = world.cache.get(&token) {
            return world.check_answer(began_at, &found);
        }
        let read = async {
            step().await;
            let version = world.committed.get();
            step().await;
            Ok(Some(row(version)))
        };
        let found = world.cache.get_or_read(&token, read).await.unwrap().unwrap();
        world.check_answer(began_at, &found);
    })
}

/// The same for two tokens at once.
fn verify_batch(world: &Rc<World>) -> Actor {
    let world = Rc::clone(world);
    Box::pin(async move {
        let began_at = world.acknowledged.get();
        let read = || async {
            step().await;
            let version = world.committed.get();
            step().await;
            Ok(vec![(B, row(version)), (A, row(version))])
        };
        let found = world.cache.fill_many(&[A, B, A], read).await.unwrap();
        assert_eq!(found.len(), 2);
        for entry in found.values() {
            world.check_answer(began_at, entry);
        }
    })
}

/// Steps: commit; invalidate; acknowledge.
fn change(world: &Rc<World>, invalidated: InvalidKeys<TokenHash>) -> Actor {
    let world = Rc::clone(world);
    Box::pin(async move {
        let version = world.committed.get() + 1;
        world.committed.set(version);
        step().await;
        world.cache.invalidate(&invalidated);
        step().await;
        world.acknowledged.set(world.acknowledged.get().max(version));
    })
}

/// A verification whose read of the database fails.
fn fail(world: &Rc<World>, token: TokenHash) -> Actor {
    let world = Rc::clone(world);
    Box::pin(async move {
        let read = async {
            step().await;
            Err(Error::store_unavailable("away"))
        };
        // A hit, another actor's row and its own failure are all correct.
        let _ = world.cache.get_or_read(&token, read).await;
    })
}

#[derive(Default)]
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// An actor, until it is done or cancelled, and whether it is ready to run.
struct Running {
    actor: RefCell<Option<Actor>>,
    woken: Arc<WakeFlag>,
}

impl Running {
    fn new(actor: Actor) -> Self {
        let woken = Arc::new(WakeFlag(AtomicBool::new(true)));
        Self { actor: RefCell::new(Some(actor)), woken }
    }

    fn is_done(&self) -> bool {
        self.actor.borrow().is_none()
    }

    fn can_resume(&self) -> bool {
        !self.is_done() && self.woken.0.load(Ordering::SeqCst)
    }

    fn resume(&self) {
        self.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut actor = self.actor.borrow_mut();
        let Some(running) = actor.as_mut() else { return };
        if running.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            *actor = None;
        }
    }
}

/// Runs the actors that `make` returns in every order, and returns the number of orders. The actor `cancelled` is also
/// cancelled at every point, as if its caller had disconnected.
fn in_every_order(cancelled: Option<usize>, make: impl Fn(&Rc<World>) -> Vec<Actor>) -> usize {
    // The choice made at each step, and the number of options.
    let mut choices: Vec<(usize, usize)> = Vec::new();
    let mut orders = 0;
    loop {
        let world = Rc::new(World::new());
        let actors: Vec<Running> = make(&world).into_iter().map(Running::new).collect();
        let mut may_cancel = cancelled.is_some();
        let mut depth = 0;
        loop {
            let mut options: Vec<Option<usize>> =
                (0..actors.len()).filter(|number| actors[*number].can_resume()).map(Some).collect();
            if may_cancel && cancelled.is_some_and(|number| !actors[number].is_done()) {
                options.push(None);
            }
            if options.is_empty() {
                break;
            }
            if depth == choices.len() {
                choices.push((0, options.len()));
            }
            assert_eq!(choices[depth].1, options.len(), "a run repeats what it did before");
            match (options[choices[depth].0], cancelled) {
                (Some(number), _) => actors[number].resume(),
                (None, Some(number)) => {
                    may_cancel = false;
                    actors[number].actor.take();
                }
                (None, None) => unreachable!("nobody gives up"),
            }
            world.check_cache();
            depth += 1;
        }
        assert!(actors.iter().all(Running::is_done), "somebody waits for ever: {choices:?}");
        orders += 1;
        // Depth first: advances the last choice that has another option.
        while choices.pop_if(|(choice, options)| *choice + 1 == *options).is_some() {}
        let Some((choice, _)) = choices.last_mut() else { return orders };
        *choice += 1;
    }
}

fn tokens(tokens: &[TokenHash]) -> InvalidKeys<TokenHash> {
    InvalidKeys::Named(tokens.to_vec())
}

#[test]
fn a_fill_against_a_change_in_every_order() {
    let orders = in_every_order(None, |world| vec![verify(world, A), change(world, tokens(&[A]))]);
    assert_eq!(orders, 20, "three steps against three");
}

#[test]
fn a_filler_others_who_wait_for_it_and_a_change_in_every_order() {
    let orders = in_every_order(None, |world| {
        vec![verify(world, A), verify(world, A), change(world, tokens(&[A])), verify(world, A)]
    });
    assert!(orders > 1_000, "{orders}");
}

#[test]
fn two_changes_that_follow_each_other_closely_in_every_order() {
    let orders =
        in_every_order(None, |world| vec![verify(world, A), change(world, tokens(&[A])), change(world, tokens(&[A]))]);
    assert!(orders > 1_000, "{orders}");
}

#[test]
fn a_change_of_everything_in_every_order() {
    let orders = in_every_order(None, |world| {
        vec![verify(world, A), verify(world, B), change(world, InvalidKeys::Everything), verify(world, A)]
    });
    assert!(orders > 1_000, "{orders}");
}

#[test]
fn a_batch_a_single_fill_and_a_change_of_both_tokens_in_every_order() {
    let orders =
        in_every_order(None, |world| vec![verify_batch(world), verify(world, B), change(world, tokens(&[A, B]))]);
    assert!(orders > 500, "{orders}");
    let orders =
        in_every_order(None, |world| vec![verify_batch(world), verify_batch(world), change(world, tokens(&[A, B]))]);
    assert!(orders > 500, "{orders}");
}

#[test]
fn a_filler_that_goes_away_leaves_nobody_waiting_and_nothing_old_in_every_order() {
    let orders = in_every_order(Some(0), |world| vec![verify(world, A), verify(world, A), change(world, tokens(&[A]))]);
    assert!(orders > 1_000, "{orders}");
    let orders =
        in_every_order(Some(0), |world| vec![verify_batch(world), verify(world, B), change(world, tokens(&[A, B]))]);
    assert!(orders > 1_000, "{orders}");
}

#[test]
fn a_filler_whose_database_fails_leaves_the_fill_to_the_next_in_every_order() {
    let orders = in_every_order(None, |world| vec![fail(world, A), verify(world, A), change(world, tokens(&[A]))]);
    assert!(orders > 100, "{orders}");
}

#[test]
fn the_scheduler_finds_what_it_is_there_to_find() {
    // Invalidating before the commit lets a fill cache the old row in between.
    let invalidated_too_early = |world: &Rc<World>| -> Actor {
        let world = Rc::clone(world);
        Box::pin(async move {
            world.cache.invalidate(&tokens(&[A]));
            step().await;
            world.committed.set(1);
            step().await;
            world.acknowledged.set(1);
        })
    };
    let found = std::panic::catch_unwind(|| {
        in_every_order(None, |world| vec![verify(world, A), invalidated_too_early(world), verify(world, A)])
    });
    assert!(found.is_err());
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn found() -> Ready<Result<Option<SessionEntry>>> {
    ready(Ok(Some(row(0))))
}

fn numbered(number: u32) -> TokenHash {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    TokenHash(hash)
}

#[test]
fn hits_and_misses_are_counted() {
    let cache = RowCache::new(Some(100), Arc::default());
    assert!(cache.get(&A).is_none());
    now(cache.get_or_read(&A, found())).unwrap();
    assert!(cache.get(&A).is_some() && cache.get(&A).is_some());
    now(cache.fill_many(&[B, numbered(7)], || async { Ok(vec![(B, row(0))]) })).unwrap();
    assert!(cache.get(&B).is_some());
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.entries), (3, 3, 2));
}

#[test]
fn what_nobody_has_is_not_remembered() {
    let cache = RowCache::new(Some(100), Arc::default());
    assert!(now(cache.get_or_read(&A, async { Ok(None) })).unwrap().is_none());
    assert_eq!(cache.stats().entries, 0);
    assert!(now(cache.get_or_read(&A, found())).unwrap().is_some(), "it may be there a moment later");
    assert_eq!(cache.stats().entries, 1);
}

#[test]
fn it_never_holds_more_than_it_may() {
    let cache = RowCache::new(Some(1_000), Arc::default());
    let capacity = cache.stats().capacity;
    assert!((1_000..1_100).contains(&capacity), "{capacity}");
    for number in 0..20_000 {
        let token = numbered(number);
        now(cache.get_or_read(&token, found())).unwrap();
        assert!(cache.stats().entries <= capacity);
    }
    assert!(cache.stats().entries > 900, "{:?}", cache.stats());
    let many: Vec<TokenHash> = (30_000..32_000).map(numbered).collect();
    let read = || async { Ok(many.iter().map(|token| (*token, row(0))).collect()) };
    assert_eq!(now(cache.fill_many(&many, read)).unwrap().len(), many.len(), "all are answered");
    assert!(cache.stats().entries <= capacity);
}

#[test]
fn a_change_takes_out_the_tokens_that_it_names_and_no_others() {
    let cache = RowCache::new(Some(100), Arc::default());
    for token in [A, B] {
        now(cache.get_or_read(&token, found())).unwrap();
    }
    cache.invalidate(&InvalidKeys::Nothing);
    assert_eq!(cache.stats().entries, 2);
    cache.invalidate(&tokens(&[B]));
    assert!(cache.get(&A).is_some() && cache.get(&B).is_none());
    cache.invalidate(&InvalidKeys::Everything);
    assert_eq!(cache.stats().entries, 0);
}

#[test]
fn too_many_tokens_to_name_are_everything() {
    let mut invalidated = InvalidKeys::default();
    invalidated.add((0..10_000).map(numbered));
    assert!(matches!(&invalidated, InvalidKeys::Named(tokens) if tokens.len() == 10_000));
    invalidated.add([A]);
    assert!(matches!(invalidated, InvalidKeys::Everything));
    invalidated.add([B]);
    assert!(matches!(invalidated, InvalidKeys::Everything), "it stays so");
}

#[test]
fn a_cache_that_is_off_reads_each_time_and_holds_nothing() {
    let cache = RowCache::new(None, Arc::default());
    for _ in 0..3 {
        assert!(cache.get(&A).is_none());
        assert!(now(cache.get_or_read(&A, found())).unwrap().is_some());
    }
    assert_eq!(now(cache.fill_many(&[A, B], || async { Ok(vec![(B, row(0))]) })).unwrap().len(), 1);
    cache.invalidate(&InvalidKeys::Everything);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.entries, stats.capacity), (0, 5, 0, 0));
}
