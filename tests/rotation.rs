//! Rotation against a model of it: any sequence of renewals, verifications and waiting, with any of the tokens that the
//! session has had.

use std::sync::Arc;
use std::time::Duration;

use lanyard_server::app::client::{ActingInput, ClientInput};
use lanyard_server::app::login::PasswordLogin;
use lanyard_server::app::user::UserChange;
use lanyard_server::app::{App, Context};
use lanyard_server::clock::{Clock, Time};
use lanyard_server::correlation::CorrelationId;
use lanyard_server::crypto::Token;
use lanyard_server::error::Error;
use lanyard_server::model::caller::{Apps, Caller, Flags, Grants};
use lanyard_server::model::id::CallerId;
use lanyard_server::model::session::RevokeReason;
use lanyard_server::model::verdict::{Inactive, Verdict};
use lanyard_tests::support::store::Ground;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

const PASSWORD: &str = "correct horse";

#[derive(Clone, Debug)]
enum Step {
    Verify(Index),
    Renew(Index, bool),
    Wait(Duration),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let micro = Duration::from_micros(1);
    // Around the grace (10 s), around the idle limit (30 min), and towards the absolute one (12 h).
    let waits = [1, 5, 10, 60, 1_799, 1_800, 20_000].map(Duration::from_secs);
    let waits = waits.into_iter().flat_map(|wait| [wait.saturating_sub(micro), wait]).collect::<Vec<_>>();
    let step = prop_oneof![
        3 => any::<Index>().prop_map(Step::Verify),
        3 => (any::<Index>(), any::<bool>()).prop_map(|(token, rotate)| Step::Renew(token, rotate)),
        2 => proptest::sample::select(waits).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What the rules say of a session, in a few lines.
struct Model {
    idle: Duration,
    grace: Duration,
    granularity: Duration,
    absolute_end: Time,
    active: Time,
    /// Of each generation.
    tokens: Vec<Token>,
    /// Until when the token before the last one works.
    grace_until: Time,
    revoked: Option<RevokeReason>,
}

impl Model {
    fn end(&self) -> Time {
        (self.active + self.idle).min(self.absolute_end)
    }

    /// Why a token is not good, if it is not. The number of a token is its generation.
    fn judge(&self, token: usize, now: Time) -> Option<Inactive> {
        let behind = self.tokens.len() - 1 - token;
        if let Some(reason) = self.revoked {
            return Some(Inactive::Revoked(reason));
        }
        if now >= self.absolute_end {
            return Some(Inactive::AbsoluteExpired);
        }
        if now >= self.end() {
            return Some(Inactive::IdleExpired);
        }
        let works = behind == 0 || behind == 1 && now < self.grace_until;
        (!works).then(|| Inactive::Rotated { generations_behind: u32::try_from(behind).unwrap() })
    }

    /// What a verification of the last token answers, or one that does not count as activity of an older one.
    fn verify(&mut self, token: usize, now: Time) -> Option<Inactive> {
        let verdict = self.judge(token, now);
        if let Some(Inactive::Rotated { generations_behind: 2.. }) = verdict {
            self.revoked = Some(RevokeReason::TokenReused);
            return self.judge(token, now);
        }
        if verdict.is_none() && token + 1 == self.tokens.len() && now.since(self.active) >= self.granularity {
            self.active = now;
        }
        verdict
    }
}

struct World {
    app: App,
    clock: Clock,
    context: Context,
    config: lanyard_server::config::Config,
    _ground: Ground,
}

impl World {
    async fn new() -> Self {
        let ground = Ground::sqlite();
        let store = ground.store().await;
        let app = App::new(&ground.config, store, Arc::clone(&ground.keyring), ground.clock.clone()).await.unwrap();
        let context = context(&ground.clock);
        let changes = vec![UserChange::Username("ann".to_owned())];
        app.create_user_by_operator(&context, changes, PASSWORD.to_owned().into()).await.unwrap();
        Self { app, clock: ground.clock.clone(), context, config: ground.config.clone(), _ground: ground }
    }

    async fn log_in(&self) -> Model {
        let login = PasswordLogin {
            username: "ann".to_owned(),
            password: PASSWORD.to_owned().into(),
            totp_code: String::new().into(),
            new_password: String::new().into(),
        };
        let new = self.app.create_session(&self.context, ClientInput::default(), login).await.unwrap();
        let session = &self.config.session;
        Model {
            idle: session.idle,
            grace: session.rotation_grace,
            granularity: session.activity_granularity.min(session.idle / 10),
            absolute_end: self.clock.now() + session.absolute,
            active: self.clock.now(),
            tokens: vec![new.ust],
            grace_until: Time::default(),
            revoked: None,
        }
    }

    async fn verify(&self, model: &mut Model, token: usize) {
        let is_last = token + 1 == model.tokens.len();
        let text = model.tokens[token].expose().to_owned();
        let expected = model.verify(token, self.clock.now());
        let client = self.app.client(&self.context, ClientInput::default()).unwrap();
        let verdict = self.app.verify_session(&client, &text, !is_last, None).await.unwrap();
        match verdict {
            Verdict::Inactive(reason) => assert_eq!(Some(reason), expected),
            Verdict::Active(active) => {
                assert_eq!(None, expected);
                assert_eq!(active.limits.idle_expires_at, model.end());
                assert_eq!(active.limits.absolute_expires_at, model.absolute_end);
            }
        }
    }

    async fn renew(&self, model: &mut Model, token: usize, rotate: bool) {
        let now = self.clock.now();
        let text = model.tokens[token].expose().to_owned();
        let input = ActingInput { ust: &text, client: ClientInput::default() };
        let renewed = self.app.renew_session(&self.context, input, rotate).await;
        if let Some(reason) = model.judge(token, now) {
            assert!(matches!(renewed, Err(Error::SessionInvalid)), "{renewed:?}");
            if matches!(reason, Inactive::Rotated { .. }) {
                model.revoked = Some(RevokeReason::TokenReused);
            }
            return;
        }
        let renewed = renewed.unwrap();
        model.active = now;
        let is_last = token + 1 == model.tokens.len();
        match renewed.replaced {
            None => assert!(is_last && !rotate),
            Some((new, grace_until)) if is_last => {
                assert!(rotate);
                assert!(model.tokens.iter().all(|old| old.expose() != new.expose()));
                model.grace_until = now + model.grace;
                assert_eq!(grace_until, model.grace_until);
                model.tokens.push(new);
            }
            Some((successor, grace_until)) => {
                assert_eq!(successor.expose(), model.tokens[token + 1].expose(), "the same successor each time");
                assert_eq!(grace_until, model.grace_until, "the grace does not grow");
            }
        }
        assert_eq!(renewed.session.expires_at, model.end());
        assert_eq!(renewed.session.rotation_count as usize, model.tokens.len() - 1);
    }

    async fn run(&self, steps: Vec<Step>) {
        let mut model = self.log_in().await;
        for step in steps {
            match step {
                Step::Verify(token) => {
                    let token = token.index(model.tokens.len());
                    self.verify(&mut model, token).await;
                }
                Step::Renew(token, rotate) => {
                    let token = token.index(model.tokens.len());
                    self.renew(&mut model, token, rotate).await;
                }
                Step::Wait(duration) => self.clock.advance(duration),
            }
        }
        for token in (0..model.tokens.len()).rev() {
            self.verify(&mut model, token).await;
        }
    }
}

fn context(clock: &Clock) -> Context {
    let caller = Caller {
        id: CallerId::new(clock.now()),
        name: "shop".to_owned(),
        granted: Grants::all(),
        apps: Apps::All,
        flags: Flags { may_assert_client_address: true, may_relay_super_users: true },
        max_in_flight: 100,
        in_flight: Arc::default(),
    };
    let correlation_id = CorrelationId::new(clock.now());
    Context { correlation_id, caller: Arc::new(caller), peer: [127, 0, 0, 1].into() }
}

#[test]
fn any_sequence_of_renewals_verifications_and_waiting_goes_as_the_rules_say() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let mut runner = TestRunner::new(ProptestConfig { cases: 150, ..ProptestConfig::default() });
    let outcome = runner.run(&steps(), |steps| {
        runtime.block_on(world.run(steps));
        Ok(())
    });
    outcome.unwrap_or_else(|problem| panic!("{problem}"));
}
