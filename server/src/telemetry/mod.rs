//! Logs, traces and metrics. Logs go to standard error: JSON by default, pretty at a terminal. A line within a call
//! carries the call's span, and with it the correlation ID. Traces, metrics and logs are exported by OTLP if
//! configured. `TELEMETRY.md` lists the names.

mod delivery;
mod line;
mod logs;
pub mod metrics;
pub mod propagation;
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

use delivery::{CountedExporter, Delivery};
use line::WithTrace;
use metrics::delivery::{DeliveryMetrics, DropReason};
use receiver::Receiver;

/// The version of the semantic conventions.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.45.0";

/// The default `service.name`.
const SERVICE: &str = "lanyard";

/// Silences libraries that log each statement, unless `log.level` names them. [`delivery`] logs the results of exports.
const QUIET: &str = "sea_orm=warn,sqlx=warn,opentelemetry=off,opentelemetry_sdk=off,opentelemetry-otlp=off";

/// Extra time for the SDK to end its threads after the last export.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(1);

/// Telemetry of the process, until [`Self::stop`].
pub struct Telemetry {
    origin: Origin,
    exporters: Option<Exporters>,
    ignored: Vec<String>,
}

/// The exporters.
struct Exporters {
    /// Drives the connections to receivers.
    runtime: Handle,
    deliveries: Deliveries,
    delivery_metrics: DeliveryMetrics,
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
    metrics: Option<(Duration, Receiver, Arc<Delivery>)>,
    metrics_task: Option<JoinHandle<()>>,
    /// Ends the task that sends metrics.
    stop_metrics: CancellationToken,
    /// Aborts all exports.
    abort: CancellationToken,
    flush_timeout: Duration,
}

/// One for each exported signal.
type Deliveries = Vec<Arc<Delivery>>;

/// What identifies this process to receivers.
#[derive(Clone)]
struct Origin {
    resource: Resource,
    started: Time,
}

impl Telemetry {
    /// Starts logging and the export of traces and logs, for the whole process. A second call changes nothing. Fails if
    /// a file that the configuration names cannot be read.
    pub fn start(config: &Config, clock: &Clock) -> Result<Self, ConfigError> {
        let telemetry = &config.telemetry;
        let origin = Origin { resource: resource(config)?, started: clock.now() };
        if telemetry.propagation == Propagation::TraceContext {
            opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        }
        let mut layers = vec![console(&config.log, stderr)];
        let is_exporting = SignalKind::ALL.into_iter().any(|kind| telemetry.sends(kind));
        let exporters = is_exporting.then(|| Exporters::start(config, &origin)).transpose()?;
        if let Some(exporters) = &exporters {
            layers.push(delivery::rejections(exporters.deliveries.clone()).boxed());
            if let Some(provider) = &exporters.traces {
                layers.push(traces::layer(provider).boxed());
                opentelemetry::global::set_tracer_provider(provider.clone());
            }
            if let Some(provider) = &exporters.logs {
                layers.push(logs::layer(&config.log.level, provider).boxed());
            }
        }
        install(layers);
        Ok(Self { origin, exporters, ignored: telemetry.ignored.clone() })
    }

    /// Starts exporting metrics.
    pub fn run(&mut self, metrics: &Metrics, clock: &Clock) {
        for ignored in std::mem::take(&mut self.ignored) {
            tracing::warn!("{ignored}; the variable is ignored");
        }
        let Some(exporters) = &mut self.exporters else { return };
        metrics.register(|registry| exporters.delivery_metrics.register(registry));
        if let Some((delay, receiver, delivery)) = exporters.metrics.take() {
            let (metrics, origin, clock) = (metrics.clone(), self.origin.clone(), clock.clone());
            let stop = exporters.stop_metrics.clone();
            let task = metrics::otlp::export_periodically(metrics, delay, receiver, delivery, origin, clock, stop);
            exporters.metrics_task = Some(exporters.runtime.spawn(task));
        }
    }

    /// Flushes for at most `telemetry.flush_timeout`. Nothing is exported afterwards.
    pub async fn stop(self) {
        if let Some(exporters) = self.exporters {
            exporters.stop().await;
        }
    }
}

impl Exporters {
    fn start(config: &Config, origin: &Origin) -> Result<Self, ConfigError> {
        let runtime = runtime()
            .map_err(|problem| ConfigError::Invalid { key: "telemetry".to_owned(), problem: problem.to_string() })?;
        // On that runtime, because threads inherit the priority of their creator.
        let (config, resource, driver) = (config.clone(), origin.resource.clone(), runtime.clone());
        let started = runtime.spawn(async move { Self::new(&config, &resource, driver) });
        runtime.block_on(started).expect("nothing in it panics")
    }

