//! The configuration. Layers, lowest first: `config.default.toml`, which documents every key, the operator's file, the
//! environment. [`Config::load`] validates it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use strum::FromRepr;

mod database_url;
mod env;
mod otel;
mod platform;
mod telemetry;
mod validate;

pub use database_url::DatabaseUrl;
pub use platform::{CredentialMode, Origin, Platform, PlatformExpiry, PlatformKind, PlatformUrl, PlatformUsers};
pub use telemetry::{
    Destination, Exemplars, Exporter, Headers, Propagation, Protocol, Sampler, Signal, SignalKind, Telemetry, header,
};

/// The default configuration: every key, explained.
pub const DEFAULT: &str = include_str!("../config.default.toml");

/// How `serve --dev` differs from the defaults.
const DEV: &str = "server.drain_delay = '0s'\nserver.reflection = true\napps.CRM = {}\n";

/// The app of calls without `current_app`.
pub const DEFAULT_APP: &str = "default";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is missing or not TOML, a key is unknown, or a value has the wrong type.
    #[error("{0}")]
    Unreadable(String),
    /// A value is not allowed.
    #[error("{key}: {problem}")]
    Invalid { key: String, problem: String },
}

/// One field per section of `config.default.toml`, which explains them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub database: Database,
    pub keys: Keys,
    pub session: Session,
    pub apps: BTreeMap<String, App>,
    pub password: Password,
    pub throttle: Throttle,
    pub jwt: Jwt,
    #[serde(default)]
    pub platforms: BTreeMap<String, Platform>,
    pub cache: Cache,
    pub audit: Audit,
    pub purge: Purge,
    pub log: Log,
    pub telemetry: Telemetry,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: SocketAddr,
    pub workers: usize,
    pub plaintext_behind_proxy: bool,
    pub reflection: bool,
    #[serde(with = "humantime_serde")]
    pub drain_delay: Duration,
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    pub max_in_flight: u32,
    pub max_in_flight_per_caller: u32,
    #[serde(with = "humantime_serde")]
    pub max_deadline: Duration,
    pub max_connections: usize,
    #[serde(with = "humantime_serde")]
    pub max_connection_age: Duration,
    #[serde(with = "humantime_serde")]
    pub max_connection_grace: Duration,
    pub max_request_bytes: usize,
    pub max_header_bytes: u32,
    pub max_concurrent_streams: u32,
    pub unauthenticated: Unauthenticated,
    pub public_services: PublicServices,
    #[serde(default)]
    pub tls: Tls,
}

/// Limits of connections on which no caller has authenticated yet.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Unauthenticated {
    pub max_connections: usize,
    pub max_connections_per_peer: usize,
    pub trusted_proxies: Vec<IpNet>,
    #[serde(with = "humantime_serde")]
    pub first_call_timeout: Duration,
    pub max_refused_calls: u32,
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
}

/// Limits of health and reflection, which need no authentication.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PublicServices {
    pub max_request_bytes: usize,
    pub max_calls: u32,
    pub max_calls_per_connection: u32,
    #[serde(with = "humantime_serde")]
    pub max_stream_age: Duration,
}

/// The files of TLS; plaintext without `cert`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub client_ca: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    pub listen: Option<SocketAddr>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub url: DatabaseUrl,
    pub max_connections: u32,
    #[serde(with = "humantime_serde")]
    pub acquire_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub ready_within: Duration,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    pub file: PathBuf,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    #[serde(with = "humantime_serde")]
    pub absolute: Duration,
    #[serde(with = "humantime_serde")]
    pub rotation_grace: Duration,
    #[serde(with = "humantime_serde")]
    pub activity_granularity: Duration,
    #[serde(with = "humantime_serde")]
    pub activity_flush: Duration,
    #[serde(with = "humantime_serde")]
    pub cache_for: Duration,
    pub quota: u32,
    pub quota_policy: QuotaPolicy,
    pub address_binding: AddressBinding,
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
}

/// Overrides of an app; `None`: as in `[session]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    #[serde(default = "yes")]
    pub login: bool,
    #[serde(default, with = "humantime_serde")]
    pub idle: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    pub absolute: Option<Duration>,
    pub quota: Option<u32>,
    pub quota_policy: Option<QuotaPolicy>,
    pub address_binding: Option<AddressBinding>,
    #[serde(default)]
    pub self_service_links: bool,
}

/// The effective rules of one app: its overrides over `[session]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub login: bool,
    pub idle: Duration,
    pub absolute: Duration,
    pub quota: u32,
    pub quota_policy: QuotaPolicy,
    pub address_binding: AddressBinding,
    pub self_service_links: bool,
}

/// What a login beyond the quota does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaPolicy {
    DropOldest,
    Deny,
}

/// What a change of the user's address does to a session.
/// Stored by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, FromRepr)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum AddressBinding {
    Off = 0,
    Record = 1,
    Prefix = 2,
    Exact = 3,
}

