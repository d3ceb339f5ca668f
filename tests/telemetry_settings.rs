//! What the configuration and the standard variables of OpenTelemetry say about telemetry, and what is said of those that are not
//! supported.

use std::path::Path;
use std::time::Duration;

use lanyard_server::config::{
    Config, ConfigError, Exemplars, Exporter, Propagation, Protocol, Sampler, SignalKind, Telemetry,
};
use lanyard_tests::support::installation::Installation;
use lanyard_tests::support::otlp::Collector;
use lanyard_tests::support::server::{Database, run};
use lanyard_tests::support::{eventually, repository_file};

use crate::telemetry::{Caller, to};

fn load(variables: &[(&str, &str)]) -> Result<Telemetry, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(None, variables).map(|config| config.telemetry)
}

fn with(variables: &[(&str, &str)]) -> Telemetry {
    load(variables).unwrap_or_else(|problem| panic!("{variables:?}: {problem}"))
}

type Check = fn(&Telemetry) -> bool;

fn uri(telemetry: &Telemetry, kind: SignalKind) -> String {
    telemetry.destination(kind).expect("a URL").uri.to_string()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn each_variable_does_what_it_does_everywhere() {
    let checks: &[(&str, &str, Check)] = &[
        ("OTEL_SERVICE_NAME", "front", |t| t.service_name == "front"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b%2Cc", |t| {
            t.resource_attributes.parse() == Ok(vec![("a".to_owned(), "b,c".to_owned())])
        }),
        ("OTEL_PROPAGATORS", "none", |t| t.propagation == Propagation::None),
        ("OTEL_PROPAGATORS", "tracecontext,baggage", |t| t.propagation == Propagation::TraceContext),
        ("OTEL_TRACES_SAMPLER", "always_on", |t| t.sampler == Sampler::AlwaysOn),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off", |t| t.sampler == Sampler::ParentOrOff),
        ("OTEL_TRACES_SAMPLER", "traceidratio", |t| t.sampler == Sampler::Ratio && t.sampling_ratio >= 1.0),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25", |t| (t.sampling_ratio - 0.25).abs() < f64::EPSILON),
        ("OTEL_TRACES_EXPORTER", "otlp", |t| t.sends(SignalKind::Traces)),
        ("OTEL_METRICS_EXPORTER", "none", |t| !t.metrics.enabled && t.exporter == Exporter::Off),
        ("OTEL_LOGS_EXPORTER", "otlp", |t| t.sends(SignalKind::Logs)),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1/", |t| uri(t, SignalKind::Logs) == "http://c:1/"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:1", |t| {
            uri(t, SignalKind::Traces).starts_with("http://c:1/") && t.exporter == Exporter::Otlp
        }),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", |t| {
            uri(t, SignalKind::Metrics) == "http://localhost:4318/v1/metrics"
        }),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf", |t| {
            t.metrics.protocol == Some(Protocol::HttpProtobuf) && t.protocol == Protocol::Grpc
        }),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b", |t| {
            let headers = t.headers.as_ref().and_then(|headers| headers.parse().ok()).unwrap_or_default();
            headers.len() == 1 && headers[0].0 == "x-tenant" && headers[0].1 == "a b"
        }),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x=y", |t| t.logs.headers.is_some() && t.headers.is_none()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500", |t| t.timeout == millis(1500)),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7", |t| t.traces.timeout == Some(millis(7))),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca", |t| t.ca_file.as_deref() == Some(Path::new("/ca"))),
        ("OTEL_BSP_SCHEDULE_DELAY", "5", |t| t.traces.delay == millis(5)),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "5", |t| t.traces.queue == Some(5)),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5", |t| t.traces.batch == Some(5)),
        ("OTEL_BSP_EXPORT_TIMEOUT", "5", |t| t.traces.export_timeout == millis(5)),
        ("OTEL_BLRP_SCHEDULE_DELAY", "5", |t| t.logs.delay == millis(5)),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "5", |t| t.logs.queue == Some(5)),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "5", |t| t.logs.batch == Some(5)),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "5", |t| t.logs.export_timeout == millis(5)),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5", |t| t.metrics.delay == millis(5)),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "5", |t| t.metrics.export_timeout == millis(5)),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "always_off", |t| t.exemplars == Exemplars::AlwaysOff),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "5", |t| t.max_attributes == 5),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "6", |t| t.max_attributes == 6),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "7", |t| t.max_events == 7),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "8", |t| t.max_event_attributes == 8),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative", |t| t.exporter == Exporter::Off),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none", |t| t.exporter == Exporter::Off),
        ("OTEL_SDK_DISABLED", "false", |t| t.exporter == Exporter::Off),
        ("OTEL_SERVICE_NAME", "", |t| t.service_name == "lanyard"),
    ];
    for (name, value, check) in checks {
        let telemetry = with(&[(name, value)]);
        assert!(check(&telemetry), "{name}={value}: {telemetry:?}");
        assert_eq!(telemetry.ignored, Vec::<String>::new(), "{name}={value}");
    }
    let http = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1/x"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
    assert_eq!(uri(&with(&http), SignalKind::Logs), "http://c:1/x/v1/logs");
    let insecure = with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:1"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")]);
    assert!(uri(&insecure, SignalKind::Traces).starts_with("http://c:1/"));
    assert!(uri(&with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:1")]), SignalKind::Traces).starts_with("https://c:1/"));
    let pair = [("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c"), ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k")];
    assert!(with(&pair).destination(SignalKind::Logs).is_ok_and(|to| to.client.is_some()));
    assert!(load(&pair[..1]).is_err_and(|problem| problem.to_string().contains("go together")));
}

#[test]
fn variables_stand_over_the_file_and_under_our_own() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1");
    assert!(with(&[endpoint]).sends(SignalKind::Traces), "an endpoint turns exporting on");
    assert!(!with(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]).sends(SignalKind::Traces));
    assert!(!with(&[endpoint, ("LANYARD__TELEMETRY__EXPORTER", "off")]).sends(SignalKind::Traces));
    assert!(!with(&[endpoint, ("OTEL_LOGS_EXPORTER", "none")]).sends(SignalKind::Logs));
    let ours = [("OTEL_TRACES_SAMPLER_ARG", "0.5"), ("LANYARD__TELEMETRY__SAMPLING_RATIO", "0.75")];
    assert!((with(&ours).sampling_ratio - 0.75).abs() < f64::EPSILON);
}

