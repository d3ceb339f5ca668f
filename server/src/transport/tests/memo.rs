//! What a connection remembers of its caller, with the real table of callers behind it.

use http::HeaderValue;
use http::header::AUTHORIZATION;

use super::*;
use crate::app::App;
use crate::app::caller::{CallerToCreate, KnownCaller, operator};
use crate::crypto::Keyring;
use crate::pipeline::authenticate::{Memo, Proof};
use crate::pipeline::peer::{ClientCertificate, Peer};
use crate::serve::open_store;

const LIFETIME: Duration = Duration::from_hours(1);

/// Counts how often a credential was looked at.
#[derive(Clone)]
struct Counting {
    app: App,
    looks: Arc<AtomicU32>,
}

impl Authenticate for Counting {
    type Known = KnownCaller;

    fn authenticate_cached(&self, credential: CallerCredential<'_>, now: Time) -> Option<KnownCaller> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.app.authenticate_cached(credential, now)
    }

    fn is_still_known(&self, known: &KnownCaller, now: Time) -> bool {
        self.app.is_still_known(known, now)
    }

    async fn authenticate(&self, credential: CallerCredential<'_>) -> Result<Arc<Caller>> {
        self.app.authenticate(credential).await
    }
}

/// A connection, its memo and the callers of a database.
struct World {
    authenticate: Counting,
    memo: Memo<KnownCaller>,
    clock: Clock,
    operator: Context,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let config = config::Config::dev(folder.path());
        let clock = Clock::by_hand(Time::from_micros(1_700_000_000_000_000));
        let keyring = Arc::new(Keyring::generate(clock.now()));
        let store = open_store(&config, keyring.clone(), clock.clone()).await.expect("a database");
        store.migrate(&|_, _| {}).await.expect("a schema");
        let app = App::new(&config, store, keyring, clock.clone()).await.expect("the rules");
        let operator = operator(&config, clock.now());
        let authenticate = Counting { app, looks: Arc::default() };
        Self { authenticate, memo: Memo::default(), clock, operator, _folder: folder }
    }

    /// The header with the key of a new caller.
    async fn caller(&self, name: &str) -> String {
        let new = CallerToCreate {
            name: name.to_owned(),
            spiffe_id: None,
            grants: Grants::all(),
            apps: Apps::All,
            flags: Flags::default(),
            max_in_flight: None,
            key_lifetime: Some(LIFETIME),
        };
        let (_, key) = self.authenticate.app.create_caller(&self.operator, new).await.expect("a caller");
        format!("Bearer {}", key.expect("a key").expose())
    }

    /// Who calls with this header, and how often credentials had to be looked at for it.
    fn call(&self, header: &str) -> (Option<String>, u32) {
        let peer = Peer::new([127, 0, 0, 1].into(), ClientCertificate::None);
        let value = HeaderValue::from_str(header).expect("ASCII");
        let proof = Proof::take(&mut HeaderMap::from_iter([(AUTHORIZATION, value)]), &peer).expect("a proof");
        let before = self.authenticate.looks.load(Ordering::Relaxed);
        let caller = self.memo.authenticate(&self.authenticate, &proof, self.clock.now()).expect("a bearer token");
        (caller.map(|caller| caller.name.clone()), self.authenticate.looks.load(Ordering::Relaxed) - before)
    }
}

fn told(name: &str, looks: u32) -> (Option<String>, u32) {
    (Some(name.to_owned()), looks)
}

#[tokio::test]
async fn the_same_key_is_looked_at_once_and_another_anew() {
    let world = World::new().await;
    let (one, other) = (world.caller("one").await, world.caller("other").await);
    assert_eq!(
        [world.call(&one), world.call(&one), world.call(&one)],
        [told("one", 1), told("one", 0), told("one", 0)]
    );
    assert_eq!([world.call(&other), world.call(&other)], [told("other", 1), told("other", 0)]);
    assert_eq!(world.call(&one), told("one", 1));
    for wrong in [&one[..one.len() - 1], &format!("{one}0"), "Bearer "] {
        assert_eq!(world.call(wrong), (None, 1), "near is not equal");
    }
    assert_eq!(world.call(&one), told("one", 0), "a key that is not good is not remembered");
}

#[tokio::test]
async fn a_revoked_caller_is_refused_on_a_connection_that_remembers_it() {
    let world = World::new().await;
    let (gone, stays) = (world.caller("gone").await, world.caller("stays").await);
    assert_eq!([world.call(&gone), world.call(&gone)], [told("gone", 1), told("gone", 0)]);
    world.authenticate.app.revoke_caller(&world.operator, "gone").await.expect("revoked");
    assert_eq!([world.call(&gone), world.call(&gone)], [(None, 1), (None, 1)]);
    assert_eq!(world.call(&stays), told("stays", 1));
    world.authenticate.app.reload_callers().await.expect("read anew");
    assert_eq!([world.call(&stays), world.call(&stays)], [told("stays", 1), told("stays", 0)]);
}

#[tokio::test]
async fn an_expired_key_is_refused_on_a_connection_that_remembers_it() {
    let world = World::new().await;
    let key = world.caller("late").await;
    world.call(&key);
    world.clock.advance(Duration::from_mins(59));
    assert_eq!(world.call(&key), told("late", 0));
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(world.call(&key), (None, 1));
}

#[tokio::test]
async fn a_key_that_was_cut_short_is_refused_on_a_connection_that_remembers_it() {
    let world = World::new().await;
    let old = world.caller("rotating").await;
    world.call(&old);
    let app = &world.authenticate.app;
    let new = app.rotate_caller(&world.operator, "rotating", LIFETIME, Duration::ZERO).await.expect("a new key");
    assert_eq!(world.call(&old), (None, 1));
    assert_eq!(world.call(&format!("Bearer {}", new.expose())), told("rotating", 1));
}
