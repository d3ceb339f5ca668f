//! `[telemetry]`: what is sent, where to, and how much.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize, Serializer};
use strum::IntoStaticStr;

/// Settings common to all signals; `config.default.toml` explains each key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    pub exporter: Exporter,
    #[serde(default)]
    pub endpoint: Option<String>,
    pub protocol: Protocol,
    #[serde(default)]
    pub headers: Option<Headers>,
    #[serde(default)]
    pub headers_file: Option<PathBuf>,
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    #[serde(default)]
    pub client_cert: Option<PathBuf>,
    #[serde(default)]
    pub client_key: Option<PathBuf>,
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    pub service_name: String,
    #[serde(default)]
    pub resource_attributes: Attributes,
    pub propagation: Propagation,
    pub sampler: Sampler,
    pub sampling_ratio: f64,
    pub max_attributes: u32,
    pub max_events: u32,
    pub max_event_attributes: u32,
    pub exemplars: Exemplars,
    #[serde(with = "humantime_serde")]
    pub flush_timeout: Duration,
    pub traces: Signal,
    pub metrics: Signal,
    pub logs: Signal,
    /// Ignored `OTEL_*` variables, reported at startup.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

/// The settings of one signal; `None` inherits from `[telemetry]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    pub enabled: bool,
    #[serde(default)]
    pub endpoint: Option<String>,
    #[serde(default)]
    pub protocol: Option<Protocol>,
    #[serde(default)]
    pub headers: Option<Headers>,
    #[serde(default)]
    pub headers_file: Option<PathBuf>,
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    #[serde(default)]
    pub client_cert: Option<PathBuf>,
    #[serde(default)]
    pub client_key: Option<PathBuf>,
    #[serde(default, with = "humantime_serde")]
    pub timeout: Option<Duration>,
    #[serde(with = "humantime_serde")]
    pub delay: Duration,
    #[serde(with = "humantime_serde")]
    pub export_timeout: Duration,
    /// `None` for metrics, which have no queue.
    #[serde(default)]
    pub queue: Option<usize>,
    #[serde(default)]
    pub batch: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exporter {
    Off,
    Otlp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Protocol {
    #[serde(rename = "grpc")]
    Grpc,
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

/// How trace context is propagated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Propagation {
    #[serde(rename = "tracecontext")]
    TraceContext,
    #[serde(rename = "none")]
    None,
}

/// Which calls are sampled; the names are those of OpenTelemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Sampler {
    #[serde(rename = "always_on")]
    AlwaysOn,
    #[serde(rename = "always_off")]
    AlwaysOff,
    #[serde(rename = "traceidratio")]
    Ratio,
    #[serde(rename = "parentbased_always_on")]
    ParentOrOn,
    #[serde(rename = "parentbased_always_off")]
    ParentOrOff,
    #[serde(rename = "parentbased_traceidratio")]
    ParentOrRatio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exemplars {
    TraceBased,
    AlwaysOff,
}

/// The three kinds of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum SignalKind {
    Traces,
    Metrics,
    Logs,
}

impl SignalKind {
    pub const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// As in keys, labels and paths.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Where and how one signal is sent.
#[derive(Clone, Debug)]
pub struct Destination {
    pub uri: Uri,
    pub protocol: Protocol,
    pub headers: Option<Headers>,
    pub headers_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    /// Certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
    pub timeout: Duration,
}

impl Telemetry {
    pub fn signal(&self, kind: SignalKind) -> &Signal {
        match kind {
            SignalKind::Traces => &self.traces,
            SignalKind::Metrics => &self.metrics,
            SignalKind::Logs => &self.logs,
        }
    }

    /// Whether a signal is sent.
    pub fn sends(&self, kind: SignalKind) -> bool {
        self.exporter == Exporter::Otlp && self.signal(kind).enabled
    }

