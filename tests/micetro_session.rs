//! The session of a user who is logged in to Micetro, as Gateway's `UserSession` is described, in the hands of another service than
//! the one that logged them in.

use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lanyard_client::secrecy::{ExposeSecret as _, SecretString};
use lanyard_client::{Client, CorrelationLayer, Error, ErrorReason, UserSession};
use lanyard_server::app::caller::CallerToCreate;
use lanyard_server::model::caller::{Flags, Grant, Grants};
use lanyard_tests::support::answers::{Refused as _, events_of};
use lanyard_tests::support::http::get;
use lanyard_tests::support::micetro::{ALICE, BOB};
use lanyard_tests::support::platform::{OnPlatform, PLATFORM, basic};
use lanyard_tests::support::process::{Process, example};
use lanyard_tests::support::server::{Database, all_powerful};
use lanyard_tests::support::vendor::vendor;
use lanyard_tests::{any_database, both_databases};
use serde_json::{Value, json};
use tracing::Instrument as _;
use tracing::instrument::WithSubscriber as _;
use tracing_subscriber::layer::SubscriberExt as _;

both_databases!(
    a_session_goes_from_one_service_to_another_with_everything_but_the_password,
    a_service_without_the_grant_reads_the_session_and_gets_no_credential,
);
any_database!(
    a_session_of_a_password_is_standalone,
    a_version_that_cannot_be_read_is_absent_and_fails_nothing,
    what_is_logged_within_the_logger_names_session_and_request,
    calls_carry_the_correlation_id_to_lanyard_and_to_micetro,
    the_vendors_client_takes_the_sessions_credential,
    the_example_of_the_seed_answers_with_the_servers,
);

/// A service that may do this much.
async fn service(at: &OnPlatform, name: &str, grants: &[Grant]) -> Client {
    let flags = Flags { may_assert_client_address: true, may_relay_super_users: false };
    let grants: Grants = grants.iter().copied().collect();
    at.server.client_of(&at.server.caller(CallerToCreate { grants, flags, ..all_powerful(name) }).await)
}

async fn a_session_goes_from_one_service_to_another_with_everything_but_the_password(database: Database) {
    let at = OnPlatform::start(database).await;
    let login_page = service(&at, "login-page", &[Grant::SessionCreate]).await;
    let inventory = service(&at, "inventory", &[Grant::SessionRead, Grant::PlatformAuth]).await;

    // Service A logs in, and hands the token over.
    let password = SecretString::from(ALICE.1);
    let ust = login_page.log_in_platform(PLATFORM, ALICE.0, &password).await.unwrap().ust;
    assert_eq!(login_page.user_session(&ust).await.reason(), ErrorReason::CallerForbidden);

    // Service B makes the session of it, and reads its eleven properties.
    let user = inventory.user_session(&ust).await.unwrap();
    let url = at.micetro.url();
    assert_eq!(user.authentication_host(), Some("127.0.0.1"));
    assert_eq!(user.authentication_url(), url, "scheme, host and the port, which is configured");
    assert_eq!(user.authentication_version(), Some("26.1.0"));
    assert!(!user.is_replication_user());
    user.logger().in_scope(|| tracing::info!("at work"));
    assert!(user.logger_context().starts_with("alice:"), "{}", user.logger_context());
    assert_eq!(user.micetro_api().v2().micetro_url(), url);
    assert!(user.micetro_auth().await.unwrap().expose_secret().starts_with("Bearer "));
    assert_eq!(user.micetro_url(), url);
    assert_eq!(user.session_auth().expose(), ust.expose());
    assert_eq!(user.username(), "alice");
    assert_eq!((user.platform(), user.groups()), (PLATFORM, &["all".to_owned(), "operations".to_owned()][..]));
    assert_eq!((user.user_id(), user.unique_name()), (at.server.alice.user_id.as_str(), ""));
    assert!(user.session_id().starts_with("ses_"));

    // It calls the API in her name, and has not seen her password, nor has anything that it sends.
    at.micetro.forget_seen();
    let data = user.micetro_api().v2().http_get("/dnsServers").await.unwrap().into_value();
    assert_eq!(data["result"]["dnsServers"][0]["name"], "ns1.example.net.");
    let me = user.micetro_api().v2().http_get("/users/.").await.unwrap().result().unwrap();
    assert_eq!(me["user"]["name"], ALICE.0);
    let auth = user.micetro_auth().await.unwrap();
    let encoded = STANDARD.encode(format!("{}:{}", ALICE.0, ALICE.1));
    for text in [format!("{:?}", at.micetro.seen()), format!("{user:?}"), auth.expose_secret().to_owned()] {
        assert!(!text.contains(ALICE.1) && !text.contains(&encoded), "{text}");
    }
    // Nobody else's: two sessions of hers are two.
    let other = login_page.log_in_platform(PLATFORM, ALICE.0, &password).await.unwrap().ust;
    let other = inventory.user_session(&other).await.unwrap();
    assert_ne!(other.logger_context(), user.logger_context());
    assert_ne!(other.micetro_auth().await.unwrap().expose_secret(), auth.expose_secret());

    // Logged out, it is over, for whoever holds it.
    at.server.on_behalf_of(&ust).log_out().await.unwrap();
    at.has_upstream_sessions(ALICE.0, 1).await;
    assert!(user.micetro_api().v2().http_get("/dnsServers").await.unwrap_err().is_unauthenticated());
    assert_eq!(inventory.user_session(&ust).await.reason(), ErrorReason::SessionInvalid);
}

