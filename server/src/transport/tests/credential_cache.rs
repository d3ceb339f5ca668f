//! Tests of a connection's credential cache, with callers in a real database.

use http::HeaderValue;
use http::header::AUTHORIZATION;

use super::*;
use crate::app::caller::{CallerToCreate, operator};
use crate::pipeline::authenticate::{CredentialCache, Proof};
use crate::pipeline::peer::{ClientCertificate, Peer};

const LIFETIME: Duration = Duration::from_hours(1);

/// A connection, its cache and the callers of a database.
struct World {
    app: App,
    cache: CredentialCache,
    clock: Clock,
    operator: Context,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let config = config::Config::dev(folder.path());
        let clock = Clock::manual(Time::from_micros(1_700_000_000_000_000));
        let keyring = Arc::new(Keyring::generate(clock.now()));
        let store = open_store(&config, keyring.clone(), clock.clone()).await.expect("a database");
        store.migrate(&|_, _| {}).await.expect("a schema");
        let app = App::new(&config, store, keyring, clock.clone()).await.expect("the rules");
        let operator = operator(&config, clock.now());
        Self { app, cache: CredentialCache::default(), clock, operator, _folder: folder }
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
        let (_, key) = self.app.create_caller(&self.operator, new).await.expect("a caller");
        format!("Bearer {}", key.expect("a key").expose())
    }

    /// The caller with this header, and whether it came from the cache.
    fn call(&self, header: &str) -> (Option<String>, bool) {
        let peer = Peer::new([127, 0, 0, 1].into(), ClientCertificate::None);
        let value = HeaderValue::from_str(header).expect("ASCII");
        let proof =
            Proof::take(&mut HeaderMap::from_iter([(AUTHORIZATION, value)]), &peer, self.clock.now()).expect("a proof");
        let before = self.cache.looked_up();
        let caller = self.cache.authenticate(&self.app, &proof, self.clock.now()).expect("a bearer token");
        (caller.map(|caller| caller.name.clone()), self.cache.looked_up() == before)
    }
}

/// Expects a cache miss.
fn found(name: &str) -> (Option<String>, bool) {
    (Some(name.to_owned()), false)
}

/// Expects a cache hit.
fn cached(name: &str) -> (Option<String>, bool) {
    (Some(name.to_owned()), true)
}

const NOBODY: (Option<String>, bool) = (None, false);

#[tokio::test]
async fn the_same_key_is_looked_at_once_and_another_anew() {
    let world = World::new().await;
    let (one, other) = (world.caller("one").await, world.caller("other").await);
    assert_eq!([world.call(&one), world.call(&one), world.call(&one)], [found("one"), cached("one"), cached("one")]);
    assert_eq!([world.call(&other), world.call(&other)], [found("other"), cached("other")]);
    assert_eq!(world.call(&one), found("one"));
    for wrong in [&one[..one.len() - 1], &format!("{one}0"), "Bearer "] {
        assert_eq!(world.call(wrong), NOBODY, "near is not equal");
    }
    assert_eq!(world.call(&one), cached("one"), "a key that is not good is not remembered");
}

#[tokio::test]
async fn a_revoked_caller_is_refused_on_a_connection_that_remembers_it() {
    let world = World::new().await;
    let (gone, stays) = (world.caller("gone").await, world.caller("stays").await);
    assert_eq!([world.call(&gone), world.call(&gone)], [found("gone"), cached("gone")]);
    world.app.revoke_caller(&world.operator, "gone").await.expect("revoked");
    assert_eq!([world.call(&gone), world.call(&gone)], [NOBODY, NOBODY]);
    assert_eq!(world.call(&stays), found("stays"));
    world.app.reload_callers().await.expect("read anew");
    assert_eq!([world.call(&stays), world.call(&stays)], [found("stays"), cached("stays")]);
}

#[tokio::test]
async fn an_expired_key_is_refused_on_a_connection_that_remembers_it() {
    let world = World::new().await;
    let key = world.caller("late").await;
    world.call(&key);
    world.clock.advance(Duration::from_mins(59));
    assert_eq!(world.call(&key), cached("late"));
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(world.call(&key), NOBODY);
}

#[tokio::test]
async fn a_key_that_was_cut_short_is_refused_on_a_connection_that_remembers_it() {
    let world = World::new().await;
    let old = world.caller("rotating").await;
    world.call(&old);
    let app = &world.app;
    let new = app.rotate_caller(&world.operator, "rotating", LIFETIME, Duration::ZERO).await.expect("a new key");
    assert_eq!(world.call(&old), NOBODY);
    assert_eq!(world.call(&format!("Bearer {}", new.expose())), found("rotating"));
}
