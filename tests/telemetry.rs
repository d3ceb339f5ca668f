//! Traces, metrics and logs as a receiver gets them: one trace from the caller's `traceparent` to the database, lines that name
//! it, figures that lead to it.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Request;
use lanyard_client::secrecy::ExposeSecret;
use lanyard_proto::v1::create_session_request::Credential;
use lanyard_proto::v1::{
    ClientInfo, CreateSessionRequest, CreateSessionResponse, PasswordCredential, PlatformCredential,
    VerifySessionRequest, VerifySessionResponse,
};
use lanyard_server::config::{Config, Exporter, Platform, Protocol, Sampler};
use lanyard_tests::both_databases;
use lanyard_tests::support::installation::{Installation, Program};
use lanyard_tests::support::micetro::{ALICE, FakeMicetro};
use lanyard_tests::support::otlp::{Collector, text};
use lanyard_tests::support::platform::{PLATFORM, with_platform};
use lanyard_tests::support::raw::{Answered, Connection, framed, grpc};
use lanyard_tests::support::secrets::Secrets;
use lanyard_tests::support::server::{Database, run};
use lanyard_tests::support::{eventually, eventually_some, repository_file};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::Value as Json;

const CREATE: &str = "/lanyard.v1.SessionService/CreateSession";
const VERIFY: &str = "/lanyard.v1.SessionService/VerifySession";
const SOON: Duration = Duration::from_millis(20);
const NEVER: Duration = Duration::from_hours(1);

/// A trace of the caller's, sampled or not.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

pub(crate) fn traceparent(is_sampled: bool) -> String {
    format!("00-{TRACE}-{PARENT}-0{}", u8::from(is_sampled))
}

/// Everything is sent to the collector soon, and calls are sampled only if the caller says so.
pub(crate) fn to(collector: &Collector, config: &mut Config) {
    let telemetry = &mut config.telemetry;
    telemetry.exporter = Exporter::Otlp;
    telemetry.endpoint = Some(collector.url());
    telemetry.sampler = Sampler::ParentOrOff;
    for signal in [&mut telemetry.traces, &mut telemetry.metrics, &mut telemetry.logs] {
        signal.delay = SOON;
    }
}

pub(crate) async fn installation(collector: &Collector, change: impl FnOnce(&mut Config)) -> Installation {
    installation_on(Database::Sqlite, collector, change).await
}

pub(crate) async fn installation_on(
    database: Database,
    collector: &Collector,
    change: impl FnOnce(&mut Config),
) -> Installation {
    Installation::prepare(database, |config| {
        to(collector, config);
        config.server.drain_delay = Duration::ZERO;
        change(config);
    })
    .await
}

/// What makes calls by hand.
pub(crate) struct Caller<'a> {
    pub(crate) installation: &'a Installation,
    connection: Connection,
    key: String,
}

impl<'a> Caller<'a> {
    pub(crate) async fn of(installation: &'a Installation, program: &Program) -> Self {
        let key = installation.prepared.key.expose_secret().to_owned();
        Self { installation, connection: Connection::open(program.addr).await, key }
    }

    async fn call(&self, path: &str, message: &impl Message, headers: &[(&str, &str)]) -> Answered {
        let mut request: Request<()> = grpc(path, Some(&self.key));
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().expect("a name");
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        self.connection.call(request, framed(&message.encode_to_vec())).await.answer()
    }

    pub(crate) async fn log_in(&self, password: &str, headers: &[(&str, &str)]) -> Answered {
        let username = self.installation.prepared.alice.username.clone();
        let credential =
            PasswordCredential { username, password: password.to_owned(), ..PasswordCredential::default() };
        self.call(CREATE, &request(Credential::Password(credential)), headers).await
    }

    /// Alice's token.
    pub(crate) async fn ust(&self) -> String {
        let password = self.installation.prepared.alice.password.expose_secret();
        self.log_in(password, &[]).await.message::<CreateSessionResponse>().ust
    }

