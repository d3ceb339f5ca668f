//! What the server shows of itself. Logs on standard error: JSON for machines, pretty for a person at a terminal; a line within a
//! call carries the call's span, and with it the correlation ID. And by OTLP, where the configuration says so: traces,
//! metrics and logs. `TELEMETRY.md` has the names.

mod delivery;
mod line;
mod logs;
pub mod metrics;
mod receiver;
#[cfg(test)]
mod tests;
mod traces;

use std::future::pending;
use std::io::{IsTerminal, stderr};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::{Builder, Handle};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::clock::{Clock, Time};
use crate::config::{Config, ConfigError, Log, LogFormat, Propagation, SignalKind};
use crate::crypto::random_bytes;
use crate::priority;
use crate::telemetry::metrics::Metrics;

use delivery::{Counted, Delivery, DropReason};
use line::WithTrace;
use metrics::otlp::TelemetryCollector;
use receiver::Receiver;

/// The semantic conventions by which things are named.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.45.0";

/// `service.name`, where nothing else is said.
const SERVICE: &str = "lanyard";

/// What others say of every migration and statement is not for an operator; who wants it names them in the level.
/// What the SDK says of each export is counted and told here.
const QUIET: &str =
    "sea_orm=warn,sea_orm_migration=warn,sqlx=warn,opentelemetry=off,opentelemetry_sdk=off,opentelemetry-otlp=off";

/// What the SDK needs to end its threads, once nothing holds them up any more.
const ENDING: Duration = Duration::from_secs(1);

/// Telemetry of the process, until [`Self::stop`].
pub struct Telemetry {
    origin: Origin,
    sending: Option<Sending>,
    ignored: Vec<String>,
}

/// What sends, where anything is sent.
struct Sending {
    /// Drives the connections to receivers.
    runtime: Handle,
    deliveries: Deliveries,
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
    metrics: Option<(Duration, Receiver, Arc<Delivery>)>,
    metrics_task: Option<JoinHandle<()>>,
    /// Ends the task that sends metrics.
    stopping: CancellationToken,
    /// Ends all exports.
    give_up: CancellationToken,
    flush_timeout: Duration,
}

/// One for each signal that is sent.
type Deliveries = Vec<Arc<Delivery>>;

/// Who sends.
#[derive(Clone)]
struct Origin {
    resource: Resource,
    started: Time,
}

impl Telemetry {
    /// Starts logging, and sending traces and logs, for the whole process, once. A second time keeps what is there. Fails if a
    /// file that the configuration names cannot be read.
    pub fn start(config: &Config, clock: &Clock) -> Result<Self, ConfigError> {
        let telemetry = &config.telemetry;
        let origin = Origin { resource: resource(config)?, started: clock.now() };
        if telemetry.propagation == Propagation::TraceContext {
            opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        }
        let mut layers = vec![console(&config.log, stderr)];
        let is_sending = SignalKind::ALL.into_iter().any(|kind| telemetry.sends(kind));
        let sending = is_sending.then(|| Sending::start(config, &origin)).transpose()?;
        if let Some(sending) = &sending {
            layers.push(delivery::rejections(sending.deliveries.clone()).boxed());
            if let Some(provider) = &sending.traces {
                layers.push(traces::layer(provider).boxed());
                opentelemetry::global::set_tracer_provider(provider.clone());
            }
            if let Some(provider) = &sending.logs {
                layers.push(logs::layer(&config.log.level, provider).boxed());
            }
        }
        install(layers);
        Ok(Self { origin, sending, ignored: telemetry.ignored.clone() })
    }

    /// Sends metrics, those of the server, from now on.
    pub fn run(&mut self, metrics: &Metrics, clock: &Clock) {
        for ignored in std::mem::take(&mut self.ignored) {
            tracing::warn!("{ignored}; the variable is ignored");
        }
        let Some(sending) = &mut self.sending else { return };
        let deliveries = sending.deliveries.clone();
        metrics.register(|registry| registry.register_collector(Box::new(TelemetryCollector(deliveries))));
        if let Some((delay, receiver, delivery)) = sending.metrics.take() {
            let (metrics, origin, clock) = (metrics.clone(), self.origin.clone(), clock.clone());
            let stop = sending.stopping.clone();
            let task = metrics::otlp::send_regularly(metrics, delay, receiver, delivery, origin, clock, stop);
            sending.metrics_task = Some(sending.runtime.spawn(task));
        }
    }