    fn new(config: &Config, resource: &Resource, runtime: Handle) -> Result<Self, ConfigError> {
        let telemetry = &config.telemetry;
        let mut exporters = Self {
            runtime,
            deliveries: Vec::new(),
            delivery_metrics: DeliveryMetrics::default(),
            traces: None,
            logs: None,
            metrics: None,
            metrics_task: None,
            stop_metrics: CancellationToken::new(),
            abort: CancellationToken::new(),
            flush_timeout: telemetry.flush_timeout,
        };
        for kind in SignalKind::ALL.into_iter().filter(|kind| telemetry.sends(*kind)) {
            let invalid = |problem| ConfigError::Invalid { key: format!("telemetry.{}", kind.name()), problem };
            let signal = telemetry.signal(kind);
            let delivery =
                Arc::new(Delivery::new(kind, signal, exporters.delivery_metrics.of(kind), exporters.abort.clone()));
            exporters.deliveries.push(delivery.clone());
            let destination = telemetry.destination(kind).map_err(|problem| invalid(problem.to_owned()))?;
            let receiver = Receiver::new(destination, delivery.clone()).map_err(invalid)?;
            let (resource, runtime) = (resource.clone(), exporters.runtime.clone());
            match kind {
                SignalKind::Traces => {
                    let exporter = receiver.span_exporter().map_err(|problem| invalid(problem.to_string()))?;
                    let provider = traces::provider(config, resource, CountedExporter { exporter, delivery, runtime });
                    exporters.traces = Some(provider);
                }
                SignalKind::Logs => {
                    let exporter = receiver.log_exporter().map_err(|problem| invalid(problem.to_string()))?;
                    exporters.logs =
                        Some(logs::provider(signal, resource, CountedExporter { exporter, delivery, runtime }));
                }
                SignalKind::Metrics => exporters.metrics = Some((signal.delay, receiver, delivery)),
            }
        }
        Ok(exporters)
    }

    async fn stop(self) {
        let deadline = Instant::now() + self.flush_timeout;
        self.runtime.spawn(async move {
            sleep_until(deadline).await;
            self.abort.cancel();
        });
        let limit = self.flush_timeout + SHUTDOWN_MARGIN;
        // Concurrently, because the receiver of one may hang.
        let traces = spawn_blocking(move || self.traces.map(|provider| provider.shutdown_with_timeout(limit)));
        let logs = spawn_blocking(move || self.logs.map(|provider| provider.shutdown_with_timeout(limit)));
        let _ = tokio::join!(traces, logs);
        let left: u64 =
            self.deliveries.iter().map(|delivery| delivery.metrics.dropped(DropReason::Stopped).get()).sum();
        // Last, so that the metrics count the spans and records above.
        self.stop_metrics.cancel();
        if let Some(task) = self.metrics_task {
            let _ = task.await;
        }
        if left > 0 {
            tracing::warn!(left, "telemetry was not taken in time: it is lost");
        }
    }
}

/// A runtime with one thread of lower priority, which lives as long as the process.
fn runtime() -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (handle, lower_priority) = (runtime.handle().clone(), priority::behind_this_thread());
    std::thread::Builder::new().name("telemetry".to_owned()).spawn(move || {
        lower_priority();
        runtime.block_on(pending::<()>());
    })?;
    Ok(handle)
}

/// Starts logging to standard error only, for the whole process, once.
pub fn log_only(log: &Log) {
    install(vec![console(log, stderr)]);
}

fn install(layers: Vec<Box<dyn Layer<Registry> + Send + Sync>>) {
    if tracing_subscriber::registry().with(layers).try_init().is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// The layer that writes to standard error.
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
    // The list, not only the innermost span: the outermost has the correlation ID.
    let json = layer.json().flatten_event(true).with_current_span(false).with_span_list(true);
    json.map_event_format(WithTrace).with_filter(filter(&log.level)).boxed()
}

/// `level` was validated with the configuration.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(format!("{QUIET},{level}")).unwrap_or_else(|_| EnvFilter::new("info"))
}

fn resource(config: &Config) -> Result<Resource, ConfigError> {
    let given = config.telemetry.resource_attributes.parse().map_err(|problem| ConfigError::Invalid {
        key: "telemetry.resource_attributes".to_owned(),
        problem: problem.to_owned(),
    })?;
    // OpenTelemetry's precedence: the setting for the service name, then the attribute, then the default.
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

/// Logs a panic like any other event, with its spans.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("(no text)");
    tracing::error!(location, message, "panicked");
}
