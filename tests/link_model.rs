//! Logins through links against a model of them: any sequence of linking, unlinking, turning on and off, deleting, logging in,
//! revoking and waiting leaves exactly the live sessions that a few lines of rules say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lanyard_client::v1::create_session_request::Credential;
use lanyard_client::v1::revoke_sessions_request::Target;
use lanyard_client::v1::{ListSessionsRequest, SessionState};
use lanyard_client::{ErrorReason, Login, Subject};
use lanyard_server::clock::Time;
use lanyard_tests::support::answers::{Refused, at, is_active};
use lanyard_tests::support::external::{Defined, Kinds, patient, turn_definition};
use lanyard_tests::support::server::{Database, Person, TestServer};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Which definitions each case has.
const DEFINED: [Kinds; 4] = [Kinds::BasicAuth, Kinds::BasicAuth, Kinds::Jwt, Kinds::Jwt];
/// Tokens of each JWT definition.
const TOKENS: u32 = 2;
const APPS: [&str; 2] = ["default", "CRM"];

#[derive(Clone, Debug)]
enum Step {
    Link { defined: usize, user: usize },
    Unlink(usize),
    TurnLink(usize, bool),
    TurnDefinition(usize, bool),
    DeleteDefinition(usize),
    LogIn { defined: usize, token: u32, app: usize },
    Revoke(prop::sample::Index),
    RevokeOfDefinition(usize),
    LockAndUnlock(usize),
    Wait(Duration),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Below and around the granularity of activity, around the idle limit (30 min), towards the absolute one (12 h).
    let waits = [1, 30, 60, 1_799, 1_800, 20_000].map(Duration::from_secs);
    let defined = 0..DEFINED.len();
    let step = prop_oneof![
        5 => (defined.clone(), 0..2_usize).prop_map(|(defined, user)| Step::Link { defined, user }),
        1 => defined.clone().prop_map(Step::Unlink),
        2 => (defined.clone(), any::<bool>()).prop_map(|(defined, on)| Step::TurnLink(defined, on)),
        2 => (defined.clone(), any::<bool>()).prop_map(|(defined, on)| Step::TurnDefinition(defined, on)),
        1 => defined.clone().prop_map(Step::DeleteDefinition),
        12 => (defined.clone(), 0..TOKENS, 0..APPS.len())
            .prop_map(|(defined, token, app)| Step::LogIn { defined, token, app }),
        1 => any::<prop::sample::Index>().prop_map(Step::Revoke),
        1 => defined.prop_map(Step::RevokeOfDefinition),
        1 => (0..2_usize).prop_map(Step::LockAndUnlock),
        3 => prop::sample::select(waits.to_vec()).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 10..60)
}

/// What the rules know of a definition.
#[derive(Clone, Copy, Default)]
struct State {
    is_deleted: bool,
    is_off: bool,
    /// To which user, and whether it is on.
    link: Option<(usize, bool)>,
}

/// What one credential is in one app: the definition, the token if it is one, the app.
type Key = (usize, Option<u32>, usize);

struct Live {
    login: Login,
    user: usize,
    active: Time,
    absolute_end: Time,
}

/// What the rules say.
struct Model {
    states: [State; DEFINED.len()],
    sessions: BTreeMap<Key, Live>,
    idle: Duration,
    absolute: Duration,
    granularity: Duration,
}

impl Model {
    fn new(server: &TestServer) -> Self {
        let session = &server.config.session;
        Self {
            states: Default::default(),
            sessions: BTreeMap::new(),
            idle: session.idle,
            absolute: session.absolute,
            granularity: session.activity_granularity.min(session.idle / 10),
        }
    }

    fn expire(&mut self, now: Time) {
        let idle = self.idle;
        self.sessions.retain(|_, live| now < live.active + idle && now < live.absolute_end);
    }

    /// Returns how many there were.
    fn end(&mut self, of: impl Fn(&Key, &Live) -> bool) -> u64 {
        let before = self.sessions.len();
        self.sessions.retain(|key, live| !of(key, live));
        (before - self.sessions.len()) as u64
    }

    fn end_of(&mut self, defined: usize) -> u64 {
        self.end(|key, _| key.0 == defined)
    }

    /// As whom one logs in with it.
    fn user_of(&self, defined: usize) -> Option<usize> {
        let state = &self.states[defined];
        state.link.filter(|(_, is_on)| *is_on && !state.is_off && !state.is_deleted).map(|(user, _)| user)
    }