impl AddressBinding {
    /// An unknown number, from a newer version, reads as the strictest value.
    pub fn from_number(number: i16) -> Self {
        Self::from_repr(number).unwrap_or(Self::Exact)
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Password {
    pub min_length: usize,
    pub max_length: usize,
    #[serde(default, with = "humantime_serde")]
    pub max_age: Option<Duration>,
    #[serde(with = "humantime_serde")]
    pub warn_before: Duration,
    pub memory_kib: u32,
    pub iterations: u32,
    pub parallelism: u32,
    pub hash_threads: usize,
    pub hash_queue: usize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    pub free_failures: u32,
    #[serde(with = "humantime_serde")]
    pub base_delay: Duration,
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    pub address_free_failures: u32,
}

/// How JWK sets are fetched.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    #[serde(with = "humantime_serde")]
    pub jwks_timeout: Duration,
    pub jwks_max_bytes: usize,
    #[serde(with = "humantime_serde")]
    pub jwks_max_age: Duration,
    #[serde(with = "humantime_serde")]
    pub jwks_min_refresh: Duration,
    #[serde(with = "humantime_serde")]
    pub jwks_stale: Duration,
    pub allow_http_jwks: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    pub mode: CacheMode,
    pub capacity: usize,
    #[serde(with = "humantime_serde")]
    pub max_revocation_lag: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheMode {
    Auto,
    On,
    Off,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    pub reads: AuditReads,
}

/// Which reads of personal data are audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditReads {
    Others,
    All,
    None,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    pub batch: u32,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Auto,
    Json,
    Pretty,
}

impl Config {
    /// Layers: the defaults, the file at `path`, the `OTEL_*` variables, the `LANYARD__*` variables.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::load_over("", path, environment)
    }

    /// The same, with database and keys in `data_dir` unless file or environment name others; `is_dev`: with the
    /// defaults of [`Self::dev`].
    pub fn load_in(
        data_dir: &Path,
        is_dev: bool,
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let url = toml::Value::String(DatabaseUrl::sqlite(&data_dir.join("lanyard.db")).expose().to_owned());
        let keys = toml::Value::String(data_dir.join("keys.json").to_string_lossy().into_owned());
        let mut base = format!("database.url = {url}\nkeys.file = {keys}\n");
        if is_dev {
            base.push_str(DEV);
        }
        Self::load_over(&base, path, environment)
    }

    fn load_over(
        base: &str,
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = config::Config::builder().add_source(toml_layer(DEFAULT)).add_source(toml_layer(base));
        if let Some(path) = path {
            layers = layers.add_source(config::File::from(path).format(config::FileFormat::Toml));
        }
        let environment: Vec<_> = environment.into_iter().collect();
        let otel = otel::Layer::of(&environment);
        let layers = layers.add_source(toml_layer(&otel.toml()));
        let below: Self = read(layers.clone())?;
        let environment = env::layer(environment, &below)?;
        let mut loaded: Self = read(layers.add_source(toml_layer(&environment)))?;
        loaded.telemetry.ignored = otel.into_ignored();
        loaded.validate()?;
        Ok(loaded)
    }

    /// The configuration of `serve --dev`: data in `data_dir`, on loopback, apps `default` and `CRM`, reflection, no
    /// drain delay.
    pub fn dev(data_dir: &Path) -> Self {
        Self::load_in(data_dir, true, None, []).expect("the configuration of `--dev` is valid: a test loads it")
    }

    /// The effective configuration as TOML, without the password of the database.
    pub fn show(&self) -> String {
        toml::to_string_pretty(self).expect("every section is a table of plain values")
    }

    /// The settings of an app; `None` if there is no such app.
    pub fn policy(&self, app: &str) -> Option<Policy> {
        let own = self.apps.get(app)?;
        let session = &self.session;
        let absolute = own.absolute.unwrap_or(session.absolute);
        Some(Policy {
            login: own.login,
            // An app that shortens only `absolute` also shortens `idle`.
            idle: own.idle.unwrap_or(session.idle).min(absolute),
            absolute,
            quota: own.quota.unwrap_or(session.quota),
            quota_policy: own.quota_policy.unwrap_or(session.quota_policy),
            address_binding: own.address_binding.unwrap_or(session.address_binding),
            self_service_links: own.self_service_links,
        })
    }

    /// True if session rows are cached.
    pub fn cache_is_on(&self) -> bool {
        match self.cache.mode {
            CacheMode::Off => false,
            CacheMode::Auto | CacheMode::On => true,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::load(None, []).expect("the embedded configuration is valid: a test loads it")
    }
}

impl Server {
    /// Number of threads that serve connections.
    pub fn worker_count(&self) -> usize {
        or_cores(self.workers)
    }
}

impl Password {
    /// Number of threads that hash passwords.
    pub fn hash_thread_count(&self) -> usize {
        or_cores(self.hash_threads)
    }
}

impl Default for App {
    fn default() -> Self {
        Self {
            login: true,
            idle: None,
            absolute: None,
            quota: None,
            quota_policy: None,
            address_binding: None,
            self_service_links: false,
        }
    }
}

fn toml_layer(text: &str) -> impl config::Source + Send + Sync + 'static + use<> {
    config::File::from_str(text, config::FileFormat::Toml)
}

fn read(layers: config::ConfigBuilder<config::builder::DefaultState>) -> Result<Config, ConfigError> {
    layers.build().and_then(config::Config::try_deserialize).map_err(|error| ConfigError::Unreadable(error.to_string()))
}

fn or_cores(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        set => set,
    }
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests;
