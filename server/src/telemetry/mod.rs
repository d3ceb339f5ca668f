//! What the server shows of itself. Logs on standard error: JSON for machines, pretty for a person at a terminal; a line within a
//! call carries the call's span, and with it the correlation ID. And by OTLP, where the configuration says so: traces,
//! metrics and logs. `TELEMETRY.md` has the names.

mod line;
mod logs;
pub mod metrics;
mod queue;
#[cfg(test)]
mod tests;
mod traces;

use std::io::{IsTerminal, stderr};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::SpanData;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::clock::{Clock, Time};
use crate::config::{Config, ConfigError, Log, LogFormat, Propagation, SignalKind};
use crate::crypto::random_bytes;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Receiver;

use line::WithTrace;
use logs::Record;
use metrics::otlp::TelemetryCollector;
use queue::{Sending, Tally, Way};

/// The semantic conventions by which things are named.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.45.0";

/// `service.name`, where nothing else is said.
const SERVICE: &str = "lanyard";

/// What others say of every migration and statement is not for an operator; who wants it names them in the level.
const QUIET: &str = "sea_orm=warn,sea_orm_migration=warn,sqlx=warn";

/// Telemetry of the process: what is sent, from [`Self::run`] to [`Self::stop`].
pub struct Telemetry {
    origin: Arc<Origin>,
    traces: Option<(Sending<SpanData>, Way)>,
    logs: Option<(Sending<Record>, Way)>,
    metrics: Option<(Duration, Way)>,
    tallies: Tallies,
    /// One after the other: spans and records, then the metrics, which count what became of those.
    stopping: [CancellationToken; 2],
    senders: [JoinSet<()>; 2],
    flush_timeout: Duration,
    ignored: Vec<String>,
}

/// One for each signal that is sent.
type Tallies = Vec<(SignalKind, Arc<Tally>)>;

/// Who sends.
pub(crate) struct Origin {
    resource: Resource,
    started: Time,
}

impl Telemetry {
    /// Starts logging, and collecting what is to be sent, for the whole process, once. A second time keeps what is there.
    /// Fails if a file that the configuration names cannot be read.
    pub fn start(config: &Config, clock: &Clock) -> Result<Self, ConfigError> {
        let telemetry = &config.telemetry;
        let mut started = Self {
            origin: Arc::new(Origin { resource: resource(config)?, started: clock.now() }),
            traces: None,
            logs: None,
            metrics: None,
            tallies: Vec::new(),
            stopping: Default::default(),
            senders: Default::default(),
            flush_timeout: telemetry.flush_timeout,
            ignored: telemetry.ignored.clone(),
        };
        if telemetry.propagation == Propagation::TraceContext {
            opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        }
        let mut layers = vec![console(&config.log, stderr)];
        if let Some(way) = started.way(config, SignalKind::Traces, traces::rejected)? {
            let (queue, sending) = queue::queue(&telemetry.traces, way.tally.clone(), traces::encode);
            let provider = traces::provider(config, &started.origin, queue);
            layers.push(traces::layer(&provider).boxed());
            opentelemetry::global::set_tracer_provider(provider);
            started.traces = Some((sending, way));
        }
        if let Some(way) = started.way(config, SignalKind::Logs, logs::rejected)? {
            let (queue, sending) = queue::queue(&telemetry.logs, way.tally.clone(), logs::encode);
            layers.push(logs::layer(&config.log.level, queue).boxed());
            started.logs = Some((sending, way));
        }
        let way = started.way(config, SignalKind::Metrics, metrics::otlp::rejected)?;
        started.metrics = way.map(|way| (telemetry.metrics.delay, way));
        install(layers);
        Ok(started)
    }

    /// The way of a signal, if it is sent.
    fn way(
        &mut self,
        config: &Config,
        kind: SignalKind,
        rejected: fn(&[u8]) -> u64,
    ) -> Result<Option<Way>, ConfigError> {
        let telemetry = &config.telemetry;
        if !telemetry.sends(kind) {
            return Ok(None);
        }
        let receiver = telemetry.destination(kind).map_err(str::to_owned).and_then(|to| Receiver::new(&to));
        let key = || format!("telemetry.{}", kind.name());
        let receiver = receiver.map_err(|problem| ConfigError::Invalid { key: key(), problem })?;
        let tally = Arc::<Tally>::default();
        self.tallies.push((kind, tally.clone()));
        let export_timeout = telemetry.signal(kind).export_timeout;
        Ok(Some(Way { kind, receiver, export_timeout, tally, rejected, is_failing: AtomicBool::new(false) }))
    }