    /// Is her session good?
    pub(crate) async fn verify(&self, ust: &str, headers: &[(&str, &str)]) -> bool {
        let message = VerifySessionRequest { ust: ust.to_owned(), client: Some(here()), peek: false };
        let answer = self.call(VERIFY, &message, headers).await;
        matches!(
            answer.message::<VerifySessionResponse>().verdict,
            Some(lanyard_proto::v1::verify_session_response::Verdict::Session(_))
        )
    }
}

fn here() -> ClientInfo {
    ClientInfo { current_app: "default".to_owned(), remote_addr: "192.0.2.1".to_owned(), ..ClientInfo::default() }
}

fn request(credential: Credential) -> CreateSessionRequest {
    CreateSessionRequest { client: Some(here()), credential: Some(credential) }
}

fn hex(id: &[u8]) -> String {
    id.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

pub(crate) fn named<'a>(spans: &'a [Span], name: &str) -> Option<&'a Span> {
    spans.iter().find(|span| span.name == name)
}

/// The trace of a call, once a span of this name is there.
pub(crate) async fn trace(collector: &Collector, correlation_id: &str, name: &str) -> Vec<Span> {
    eventually_some("the spans arrive", async || {
        let spans = collector.trace_of(correlation_id);
        named(&spans, name).is_some().then_some(spans)
    })
    .await
}

/// The names of the spans from this one up to the call.
fn upwards(spans: &[Span], from: &Span) -> Vec<String> {
    let mut names = vec![from.name.clone()];
    let mut at = from;
    while let Some(parent) = spans.iter().find(|span| span.span_id == at.parent_span_id) {
        names.push(parent.name.clone());
        at = parent;
    }
    names
}

both_databases!(a_call_of_a_sampled_trace_is_one_trace_from_the_caller_to_the_database);