#[test]
fn what_is_not_supported_is_named_and_changes_nothing() {
    for (name, value, told) in [
        ("OTEL_LOG_LEVEL", "debug", "log.level"),
        ("OTEL_CONFIG_FILE", "/f", "Lanyard's own"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "9464", "admin.listen"),
        ("OTEL_METRICS_EXPORTER", "prometheus", "/metrics"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "`otlp` and `none`"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "nothing is compressed"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:p@c", "credential"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://c", "URL"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x", "name=value"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta", "cumulative"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram", "explicit"),
        ("OTEL_PROPAGATORS", "b3", "tracecontext"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "samplers"),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "between 0 and 1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "nothing", "name=value"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "at least 1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s", "milliseconds"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "-1", "whole number"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "always_on", "trace_based"),
        ("OTEL_SDK_DISABLED", "maybe", "neither true nor false"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5", "not supported"),
        ("OTEL_SOMETHING_NEW", "x", "not supported"),
    ] {
        let telemetry = with(&[(name, value)]);
        let [ignored] = &telemetry.ignored[..] else { panic!("{name}={value}: {:?}", telemetry.ignored) };
        assert!(ignored.starts_with(name) && ignored.contains(told), "{name}={value}: {ignored}");
        assert_eq!(telemetry.exporter, Exporter::Off, "{name}={value}");
    }
}

/// The page names each variable that is read, in full or by what follows `OTEL_EXPORTER_OTLP_`.
#[test]
fn the_table_of_variables_names_those_that_are_read() {
    let page = std::fs::read_to_string(repository_file("server/TELEMETRY.md")).expect("the page");
    let rows = page.lines().filter(|line| line.starts_with("| `OTEL_"));
    let first = rows.filter_map(|row| row.trim_matches('|').split('|').next());
    let named: Vec<&str> = first.flat_map(|cell| cell.split('`')).filter(|word| word.starts_with("OTEL_")).collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named.iter().filter(|name| !name.ends_with('_')) {
        // A value that none of them takes.
        let telemetry = load(&[(name, "\u{1}")]);
        let unknown = telemetry.is_ok_and(|telemetry| telemetry.ignored == [format!("{name}: is not supported")]);
        assert!(!unknown, "{name} is not read");
    }
}

#[test]
fn a_key_that_cannot_work_is_refused_by_name() {
    for (key, value, told) in [
        ("ENDPOINT", "localhost:4317", "telemetry.endpoint"),
        ("ENDPOINT", "http://u:p@c", "credential"),
        ("ENDPOINT", "http://c:4317/x", "no path"),
        ("SAMPLING_RATIO", "1.5", "telemetry.sampling_ratio"),
        ("FLUSH_TIMEOUT", "2m", "telemetry.flush_timeout"),
        ("HEADERS", "novalue", "telemetry.headers"),
        ("RESOURCE_ATTRIBUTES", "novalue", "telemetry.resource_attributes"),
        ("CLIENT_CERT", "/c", "telemetry.client_key"),
        ("TRACES__QUEUE", "0", "telemetry.traces.queue"),
        ("METRICS__QUEUE", "5", "telemetry.metrics.queue"),
        ("LOGS__DELAY", "0s", "telemetry.logs.delay"),
        ("SAMPLER", "sometimes", "sampler"),
        ("PROTOCOL", "http/json", "protocol"),
    ] {
        let problem = load(&[(&format!("LANYARD__TELEMETRY__{key}"), value)]).expect_err(key).to_string();
        assert!(problem.contains(told), "{key}={value}: {problem}");
    }
}

#[test]
fn headers_are_sent_and_never_shown() {
    run(async {
        let collector = Collector::grpc().await;
        let installation = Installation::prepare(Database::Sqlite, |config| to(&collector, config)).await;
        let variables = [
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20the-credential"),
            ("OTEL_SERVICE_NAME", "front"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=test"),
            ("OTEL_TRACES_SAMPLER", "always_on"),
            ("OTEL_LOG_LEVEL", "debug"),
        ];
        let program = installation.start_with(&variables);
        program.process.wait_for_line("what is not supported", |line| line.contains("OTEL_LOG_LEVEL").then_some(()));
        let caller = Caller::of(&installation, &program).await;
        caller.ust().await;
        eventually("spans arrive", async || !collector.resource().is_empty()).await;
        assert!(collector.headers().iter().all(|headers| headers["authorization"] == "Bearer the-credential"));
        let resource = collector.resource();
        assert_eq!(resource["service.name"], "front");
        assert_eq!(resource["deployment.environment.name"], "test");
        assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
        assert!(resource.contains_key("service.instance.id") && resource.contains_key("process.pid"));
        assert!(!program.process.output().contains("the-credential"));
        let mut show = installation.command(&["config", "show"]);
        let shown = show.envs(variables).output().expect("it runs");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("authorization=[redacted]") && !shown.contains("the-credential"), "{shown}");
    });
}

/// The exporters read the variable too.
#[test]
fn configured_headers_replace_those_of_the_variable() {
    run(async {
        for (collector, protocol) in
            [(Collector::grpc().await, Protocol::Grpc), (Collector::http().await, Protocol::HttpProtobuf)]
        {
            let installation = Installation::prepare(Database::Sqlite, |config| {
                to(&collector, config);
                config.telemetry.protocol = protocol;
            })
            .await;
            let program = installation.start_with(&[
                ("OTEL_EXPORTER_OTLP_HEADERS", "x-of-the-variable=1"),
                ("LANYARD__TELEMETRY__HEADERS", "x-tenant=ours"),
                ("OTEL_TRACES_SAMPLER", "always_on"),
            ]);
            Caller::of(&installation, &program).await.ust().await;
            eventually("all three signals arrive", async || !collector.counts().contains(&0)).await;
            for headers in collector.headers() {
                assert_eq!(headers["x-tenant"], "ours", "{headers:?}");
                assert!(!headers.contains_key("x-of-the-variable"), "{headers:?}");
                assert!(headers["user-agent"].to_str().is_ok_and(|agent| agent.starts_with("lanyard/")), "{headers:?}");
            }
        }
    });
}

#[test]
fn a_file_that_is_not_there_stops_the_start_and_is_named() {
    run(async {
        let collector = Collector::grpc().await;
        let installation = Installation::prepare(Database::Sqlite, |config| {
            to(&collector, config);
            config.telemetry.headers_file = Some("/nonexistent/headers".into());
        })
        .await;
        let output = installation.command(&["serve"]).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains("/nonexistent/headers"), "{told}");
    });
}

#[test]
fn nothing_is_sent_when_the_environment_forbids_it() {
    run(async {
        let collector = Collector::grpc().await;
        let installation = Installation::prepare(Database::Sqlite, |config| to(&collector, config)).await;
        let program = installation.start_with(&[("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_SAMPLER", "always_on")]);
        let caller = Caller::of(&installation, &program).await;
        let ust = caller.ust().await;
        assert!(caller.verify(&ust, &[]).await);
        program.process.terminate();
        let (status, output) = program.ended().await;
        assert_eq!((status.code(), collector.counts()), (Some(0), [0, 0, 0]), "{output}");
    });
}