    /// Sends from now on, on the current runtime; `metrics` are those of the server.
    pub fn run(&mut self, metrics: &Metrics, clock: &Clock) {
        for ignored in std::mem::take(&mut self.ignored) {
            tracing::warn!("{ignored}; the variable is ignored");
        }
        let tallies = self.tallies.clone();
        metrics.register(|registry| registry.register_collector(Box::new(TelemetryCollector(tallies))));
        let [first, last] = &mut self.senders;
        let [stop_first, stop_last] = self.stopping.clone();
        if let Some((sending, way)) = self.traces.take() {
            first.spawn(sending.run(way, self.origin.clone(), stop_first.clone()));
        }
        if let Some((sending, way)) = self.logs.take() {
            first.spawn(sending.run(way, self.origin.clone(), stop_first));
        }
        if let Some((delay, way)) = self.metrics.take() {
            let (metrics, origin, clock) = (metrics.clone(), self.origin.clone(), clock.clone());
            last.spawn(metrics::otlp::send_regularly(metrics, delay, way, origin, clock, stop_last));
        }
    }

    /// Sends what is left, for a while. Nothing after it is sent.
    pub async fn stop(mut self) {
        let flush = async {
            for (stop, senders) in self.stopping.iter().zip(&mut self.senders) {
                stop.cancel();
                while senders.join_next().await.is_some() {}
            }
        };
        if timeout(self.flush_timeout, flush).await.is_err() {
            let left: u64 = self.tallies.iter().map(|(_, tally)| tally.queued()).sum();
            tracing::warn!(left, "telemetry was not taken in time: it is lost");
        }
    }
}

/// Starts logging to standard error for the whole process, and nothing else, once.
pub fn log_only(log: &Log) {
    install(vec![console(log, stderr)]);
}

fn install(layers: Vec<Box<dyn Layer<Registry> + Send + Sync>>) {
    if tracing_subscriber::registry().with(layers).try_init().is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// What says, on standard error, what happens.
fn console<W>(log: &Log, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let pretty = match log.format {
        LogFormat::Json => false,
        LogFormat::Pretty => true,
        LogFormat::Auto => stderr().is_terminal(),
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    if pretty {
        let layer = layer.with_ansi(stderr().is_terminal()).with_target(false);
        return layer.with_filter(filter(&log.level)).boxed();
    }
    // The list and not only the innermost span: the correlation ID stands in the outermost.
    let json = layer.json().flatten_event(true).with_current_span(false).with_span_list(true);
    json.map_event_format(WithTrace).with_filter(filter(&log.level)).boxed()
}

/// The level was checked with the rest of the configuration.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(format!("{QUIET},{level}")).unwrap_or_else(|_| EnvFilter::new("info"))
}

fn resource(config: &Config) -> Result<Resource, ConfigError> {
    let given = config.telemetry.resource_attributes.parse().map_err(|problem| ConfigError::Invalid {
        key: "telemetry.resource_attributes".to_owned(),
        problem: problem.to_owned(),
    })?;
    // By the standard, a name of its own goes before the one among the attributes, and that before the default.
    let is_default = config.telemetry.service_name == SERVICE;
    let given = given.into_iter().filter(|(name, _)| is_default || name != "service.name");
    let instance = uuid::Builder::from_random_bytes(random_bytes()).into_uuid();
    let mut attributes = vec![
        KeyValue::new("service.name", config.telemetry.service_name.clone()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance.to_string()),
        KeyValue::new("process.pid", i64::from(std::process::id())),
        KeyValue::new("process.executable.name", "lanyard"),
    ];
    attributes.extend(given.map(|(name, value)| KeyValue::new(name, value)));
    let sdk = Resource::builder_empty().with_detector(Box::new(TelemetryResourceDetector));
    Ok(sdk.with_schema_url(attributes, SCHEMA_URL).build())
}

/// A panic is a log line like any other, with the spans it happened in.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("(no text)");
    tracing::error!(location, message, "panicked");
}