async fn a_call_of_a_sampled_trace_is_one_trace_from_the_caller_to_the_database(database: Database) {
    let collector = Collector::grpc().await;
    let installation = installation_on(database, &collector, |_| {}).await;
    let program = installation.start();
    let caller = Caller::of(&installation, &program).await;
    let headers = [("traceparent", &*traceparent(true)), ("tracestate", "vendor=1"), ("x-correlation-id", "order-7")];
    let password = installation.prepared.alice.password.expose_secret();
    caller.log_in(password, &headers).await.message::<CreateSessionResponse>();
    let spans = trace(&collector, "order-7", "lanyard.v1.SessionService/CreateSession").await;
    let call = named(&spans, "lanyard.v1.SessionService/CreateSession").expect("it was waited for");
    assert_eq!((hex(&call.trace_id), hex(&call.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!((call.kind(), call.trace_state.as_str()), (SpanKind::Server, "vendor=1"));
    for (key, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", "lanyard.v1.SessionService/CreateSession"),
        ("rpc.status_code", "OK"),
        ("lanyard.correlation_id", "order-7"),
        ("lanyard.caller", "tests"),
    ] {
        assert_eq!(text(&call.attributes, key).as_deref(), Some(value), "{key}");
    }
    assert!(call.end_time_unix_nano > call.start_time_unix_nano);

    let system = if database == Database::Postgres { "postgresql" } else { "sqlite" };
    let verb = named(&spans, "create_session").unwrap_or_else(|| panic!("{spans:#?}"));
    assert_eq!((&verb.parent_span_id, verb.kind()), (&call.span_id, SpanKind::Internal));
    for operation in ["user_by_name", "write", "insert_session"] {
        let span = named(&spans, operation).unwrap_or_else(|| panic!("{operation} is not in {spans:#?}"));
        assert_eq!(span.kind(), SpanKind::Client, "{operation}");
        assert_eq!(text(&span.attributes, "db.system.name").as_deref(), Some(system), "{operation}");
        assert_eq!(text(&span.attributes, "db.operation.name").as_deref(), Some(operation));
        let way = upwards(&spans, span);
        let [.., verb, call] = &way[..] else { panic!("{way:?}") };
        assert_eq!((&**verb, &**call), ("create_session", "lanyard.v1.SessionService/CreateSession"), "{way:?}");
    }
    let insert = named(&spans, "insert_session").expect("it was looked at");
    assert!(upwards(&spans, insert).contains(&"write".to_owned()), "an operation lies in its transaction");
    assert!(collector.schemas().iter().all(|url| url == "https://opentelemetry.io/schemas/1.45.0"));
}

#[test]
fn a_refusal_says_why_in_its_span_and_in_the_lines_of_its_trace() {
    run(async {
        let collector = Collector::grpc().await;
        let installation = installation(&collector, |config| {
            config.log.level = "info,lanyard_server=debug".to_owned();
        })
        .await;
        let program = installation.start();
        let caller = Caller::of(&installation, &program).await;
        let headers = [("traceparent", &*traceparent(true)), ("x-correlation-id", "order-8")];
        assert_eq!(caller.log_in("wrong, and long enough", &headers).await.refusal().1, "LOGIN_FAILED");
        let spans = trace(&collector, "order-8", "lanyard.v1.SessionService/CreateSession").await;
        let call = named(&spans, "lanyard.v1.SessionService/CreateSession").expect("it was waited for");
        assert_eq!(text(&call.attributes, "error.type").as_deref(), Some("UNAUTHENTICATED"));
        assert_eq!(text(&call.attributes, "lanyard.reason").as_deref(), Some("LOGIN_FAILED"));
        assert_eq!(call.status.as_ref().map(|status| status.code), Some(0), "it is no fault of the server");

        let record = eventually_some("the line arrives", async || {
            let records = collector.records();
            records.into_iter().find(|record| text(&record.attributes, "reason").as_deref() == Some("LOGIN_FAILED"))
        })
        .await;
        assert_eq!((hex(&record.trace_id), &record.span_id), (TRACE.to_owned(), &call.span_id));
        assert_eq!(text(&record.attributes, "correlation_id").as_deref(), Some("order-8"));
        let output = program.process.output();
        let line = output.lines().find(|line| line.contains("LOGIN_FAILED")).expect("a line on standard error");
        let line: Json = serde_json::from_str(line).expect("JSON");
        assert_eq!((&line["trace_id"], &line["span_id"]), (&Json::from(TRACE), &hex(&call.span_id).into()));
    });
}

#[test]
fn only_an_authenticated_caller_decides_what_is_sampled() {
    run(async {
        let collector = Collector::grpc().await;
        let installation = installation(&collector, |_| {}).await;
        let program = installation.start();
        let caller = Caller::of(&installation, &program).await;
        let connection = Connection::open(program.addr).await;
        let mut stranger = grpc(VERIFY, Some("lyk1_of_nobody"));
        for (name, value) in [("traceparent", &*traceparent(true)), ("x-correlation-id", "stranger")] {
            stranger.headers_mut().insert(name, value.parse().expect("a value"));
        }
        let refused = connection.call(stranger, framed(&[])).await.answer();
        assert_eq!(refused.refusal().1, "CALLER_UNAUTHENTICATED");
        let ust = caller.ust().await;
        caller.verify(&ust, &[("x-correlation-id", "silent")]).await;
        caller.verify(&ust, &[("traceparent", &traceparent(false)), ("x-correlation-id", "unsampled")]).await;
        caller.verify(&ust, &[("traceparent", &traceparent(true)), ("x-correlation-id", "sampled")]).await;
        let spans = trace(&collector, "sampled", "lanyard.v1.SessionService/VerifySession").await;
        assert_eq!(spans.len(), 1, "memory has answered it: {spans:#?}");
        for untraced in ["stranger", "silent", "unsampled"] {
            assert!(collector.trace_of(untraced).is_empty(), "{untraced}");
        }
    });
}

#[test]
fn the_call_of_a_stranger_is_sampled_by_the_ratio_and_is_a_trace_of_its_own() {
    run(async {
        let collector = Collector::grpc().await;
        let installation = installation(&collector, |config| config.telemetry.sampler = Sampler::AlwaysOn).await;
        let program = installation.start();
        let connection = Connection::open(program.addr).await;
        let mut stranger = grpc(VERIFY, None);
        for (name, value) in [("traceparent", &*traceparent(true)), ("x-correlation-id", "stranger")] {
            stranger.headers_mut().insert(name, value.parse().expect("a value"));
        }
        connection.call(stranger, framed(&[])).await.answer().refusal();
        let spans = trace(&collector, "stranger", "lanyard.v1.SessionService/VerifySession").await;
        assert_ne!(hex(&spans[0].trace_id), TRACE);
        assert!(spans[0].parent_span_id.is_empty() && text(&spans[0].attributes, "lanyard.caller").is_none());
    });
}

#[test]
fn a_platform_is_called_within_the_trace_sampled_or_not() {
    run(async {
        let collector = Collector::grpc().await;
        let micetro = FakeMicetro::start();
        let platform = Platform::at(&micetro.url());
        let installation = installation(&collector, |config| with_platform(config, platform)).await;
        let program = installation.start();
        let caller = Caller::of(&installation, &program).await;
        let credential = || {
            Credential::Platform(PlatformCredential {
                platform: PLATFORM.to_owned(),
                username: ALICE.0.to_owned(),
                password: ALICE.1.to_owned(),
                ..PlatformCredential::default()
            })
        };
        let headers = [("traceparent", &*traceparent(true)), ("x-correlation-id", "order-9")];
        caller.call(CREATE, &request(credential()), &headers).await.message::<CreateSessionResponse>();
        let spans = trace(&collector, "order-9", "POST").await;
        let post = named(&spans, "POST").expect("it was waited for");
        let sent = format!("00-{TRACE}-{}-01", hex(&post.span_id));
        let login = micetro.seen().into_iter().find(|seen| seen.method == "POST").expect("a login");
        assert_eq!(login.header("traceparent"), Some(&*sent));
        assert_eq!(post.kind(), SpanKind::Client);
        for (key, value) in
            [("http.request.method", "POST"), ("server.address", "127.0.0.1"), ("http.response.status_code", "201")]
        {
            assert_eq!(text(&post.attributes, key).as_deref(), Some(value), "{key}");
        }
        assert!(upwards(&spans, post).contains(&"log_in".to_owned()));

        micetro.forget_seen();
        let headers = [("traceparent", &*traceparent(false))];
        caller.call(CREATE, &request(credential()), &headers).await.message::<CreateSessionResponse>();
        let login = micetro.seen().into_iter().find(|seen| seen.method == "POST").expect("a login");
        assert_eq!(login.header("traceparent"), Some(&*traceparent(false)), "nobody adds a span, the trace goes on");
    });
}

#[test]
fn the_histogram_of_calls_leads_to_the_trace_on_the_page_and_by_otlp() {
    run(async {
        let collector = Collector::grpc().await;
        let installation = installation(&collector, |_| {}).await;
        let program = installation.start();
        let caller = Caller::of(&installation, &program).await;
        let ust = caller.ust().await;
        assert!(caller.verify(&ust, &[("traceparent", &traceparent(true))]).await);
        let page = program.metrics().await;
        let exemplar = format!("# {{trace_id=\"{TRACE}\",span_id=\"");
        let line = page.lines().find(|line| line.contains(&exemplar)).unwrap_or_else(|| panic!("{page}"));
        assert!(line.contains("method=\"SessionService/VerifySession\",code=\"OK\""), "{line}");
        eventually("the exemplar arrives", async || {
            let metrics = collector.metrics();
            let Some(Data::Histogram(calls)) =
                metrics.get("lanyard_rpc_duration_seconds").and_then(|metric| metric.data.clone())
            else {
                return false;
            };
            let exemplars = calls.data_points.iter().flat_map(|point| &point.exemplars);
            exemplars.into_iter().any(|exemplar| hex(&exemplar.trace_id) == TRACE)
        })
        .await;
        let Some(Data::Sum(logins)) = collector.metrics()["lanyard_logins"].data.clone() else { panic!("a counter") };
        let one = &logins.data_points[0];
        assert_eq!(one.value, Some(Value::AsDouble(1.0)), "the same number as on the page");
        assert!(page.contains("lanyard_logins_total{auth_type=\"password\",outcome=\"succeeded\"} 1\n"), "{page}");
        assert_eq!(text(&one.attributes, "outcome").as_deref(), Some("succeeded"));
    });
}

#[test]
fn a_stop_sends_everything_that_was_not_sent_yet() {
    const CALLS: usize = 300;
    run(async {
        let collector = Collector::grpc().await;
        let installation = installation(&collector, |config| {
            let telemetry = &mut config.telemetry;
            for signal in [&mut telemetry.traces, &mut telemetry.metrics, &mut telemetry.logs] {
                signal.delay = NEVER;
            }
        })
        .await;
        let program = installation.start();
        let caller = Caller::of(&installation, &program).await;
        let ust = caller.ust().await;
        for _ in 0..CALLS {
            assert!(caller.verify(&ust, &[("traceparent", &traceparent(true))]).await);
        }
        assert!(collector.spans().len() < CALLS, "a full batch may have gone");
        program.process.terminate();
        let (status, output) = program.ended().await;
        assert_eq!(status.code(), Some(0), "{output}");
        let verified = collector.spans();
        let verified = verified.iter().filter(|span| span.name == "lanyard.v1.SessionService/VerifySession");
        assert_eq!(verified.count(), CALLS);
        let records = collector.records();
        let bodies: Vec<String> = records.iter().map(|record| format!("{:?}", record.body)).collect();
        assert!(bodies.iter().any(|body| body.contains("stopped")), "the last line too: {bodies:?}");
        let metrics = collector.metrics();
        let Some(Data::Sum(exported)) = metrics["lanyard_telemetry_exported"].data.clone() else { panic!("a counter") };
        let traces = exported.data_points.iter().find(|p| text(&p.attributes, "signal").as_deref() == Some("traces"));
        let count = traces.and_then(|point| point.value);
        assert!(matches!(count, Some(Value::AsDouble(count)) if count >= 300.0), "metrics come last: {count:?}");
    });
}

#[test]
fn everything_arrives_by_http_too() {
    run(async {
        let collector = Collector::http().await;
        let installation = installation(&collector, |config| {
            config.telemetry.protocol = Protocol::HttpProtobuf;
            config.telemetry.endpoint = Some(format!("{}/base", collector.url()));
            config.telemetry.logs.endpoint = Some(format!("{}/elsewhere/logs", collector.url()));
        })
        .await;
        let program = installation.start();
        let caller = Caller::of(&installation, &program).await;
        let ust = caller.ust().await;
        caller.verify(&ust, &[("traceparent", &traceparent(true)), ("x-correlation-id", "order-7")]).await;
        trace(&collector, "order-7", "lanyard.v1.SessionService/VerifySession").await;
        eventually("all three arrive", async || !collector.counts().contains(&0)).await;
        let mut paths = collector.paths();
        paths.sort();
        paths.dedup();
        assert_eq!(paths, ["base/v1/metrics", "base/v1/traces", "elsewhere/logs"]);
        assert!(collector.headers().iter().all(|headers| headers["content-type"] == "application/x-protobuf"));
    });
}

#[test]
fn no_secret_is_in_anything_that_is_sent() {
    run(async {
        let collector = Collector::grpc().await;
        let installation = installation(&collector, |config| {
            config.telemetry.sampler = Sampler::AlwaysOn;
            config.log.level = "info,lanyard_server=trace".to_owned();
        })
        .await;
        let program = installation.start();
        let caller = Caller::of(&installation, &program).await;
        let ust = caller.ust().await;
        assert!(caller.verify(&ust, &[]).await);
        caller.log_in("a wrong password that nobody may see", &[]).await.refusal();
        let client = program.client().await;
        client.on_behalf_of(&lanyard_client::Ust::from(ust.clone())).log_out().await.expect("a logout");
        program.process.terminate();
        let (_, output) = program.ended().await;
        let mut secrets = Secrets::default();
        secrets.add("the token", &ust);
        secrets.add("the password", installation.prepared.alice.password.expose_secret());
        secrets.add("a wrong password", "a wrong password that nobody may see");
        secrets.add("the key of the caller", installation.prepared.key.expose_secret());
        assert!(collector.spans().len() > 10 && collector.records().len() > 3, "there is something to look at");
        secrets.are_not_in("what was sent", collector.everything());
        secrets.are_not_in("the log", output);
        let sent = String::from_utf8_lossy(&collector.everything()).to_lowercase();
        assert!(!sent.contains("select ") && !sent.contains("insert into"), "statements are not sent");
    });
}

/// Of each metric: its type, its labels, its meaning.
fn documented() -> BTreeMap<String, (String, Vec<String>, String)> {
    let text = std::fs::read_to_string(repository_file("server/TELEMETRY.md")).expect("the page");
    let rows = text.lines().filter(|line| line.starts_with("| `lanyard_"));
    let words = |cell: &str| -> Vec<String> {
        cell.split(',').map(|word| word.trim().trim_matches('`').to_owned()).filter(|word| !word.is_empty()).collect()
    };
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else { panic!("{row}") };
        (name.trim_matches('`').to_owned(), (kind.to_owned(), words(labels), meaning.to_owned()))
    })
    .collect()
}

/// Of each family on the page: its type and its help.
fn families(page: &str) -> BTreeMap<String, (String, String)> {
    let about = |what: &str| -> BTreeMap<String, String> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(what)?.strip_prefix(' ')?.split_once(' '));
        lines.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    };
    let helps = about("# HELP");
    let suffixed = |(name, kind): (String, String)| {
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let help = helps[&name].trim_end_matches('.').to_owned();
        (format!("{name}{suffix}"), (kind, help))
    };
    about("# TYPE").into_iter().map(suffixed).collect()
}