    fn live(&self) -> BTreeSet<&str> {
        self.sessions.values().map(|live| live.login.session.session_id.as_str()).collect()
    }
}

struct World {
    server: TestServer,
    users: [Person; 2],
}

/// One sequence of steps.
struct Case<'a> {
    world: &'a World,
    root: Subject,
    defined: Vec<Defined>,
    /// Of each definition, in the order of their numbers.
    credentials: Vec<Vec<Credential>>,
    model: Model,
}

impl World {
    async fn new(database: Database) -> Self {
        let server = TestServer::start_with(database, patient).await;
        let users = [server.alice.clone(), server.add_user("bob", false).await];
        Self { server, users }
    }

    async fn run(&self, number: u32, steps: Vec<Step>) {
        let (root, mut defined) = (self.server.as_root().await, Vec::new());
        for (place, kind) in DEFINED.into_iter().enumerate() {
            defined.push(Defined::new(&root, kind, &format!("case-{number}-{place}")).await);
        }
        let credentials = defined
            .iter()
            .map(|defined| (0..TOKENS).map(|token| defined.credential(&self.server.clock, token)).collect())
            .collect();
        let model = Model::new(&self.server);
        let mut case = Case { world: self, root, defined, credentials, model };
        for step in steps {
            case.step(&step).await;
            case.check(&step).await;
        }
        for place in 0..DEFINED.len() {
            case.delete_definition(place).await;
        }
        case.check(&Step::Wait(Duration::ZERO)).await;
    }
}