    /// Sends what is left, for a while. Nothing after it is sent.
    pub async fn stop(self) {
        if let Some(sending) = self.sending {
            sending.stop().await;
        }
    }
}

impl Sending {
    fn start(config: &Config, origin: &Origin) -> Result<Self, ConfigError> {
        let runtime = runtime()
            .map_err(|problem| ConfigError::Invalid { key: "telemetry".to_owned(), problem: problem.to_string() })?;
        // There, because threads of the SDK get the priority of the thread that starts them.
        let (config, resource, driver) = (config.clone(), origin.resource.clone(), runtime.clone());
        let started = runtime.spawn(async move { Self::new(&config, &resource, driver) });
        runtime.block_on(started).expect("nothing in it panics")
    }

    fn new(config: &Config, resource: &Resource, runtime: Handle) -> Result<Self, ConfigError> {
        let telemetry = &config.telemetry;
        let mut sending = Self {
            runtime,
            deliveries: Vec::new(),
            traces: None,
            logs: None,
            metrics: None,
            metrics_task: None,
            stopping: CancellationToken::new(),
            give_up: CancellationToken::new(),
            flush_timeout: telemetry.flush_timeout,
        };
        for kind in SignalKind::ALL.into_iter().filter(|kind| telemetry.sends(*kind)) {
            let invalid = |problem| ConfigError::Invalid { key: format!("telemetry.{}", kind.name()), problem };
            let signal = telemetry.signal(kind);
            let delivery = Arc::new(Delivery::new(kind, signal, sending.give_up.clone()));
            sending.deliveries.push(delivery.clone());
            let destination = telemetry.destination(kind).map_err(|problem| invalid(problem.to_owned()))?;
            let receiver = Receiver::new(destination, delivery.clone()).map_err(invalid)?;
            let (resource, runtime) = (resource.clone(), sending.runtime.clone());
            match kind {
                SignalKind::Traces => {
                    let exporter = receiver.span_exporter().map_err(|problem| invalid(problem.to_string()))?;
                    let provider = traces::provider(config, resource, Counted { exporter, delivery, runtime });
                    sending.traces = Some(provider);
                }
                SignalKind::Logs => {
                    let exporter = receiver.log_exporter().map_err(|problem| invalid(problem.to_string()))?;
                    sending.logs = Some(logs::provider(signal, resource, Counted { exporter, delivery, runtime }));
                }
                SignalKind::Metrics => sending.metrics = Some((signal.delay, receiver, delivery)),
            }
        }
        Ok(sending)
    }

    async fn stop(self) {
        let deadline = Instant::now() + self.flush_timeout;
        self.runtime.spawn(async move {
            sleep_until(deadline).await;
            self.give_up.cancel();
        });
        let limit = self.flush_timeout + ENDING;
        // Both at once: the receiver of the one may hold it up.
        let traces = spawn_blocking(move || self.traces.map(|provider| provider.shutdown_with_timeout(limit)));
        let logs = spawn_blocking(move || self.logs.map(|provider| provider.shutdown_with_timeout(limit)));
        let _ = tokio::join!(traces, logs);
        let left: u64 = self.deliveries.iter().map(|delivery| delivery.dropped(DropReason::Stopped)).sum();
        // The metrics count what became of those.
        self.stopping.cancel();
        if let Some(task) = self.metrics_task {
            let _ = task.await;
        }
        if left > 0 {
            tracing::warn!(left, "telemetry was not taken in time: it is lost");
        }
    }
}

/// A runtime with one thread, which lives as long as the process. It gives way to the calling thread.
fn runtime() -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (handle, give_way) = (runtime.handle().clone(), priority::behind_this_thread());
    std::thread::Builder::new().name("telemetry".to_owned()).spawn(move || {
        give_way();
        runtime.block_on(pending::<()>());
    })?;
    Ok(handle)
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
