//! The session of a user, its credential, and the calls that are made with it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use lanyard_client::secrecy::ExposeSecret as _;
use lanyard_client::v1::{
    GetPlatformAuthRequest, GetPlatformAuthResponse, GetSessionRequest, GetSessionResponse, PlatformSettings,
    UserSession as Message,
};
use lanyard_client::{Client, ErrorReason, MicetroErrorKind, Ust};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tracing::{Instrument as _, info_span};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::Fake;

const SECRET: &str = "Bearer of-nobody-elses-business";

/// An upstream that answers what it was told to, first 401 as often as it was told to.
#[derive(Clone, Default)]
struct Upstream {
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    refusals: Arc<Mutex<usize>>,
    is_silent: bool,
}

impl Upstream {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn seen(&self, header: &str) -> Vec<Option<String>> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|headers| Some(headers.get(header)?.to_str().unwrap().to_owned())).collect()
    }
}

async fn answer(State(upstream): State<Upstream>, request: Request) -> Response {
    upstream.seen.lock().unwrap().push(request.headers().clone());
    if upstream.is_silent {
        std::future::pending::<()>().await;
    }
    let json = [("content-type", "application/json")];
    let mut refusals = upstream.refusals.lock().unwrap();
    if let Some(left) = refusals.checked_sub(1) {
        *refusals = left;
        let refusal = r#"{"error":{"code":5003,"message":"no"}}"#;
        return (axum::http::StatusCode::UNAUTHORIZED, json, refusal).into_response();
    }
    (json, r#"{"result":{}}"#).into_response()
}

fn message() -> Message {
    Message {
        session_id: "ses_1".into(),
        user_id: "usr_1".into(),
        username: "alice".into(),
        logger_context: "alice:3f9a1c07".into(),
        session_auth: "lyu1_the-newest".into(),
        platform: "micetro".into(),
        authentication_url: "https://micetro.example".into(),
        authentication_host: Some("micetro.example".into()),
        authentication_version: Some("26.1.0".into()),
        micetro_url: "https://micetro.example".into(),
        unique_name: "desk".into(),
        groups: vec!["all".into()],
        ..Message::default()
    }
}

fn session_answer() -> GetSessionResponse {
    GetSessionResponse { session: Some(message()) }
}

fn auth(url: &str, value: &str, valid_for: Duration) -> GetPlatformAuthResponse {
    GetPlatformAuthResponse {
        micetro_auth: value.to_owned(),
        micetro_url: url.to_owned(),
        valid_for: Some(valid_for.try_into().unwrap()),
        settings: Some(PlatformSettings {
            timeout: Some(Duration::from_secs(10).try_into().unwrap()),
            ..PlatformSettings::default()
        }),
        ..GetPlatformAuthResponse::default()
    }
}

fn refusal(reason: &str, code: Code) -> Status {
    Status::with_error_details(code, "no", ErrorDetails::with_error_info(reason, "lanyard", []))
}

async fn session(fake: &Fake, client: &Client) -> lanyard_client::UserSession {
    fake.answer(session_answer());
    client.user_session(&Ust::from("lyu1_alice")).await.unwrap()
}

fn client(channel: lanyard_client::Channel) -> Client {
    Client::builder("http://fake").over(channel).unwrap()
}

const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn each_property_has_the_name_that_gateway_gives_it() {
    let (fake, channel) = Fake::start();
    let user = session(&fake, &client(channel)).await;
    assert_eq!(fake.requests::<GetSessionRequest>()[0].ust, "lyu1_alice");
    assert_eq!((user.username(), user.logger_context()), ("alice", "alice:3f9a1c07"));
    assert_eq!(user.session_auth().expose(), "lyu1_the-newest");
    assert_eq!((user.authentication_url(), user.micetro_url()), ("https://micetro.example", "https://micetro.example"));
    assert_eq!(user.authentication_host(), Some("micetro.example"));
    assert_eq!(user.authentication_version(), Some("26.1.0"));
    assert!(!user.is_replication_user());
    assert_eq!((user.session_id(), user.user_id(), user.unique_name()), ("ses_1", "usr_1", "desk"));
    assert_eq!((user.platform(), user.groups()), ("micetro", &["all".to_owned()][..]));
    assert_eq!(user.message(), &Message { session_auth: String::new(), ..message() });
    assert_eq!(user.micetro_api().v2().micetro_url(), "https://micetro.example");
    assert_eq!(fake.times_asked(), 1, "no credential is asked for before it is needed");
}

#[tokio::test]
async fn a_credential_is_kept_for_as_long_as_it_may_be_used_and_no_longer() {
    let (fake, channel) = Fake::start();
    let client = client(channel);
    let user = session(&fake, &client).await;
    fake.answer(auth("http://x", "Bearer first", LONG));
    for _ in 0..3 {
        assert_eq!(user.clone().micetro_auth().await.unwrap().expose_secret(), "Bearer first");
    }
    assert_eq!(fake.requests::<GetPlatformAuthRequest>().len(), 1);

    let user = session(&fake, &client).await;
    for value in ["Bearer second", "Bearer third"] {
        fake.answer(auth("http://x", value, Duration::ZERO));
        assert_eq!(user.micetro_auth().await.unwrap().expose_secret(), value);
    }
}

#[tokio::test]
async fn a_refused_credential_is_asked_for_anew_once_and_the_call_sent_again() {
    let upstream = Upstream { refusals: Arc::new(Mutex::new(1)), ..Upstream::default() };
    let url = upstream.start().await;
    let (fake, channel) = Fake::start();
    let user = session(&fake, &client(channel)).await;
    fake.answer(auth(&url, "Bearer old", LONG));
    fake.answer(auth(&url, "Bearer new", LONG));
    user.micetro_api().v2().http_post("/x").json(&1).await.unwrap();
    let asked: Vec<_> = fake.requests::<GetPlatformAuthRequest>().iter().map(|request| request.refused).collect();
    assert_eq!(asked, [false, true]);
    assert_eq!(upstream.seen("authorization"), [Some("Bearer old".into()), Some("Bearer new".into())]);
    user.micetro_api().v2().http_get("/x").await.unwrap();
    assert_eq!(fake.requests::<GetPlatformAuthRequest>().len(), 2, "the new one is kept");
}

#[tokio::test]
async fn calls_that_are_refused_at_once_ask_for_one_new_credential() {
    let upstream = Upstream { refusals: Arc::new(Mutex::new(5)), ..Upstream::default() };
    let url = upstream.start().await;
    let (fake, channel) = Fake::start();
    let user = session(&fake, &client(channel)).await;
    fake.answer(auth(&url, "Bearer old", LONG));
    fake.answer(auth(&url, "Bearer new", LONG));
    user.micetro_auth().await.unwrap();
    let micetro = user.micetro_api().v2();
    let calls = (0..5).map(|_| micetro.http_get("/x").send());
    for outcome in futures::future::join_all(calls).await {
        outcome.unwrap();
    }
    assert_eq!(fake.requests::<GetPlatformAuthRequest>().len(), 2);
    assert_eq!(upstream.seen("authorization").len(), 10);
}

#[tokio::test]
async fn where_lanyard_gives_no_credential_nothing_is_sent_and_its_reason_is_told() {
    let upstream = Upstream::default();
    let (fake, channel) = Fake::start();
    let user = session(&fake, &client(channel)).await;
    let micetro = user.micetro_api().v2();
    for (reason, code, is_unauthenticated) in [
        ("SESSION_INVALID", Code::Unauthenticated, true),
        ("CALLER_FORBIDDEN", Code::PermissionDenied, false),
        ("PLATFORM_SESSION_REQUIRED", Code::FailedPrecondition, false),
    ] {
        fake.refuse(1, &refusal(reason, code));
        let error = micetro.http_get("/x").await.unwrap_err();
        assert_eq!((error.kind, error.is_unauthenticated()), (MicetroErrorKind::NoCredential, is_unauthenticated));
        assert_eq!(error.lanyard().unwrap().reason, ErrorReason::from_reason(reason));
        assert!(error.to_string().contains(reason), "{error}");
    }
    fake.refuse(1, &Status::unavailable("not now"));
    assert!(micetro.http_get("/x").await.unwrap_err().is_unavailable());
    assert!(upstream.seen("host").is_empty());
}

#[tokio::test]
async fn the_timeout_of_the_platform_ends_a_call_that_names_no_deadline() {
    let upstream = Upstream { is_silent: true, ..Upstream::default() };
    let url = upstream.start().await;
    let (fake, channel) = Fake::start();
    let user = session(&fake, &client(channel)).await;
    let mut answer = auth(&url, SECRET, LONG);
    answer.settings.as_mut().unwrap().timeout = Some(Duration::from_millis(50).try_into().unwrap());
    fake.answer(answer);
    let error = user.micetro_api().v2().http_get("/x").await.unwrap_err();
    assert_eq!(error.kind, MicetroErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn a_deadline_holds_for_the_credential_too() {
    let (fake, channel) = Fake::start();
    let user = session(&fake, &client(channel)).await;
    fake.hang();
    let error = user.micetro_api().v2().http_get("/x").deadline(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.kind, MicetroErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn the_trace_of_the_current_span_is_carried_to_micetro() {
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let upstream = Upstream::default();
    let url = upstream.start().await;
    let (fake, channel) = Fake::start();
    let user = session(&fake, &client(channel)).await;
    fake.answer(auth(&url, SECRET, LONG));
    let span = info_span!("request");
    let call = async { user.micetro_api().v2().http_get("/x").await };
    call.instrument(span.clone()).await.unwrap();
    let context = tracing_opentelemetry::OpenTelemetrySpanExt::context(&span);
    let span_context = opentelemetry::trace::TraceContextExt::span(&context).span_context().clone();
    let trace = format!("00-{}-{}-01", span_context.trace_id(), span_context.span_id());
    assert_eq!(upstream.seen("traceparent"), [Some(trace)]);
    // Without an ID of its own it has that of the call that asked for the session.
    assert_eq!(upstream.seen("x-correlation-id")[0], fake.metadata("x-correlation-id")[0]);
}

#[tokio::test]
async fn debug_of_a_session_shows_neither_token_nor_credential() {
    let (fake, channel) = Fake::start();
    let user = session(&fake, &client(channel)).await;
    fake.answer(auth("http://x", SECRET, LONG));
    user.micetro_auth().await.unwrap();
    let micetro = user.micetro_api();
    let shown = format!("{user:?} {user:#?} {micetro:?} {:?}", micetro.v2().http_get("/x"));
    assert!(shown.contains("alice:3f9a1c07"), "{shown}");
    assert!(!shown.contains("of-nobody") && !shown.contains("lyu1"), "{shown}");
}