async fn a_service_without_the_grant_reads_the_session_and_gets_no_credential(database: Database) {
    let at = OnPlatform::start(database).await;
    let reader = service(&at, "reader", &[Grant::SessionRead]).await;
    let user = reader.user_session(&at.log_in().await.ust).await.unwrap();
    assert_eq!(user.micetro_url(), at.micetro.url());
    at.micetro.forget_seen();
    assert_eq!(user.micetro_auth().await.reason(), ErrorReason::CallerForbidden);
    let error = user.micetro_api().v2().http_get("/dnsServers").await.unwrap_err();
    assert_eq!(error.lanyard().map(|error| error.reason), Some(ErrorReason::CallerForbidden));
    assert!(!error.is_unauthenticated(), "the user can do nothing about it");
    assert!(at.micetro.seen().is_empty());
    assert!(user.micetro_api().v2().is_authenticated().await.is_err());
}

async fn a_session_of_a_password_is_standalone(database: Database) {
    let at = OnPlatform::start(database).await;
    let ust = at.server.log_in(&at.server.alice).await.ust;
    let user = at.server.client().user_session(&ust).await.unwrap();
    assert_eq!((user.authentication_host(), user.authentication_version()), (None, None));
    assert_eq!((user.authentication_url(), user.micetro_url(), user.platform()), ("", "", ""));
    assert_eq!((user.username(), user.session_auth().expose()), ("alice", ust.expose()));
    assert!(!user.is_replication_user() && user.groups().is_empty());
    assert!(user.logger_context().starts_with("alice:"));
    assert_eq!(user.micetro_auth().await.reason(), ErrorReason::PlatformSessionRequired);
}

async fn a_version_that_cannot_be_read_is_absent_and_fails_nothing(database: Database) {
    let at = OnPlatform::start(database).await;
    at.micetro.behaves(|behaviour| behaviour.version = None);
    let user = at.server.client().user_session(&at.log_in().await.ust).await.unwrap();
    assert_eq!(user.authentication_version(), None);
    assert_eq!(user.authentication_host(), Some("127.0.0.1"));
}

/// What a subscriber of the test wrote.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn json(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn subscriber(lines: &Lines) -> impl tracing::Subscriber + Send + Sync + 'static {
    let lines = lines.clone();
    let layer = tracing_subscriber::fmt::layer().json().with_writer(move || lines.clone());
    tracing_subscriber::registry().with(layer).with(CorrelationLayer)
}