impl Case<'_> {
    fn now(&self) -> Time {
        self.world.server.clock.now()
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Link { defined, user } => self.link(defined, user).await,
            Step::Unlink(defined) => self.unlink(defined).await,
            Step::TurnLink(defined, on) => self.turn_link(defined, on).await,
            Step::TurnDefinition(defined, on) => self.turn_definition(defined, on).await,
            Step::DeleteDefinition(defined) => self.delete_definition(defined).await,
            Step::LogIn { defined, token, app } => self.log_in(defined, token, app).await,
            Step::Revoke(index) => {
                let Some(key) = self.model.sessions.keys().copied().nth(index.index(self.model.sessions.len().max(1)))
                else {
                    return;
                };
                let live = self.model.sessions.remove(&key).expect("it is there");
                assert!(self.root.revoke_session(&live.login.session.session_id).await.unwrap());
            }
            Step::RevokeOfDefinition(defined) => {
                let target = Target::AuthId(self.defined[defined].auth_id);
                let ended = self.root.revoke_sessions(Some(target), false).await.unwrap();
                assert_eq!(ended, self.model.end_of(defined));
            }
            Step::LockAndUnlock(user) => {
                let person = &self.world.users[user];
                self.root.lock_user(&person.user_id).await.unwrap();
                self.root.unlock_user(&person.user_id).await.unwrap();
                self.model.end(|_, live| live.user == user);
            }
            Step::Wait(duration) => {
                self.world.server.clock.advance(duration);
                self.model.expire(self.now());
                self.root = self.world.server.as_root().await;
            }
        }
    }

    async fn link(&mut self, defined: usize, user: usize) {
        let number = lanyard_client::v1::definition_ref::Definition::AuthId(self.defined[defined].auth_id);
        let linked = self.root.create_linked_auth(&self.world.users[user].user_id, number).await;
        let state = &mut self.model.states[defined];
        match (state.is_deleted, state.link) {
            (true, _) => assert_eq!(linked.reason(), ErrorReason::DefinitionNotFound),
            (false, Some(_)) => assert_eq!(linked.reason(), ErrorReason::LinkUnavailable),
            (false, None) => {
                linked.unwrap();
                state.link = Some((user, true));
            }
        }
    }

    async fn link_id(&self, defined: usize) -> Option<String> {
        let (user, _) = self.model.states[defined].link?;
        Some(self.defined[defined].link_of(&self.root, &self.world.users[user].user_id).await.link_id)
    }

    async fn unlink(&mut self, defined: usize) {
        let Some(link) = self.link_id(defined).await else { return };
        assert_eq!(self.root.delete_linked_auth(&link).await.unwrap(), self.model.end_of(defined));
        self.model.states[defined].link = None;
    }

    async fn turn_link(&mut self, defined: usize, on: bool) {
        let Some(link) = self.link_id(defined).await else { return };
        let ended = self.root.update_linked_auth(&link, on).await.unwrap().revoked_count;
        assert_eq!(ended, if on { 0 } else { self.model.end_of(defined) });
        let state = &mut self.model.states[defined];
        state.link = state.link.map(|(user, _)| (user, on));
    }

    async fn turn_definition(&mut self, defined: usize, on: bool) {
        if self.model.states[defined].is_deleted {
            return;
        }
        let ended = turn_definition(&self.root, self.defined[defined].auth_id, on).await;
        assert_eq!(ended, if on { 0 } else { self.model.end_of(defined) });
        self.model.states[defined].is_off = !on;
    }

    async fn delete_definition(&mut self, defined: usize) {
        let deleted = self.root.delete_definition(self.defined[defined].auth_id).await;
        if self.model.states[defined].is_deleted {
            assert_eq!(deleted.reason(), ErrorReason::DefinitionNotFound);
            return;
        }
        assert_eq!(deleted.unwrap(), self.model.end_of(defined));
        self.model.states[defined] = State { is_deleted: true, ..State::default() };
    }

    async fn log_in(&mut self, defined: usize, token: u32, app: usize) {
        let client = self.world.server.client().with_client_info(at(APPS[app], ""));
        let answer = client.create_session(self.credentials[defined][token as usize].clone()).await;
        let Some(user) = self.model.user_of(defined) else {
            assert_eq!(answer.reason(), ErrorReason::LoginFailed);
            return;
        };
        let (login, now) = (answer.unwrap(), self.now());
        assert_eq!(login.session.user_id, self.world.users[user].user_id);
        let key = (defined, (DEFINED[defined] == Kinds::Jwt).then_some(token), app);
        if let Some(live) = self.model.sessions.get_mut(&key) {
            assert_eq!(login.session.session_id, live.login.session.session_id);
            assert_eq!(login.ust.expose(), live.login.ust.expose());
            if now.since(live.active) >= self.model.granularity {
                live.active = now;
            }
            return;
        }
        assert!(!self.model.live().contains(login.session.session_id.as_str()));
        let absolute_end = now + self.model.absolute;
        self.model.sessions.insert(key, Live { login, user, active: now, absolute_end });
    }

    /// The sessions that are live are those of the model, all their tokens are good, and their ends are as they should be.
    async fn check(&self, step: &Step) {
        let numbers: BTreeSet<i64> = self.defined.iter().map(|defined| defined.auth_id).collect();
        let request = ListSessionsRequest {
            all_users: true,
            state: SessionState::Active.into(),
            page_size: 200,
            ..ListSessionsRequest::default()
        };
        let listed = self.root.call(request).await.unwrap().sessions;
        let through_links = listed.iter().filter(|session| numbers.contains(&session.auth_id));
        let live: BTreeSet<&str> = through_links.map(|session| session.session_id.as_str()).collect();
        assert_eq!(live, self.model.live(), "after {step:?}");
        let client = self.world.server.client();
        for live in self.model.sessions.values() {
            assert!(is_active(&client, &live.login.ust).await, "after {step:?}");
            let shown = listed.iter().find(|session| session.session_id == live.login.session.session_id).expect("it");
            let expire = shown.expire_time.expect("an end");
            let end = (live.active + self.model.idle).min(live.absolute_end);
            assert_eq!(Time::from_unix(expire.seconds, expire.nanos), Some(end), "after {step:?}");
        }
    }
}

fn goes_as_the_rules_say(database: Database, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = runtime.block_on(World::new(database));
    let number = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() });
    let outcome = runner.run(&steps(), |steps| {
        number.set(number.get() + 1);
        runtime.block_on(world.run(number.get(), steps));
        Ok(())
    });
    outcome.unwrap_or_else(|problem| panic!("{problem}"));
}

#[test]
fn any_sequence_of_changes_and_logins_leaves_the_live_sessions_that_the_rules_say_on_sqlite() {
    goes_as_the_rules_say(Database::Sqlite, 40);
}

#[test]
fn any_sequence_of_changes_and_logins_leaves_the_live_sessions_that_the_rules_say_on_postgres() {
    goes_as_the_rules_say(Database::Postgres, 15);
}