    /// The destination of a signal; `Err` if its endpoint is invalid.
    pub fn destination(&self, kind: SignalKind) -> Result<Destination, &'static str> {
        let own = self.signal(kind);
        let protocol = own.protocol.unwrap_or(self.protocol);
        Ok(Destination {
            uri: self.uri(kind, protocol)?,
            protocol,
            headers: own.headers.clone().or_else(|| self.headers.clone()),
            headers_file: own.headers_file.clone().or_else(|| self.headers_file.clone()),
            ca_file: own.ca_file.clone().or_else(|| self.ca_file.clone()),
            client: own.client_pair().or_else(|| self.client_cert.clone().zip(self.client_key.clone())),
            timeout: own.timeout.unwrap_or(self.timeout),
        })
    }

    /// A signal's own endpoint is used as is; the common one gets the signal's path appended. gRPC has no paths.
    fn uri(&self, kind: SignalKind, protocol: Protocol) -> Result<Uri, &'static str> {
        let default = match protocol {
            Protocol::Grpc => "http://localhost:4317",
            Protocol::HttpProtobuf => "http://localhost:4318",
        };
        let own = self.signal(kind).endpoint.as_deref();
        let base = checked(own.or(self.endpoint.as_deref()).unwrap_or(default))?;
        if protocol == Protocol::Grpc {
            return if base.path() == "/" { Ok(base) } else { Err("must have no path where `protocol` is \"grpc\"") };
        }
        if own.is_some() {
            return Ok(base);
        }
        let path = format!("{}/v1/{}", base.path().trim_end_matches('/'), kind.name());
        let mut parts = base.into_parts();
        parts.path_and_query = Some(path.parse().map_err(|_| NO_URL)?);
        Uri::from_parts(parts).map_err(|_| NO_URL)
    }
}

impl Signal {
    fn client_pair(&self) -> Option<(PathBuf, PathBuf)> {
        self.client_cert.clone().zip(self.client_key.clone())
    }
}

const NO_URL: &str = "must be a URL such as http://localhost:4317";

/// Parses the URL of a receiver.
pub(super) fn checked(endpoint: &str) -> Result<Uri, &'static str> {
    let uri: Uri = endpoint.parse().map_err(|_| NO_URL)?;
    let has_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err("must hold no credential: that goes into `headers_file`")
        }
        Some(_) if has_scheme => Ok(uri),
        _ => Err(NO_URL),
    }
}

/// Headers for the receiver, `name=value,name=value` with percent-encoded values: printing and serializing redact the
/// values.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Headers(String);

impl Headers {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The parsed headers. Errors do not quote values.
    pub fn parse(&self) -> Result<Vec<(HeaderName, HeaderValue)>, &'static str> {
        pairs(&self.0).map(|pair| pair.and_then(|(name, value)| header(&name, &value))).collect()
    }
}

/// A header with a value marked sensitive.
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = name.to_ascii_lowercase().parse().map_err(|_| "holds a name that is none of a header")?;
    let mut value: HeaderValue = value.parse().map_err(|_| "holds a value that no header may have")?;
    value.set_sensitive(true);
    Ok((name, value))
}

impl fmt::Display for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pair) in self.0.split(',').filter(|pair| !pair.trim().is_empty()).enumerate() {
            let name = pair.split_once('=').map_or("", |(name, _)| name.trim());
            write!(f, "{}{name}=[redacted]", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Resource attributes, `key=value,key=value` with percent-encoded values.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Attributes(pub String);

impl Attributes {
    pub fn parse(&self) -> Result<Vec<(String, String)>, &'static str> {
        pairs(&self.0).collect()
    }
}

fn pairs(text: &str) -> impl Iterator<Item = Result<(String, String), &'static str>> {
    text.split(',').filter(|pair| !pair.trim().is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').ok_or(NO_PAIRS)?;
        let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8().map(Into::into).map_err(|_| NO_PAIRS);
        let (name, value): (String, String) = (decoded(name)?, decoded(value)?);
        if name.is_empty() { Err(NO_PAIRS) } else { Ok((name, value)) }
    })
}

const NO_PAIRS: &str = "must be `name=value,name=value`, with `%` and `,` in a value percent-encoded";