async fn what_is_logged_within_the_logger_names_session_and_request(database: Database) {
    let at = OnPlatform::start(database).await;
    let id = "order-4711".parse().unwrap();
    let user = at.server.client().with_correlation_id(id).user_session(&at.log_in().await.ust).await.unwrap();
    let lines = Lines::default();
    tracing::subscriber::with_default(subscriber(&lines), || {
        user.logger().in_scope(|| tracing::info!("at work"));
    });
    let lines = lines.json();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(line["fields"]["message"], "at work");
    assert_eq!(
        (&line["span"]["logger_context"], &line["span"]["correlation_id"]),
        (&json!(user.logger_context()), &json!("order-4711"),)
    );
}

async fn calls_carry_the_correlation_id_to_lanyard_and_to_micetro(database: Database) {
    let at = OnPlatform::start(database).await;
    let user = at.server.client().user_session(&at.log_in().await.ust).await.unwrap();
    at.micetro.forget_seen();
    let request = async {
        let call = async { user.micetro_api().v2().http_get("/dnsServers").await.map(drop) };
        call.instrument(user.logger()).await.unwrap();
        user.micetro_api().v2().http_get("/servers").await.unwrap_err()
    };
    let span = async || request.instrument(tracing::info_span!("request", correlation_id = "order-4711")).await;
    let error = span().with_subscriber(subscriber(&Lines::default())).await;
    assert_eq!(error.correlation_id.as_str(), "order-4711");
    let ids: Vec<_> = at.micetro.seen().iter().map(|seen| seen.header("x-correlation-id").map(str::to_owned)).collect();
    assert_eq!(ids, vec![Some("order-4711".to_owned()); 2]);
    assert_eq!(events_of(&at.server, "platform.auth").await[0].correlation_id, "order-4711");
}

async fn the_vendors_client_takes_the_sessions_credential(database: Database) {
    let at = OnPlatform::start_with(database, basic).await;
    let user = at.server.client().user_session(&at.log_in().await.ust).await.unwrap();
    let auth = user.micetro_auth().await.unwrap();
    let url = user.micetro_url().to_owned();
    let said =
        lanyard_tests::support::server::in_background(move || vendor(&["auth", &url, ALICE.0], auth.expose_secret()))
            .await;
    assert_eq!(said["is_authenticated"], true, "{said}");
    assert_eq!(said["dns_servers"]["returned"]["result"]["totalResults"], 3);
    assert_eq!(said["user"]["returned"]["result"]["user"]["name"], ALICE.0);
}

async fn the_example_of_the_seed_answers_with_the_servers(database: Database) {
    let at = OnPlatform::start(database).await;
    let ust = at.log_in().await.ust;
    let mut command = Command::new(example("micetro_servers"));
    command.env("LANYARD_ENDPOINT", at.server.url()).env("LANYARD_CALLER_KEY", at.server.key.expose_secret());
    let program = Process::start(command.env("LISTEN", "127.0.0.1:0"));
    let url = program.wait_for_line("its URL", |line| line.starts_with("http://").then(|| line.to_owned()));
    let bearer = |token: &str| format!("Bearer {token}");

    let page = get(&url, &[("authorization", &bearer(ust.expose()))]).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, Some("application/json")), "{page:?}");
    assert_eq!(page.json()["result"]["dnsServers"][0]["name"], "dc1.example.net.");
    assert_eq!(get(&url, &[]).await.status, 401);
    assert_eq!(get(&url, &[("authorization", &bearer("lyu1_other"))]).await.status, 401);
    let user: Result<UserSession, Error> = at.server.client().user_session(&ust).await;
    let said = program.wait_for_line("a line of its log", |line| line.contains("asking").then(|| line.to_owned()));
    assert!(said.contains(user.unwrap().logger_context()), "{said}");
    assert!(!program.output().contains(ust.expose()) && !program.output().contains(ALICE.1));
    // Who has no role of Gateway does not come in at all.
    assert_eq!(at.try_log_in(BOB).await.reason(), ErrorReason::PlatformRoleMissing);
}