#[test]
fn the_table_of_metrics_is_what_the_page_shows() {
    run(async {
        let collector = Collector::grpc().await;
        let installation = installation(&collector, |_| {}).await;
        let program = installation.start();
        let caller = Caller::of(&installation, &program).await;
        let ust = caller.ust().await;
        caller.verify(&ust, &[]).await;
        caller.log_in("wrong, and long enough", &[]).await.refusal();
        let page = program.metrics().await;
        let (documented, families) = (documented(), families(&page));
        let names = |of: Vec<&String>| -> Vec<String> { of.into_iter().cloned().collect() };
        assert_eq!(names(documented.keys().collect()), names(families.keys().collect()));
        for (name, (kind, labels, meaning)) in &documented {
            let (found, help) = &families[name];
            assert_eq!(kind, found, "{name}");
            assert!(meaning.starts_with(help.as_str()), "{name}: {meaning} / {help}");
            let is_of = |line: &&str| {
                let of = line.split(['{', ' ']).next().unwrap_or_default();
                of == name || kind == "histogram" && of.starts_with(name.as_str()) && !documented.contains_key(of)
            };
            for line in page.lines().filter(is_of) {
                let sample = line.split(" # ").next().unwrap_or_default();
                let inside = sample.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
                let inside = inside.map_or("", |(inside, _)| inside);
                let found: Vec<&str> = inside.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
                let found: Vec<&str> = found.into_iter().filter(|label| *label != "le").collect();
                assert_eq!(&found, labels, "{line}");
            }
        }
    });
}
