//! Validation of the configuration.

use std::time::Duration;

use super::{Config, ConfigError, CredentialMode, DEFAULT_APP, Platform, PlatformExpiry, Session, SignalKind};

const DAY: Duration = Duration::from_hours(24);
const MIN_RETENTION: Duration = Duration::from_hours(1);
const MIN_READY_WITHIN: Duration = Duration::from_secs(2);
const MIN_LAG: Duration = Duration::from_millis(100);
const MAX_LAG: Duration = Duration::from_hours(1);

type Valid = Result<(), ConfigError>;

impl Config {
    /// Refuses values that cannot work or are unsafe; the error names the key.
    pub fn validate(&self) -> Valid {
        self.validate_server()?;
        self.validate_limits()?;
        self.validate_database()?;
        self.validate_session()?;
        self.validate_apps()?;
        self.validate_password()?;
        self.validate_throttle()?;
        self.validate_jwt()?;
        self.validate_platforms()?;
        self.validate_upkeep()?;
        self.validate_telemetry()
    }

    fn validate_server(&self) -> Valid {
        let (server, tls) = (&self.server, &self.server.tls);
        ensure("server.tls.key", tls.key.is_some() == tls.cert.is_some(), "`cert` and `key` go together")?;
        ensure("server.tls.client_ca", tls.client_ca.is_none() || tls.cert.is_some(), "needs `cert` and `key`")?;
        let sheltered = server.listen.ip().is_loopback() || tls.cert.is_some() || server.plaintext_behind_proxy;
        ensure(
            "server.listen",
            sheltered,
            "listens beyond loopback without TLS: set `server.tls.cert` and `server.tls.key`, or \
             `server.plaintext_behind_proxy = true` if a proxy ends TLS before it",
        )
    }

    fn validate_limits(&self) -> Valid {
        let server = &self.server;
        ensure("server.workers", server.workers <= 1024, "at most 1024")?;
        ensure("server.max_in_flight", server.max_in_flight > 0, MORE_THAN_0)?;
        ensure("server.max_in_flight_per_caller", server.max_in_flight_per_caller > 0, MORE_THAN_0)?;
        positive("server.max_deadline", server.max_deadline)?;
        let age = server.max_connection_age;
        let lives = age.is_zero() || age >= Duration::from_secs(1);
        ensure("server.max_connection_age", lives, "at least 1s, or 0s for never")?;
        let request = 1024..=64 * 1024 * 1024;
        ensure("server.max_request_bytes", request.contains(&server.max_request_bytes), "between 1 KiB and 64 MiB")?;
        let headers = 1024..=1024 * 1024;
        ensure("server.max_header_bytes", headers.contains(&server.max_header_bytes), "between 1 KiB and 1 MiB")?;
        ensure("server.max_concurrent_streams", server.max_concurrent_streams > 0, MORE_THAN_0)?;
        self.validate_unauthenticated()?;
        self.validate_public_services()
    }

    fn validate_unauthenticated(&self) -> Valid {
        let limits = &self.server.unauthenticated;
        let key = |key: &str| format!("server.unauthenticated.{key}");
        ensure(&key("max_connections"), limits.max_connections > 0, MORE_THAN_0)?;
        let fits = (1..=limits.max_connections).contains(&limits.max_connections_per_peer);
        ensure(&key("max_connections_per_peer"), fits, "more than 0, at most `max_connections`")?;
        positive(&key("first_call_timeout"), limits.first_call_timeout)?;
        ensure(&key("max_refused_calls"), limits.max_refused_calls > 0, MORE_THAN_0)?;
        let lives = limits.max_age >= limits.first_call_timeout;
        ensure(&key("max_age"), lives, "at least `first_call_timeout`")
    }

    fn validate_public_services(&self) -> Valid {
        let limits = &self.server.public_services;
        let key = |key: &str| format!("server.public_services.{key}");
        let request = (256..=64 * 1024).contains(&limits.max_request_bytes);
        ensure(&key("max_request_bytes"), request, "between 256 bytes and 64 KiB")?;
        ensure(&key("max_calls"), limits.max_calls > 0, MORE_THAN_0)?;
        let fits = (1..=limits.max_calls).contains(&limits.max_calls_per_connection);
        ensure(&key("max_calls_per_connection"), fits, "more than 0, at most `max_calls`")?;
        positive(&key("max_stream_age"), limits.max_stream_age)
    }

    fn validate_database(&self) -> Valid {
        let database = &self.database;
        let known = database.url.is_sqlite() || database.url.is_postgres();
        ensure("database.url", known, "must begin with `sqlite:` or `postgres:`")?;
        let unsupported = database.url.unsupported();
        ensure("database.url", unsupported.is_none(), unsupported.unwrap_or_default())?;
        ensure("database.max_connections", database.max_connections > 0, MORE_THAN_0)?;
        positive("database.acquire_timeout", database.acquire_timeout)?;
        positive("database.statement_timeout", database.statement_timeout)?;
        let asked_twice = database.ready_within >= MIN_READY_WITHIN;
        ensure("database.ready_within", asked_twice, "at least 2s: the database is asked once a second")?;
        ensure("keys.file", !self.keys.file.as_os_str().is_empty(), "must name a file")
    }

    fn validate_session(&self) -> Valid {
        let Session { idle, absolute, .. } = self.session;
        lifetimes("session", idle, absolute)?;
        let session = &self.session;
        let grace = Duration::from_mins(1);
        ensure("session.rotation_grace", session.rotation_grace <= grace, "at most 60s")?;
        positive("session.activity_granularity", session.activity_granularity)?;
        positive("session.activity_flush", session.activity_flush)?;
        ensure("session.cache_for", session.cache_for < idle, "must be less than `session.idle`")?;
        ensure("session.quota", session.quota > 0, MORE_THAN_0)?;
        // Followers of the change feed find the tokens of an ended session by its rows.
        ensure("session.retention", session.retention > MIN_RETENTION, "must be more than 1h")
    }

    fn validate_apps(&self) -> Valid {
        let session = &self.session;
        ensure("apps.default", self.apps.contains_key(DEFAULT_APP), "must be there")?;
        for (name, app) in &self.apps {
            let section = format!("apps.{name}");
            ensure(&section, is_plain_name(name), "the name must be 1 to 64 letters, digits, `.`, `_` or `-`")?;
            let key = |key: &str| format!("{section}.{key}");
            let no_more = |own: Option<Duration>, limit| own.is_none_or(|own| own <= limit);
            ensure(&key("idle"), no_more(app.idle, session.idle), "an app can only shorten `session.idle`")?;
            let shortens = no_more(app.absolute, session.absolute);
            ensure(&key("absolute"), shortens, "an app can only shorten `session.absolute`")?;
            let narrows = app.quota.is_none_or(|own| own <= session.quota);
            ensure(&key("quota"), narrows, "an app can only lower `session.quota`")?;
            ensure(&key("quota"), app.quota != Some(0), MORE_THAN_0)?;
            let absolute = app.absolute.unwrap_or(session.absolute);
            lifetimes(&section, app.idle.unwrap_or(session.idle.min(absolute)), absolute)?;
        }
        Ok(())
    }

    fn validate_password(&self) -> Valid {
        let password = &self.password;
        ensure("password.min_length", password.min_length > 0, MORE_THAN_0)?;
        let in_order = (password.min_length.max(64)..=65536).contains(&password.max_length);
        ensure("password.max_length", in_order, "at least 64 and `password.min_length`, at most 65536")?;
        if let Some(max_age) = password.max_age {
            positive("password.max_age", max_age)?;
            ensure("password.warn_before", password.warn_before < max_age, "must be less than `password.max_age`")?;
        }
        ensure("password.iterations", password.iterations > 0, MORE_THAN_0)?;
        ensure("password.parallelism", (1..=64).contains(&password.parallelism), "between 1 and 64")?;
        let memory = 8 * password.parallelism..=4 * 1024 * 1024;
        let fits = memory.contains(&password.memory_kib);
        ensure("password.memory_kib", fits, "at least 8 for each lane of `password.parallelism`, at most 4194304")?;
        ensure("password.hash_threads", password.hash_threads <= 1024, "at most 1024")?;
        ensure("password.hash_queue", password.hash_queue > 0, MORE_THAN_0)
    }

    fn validate_throttle(&self) -> Valid {
        let throttle = &self.throttle;
        ensure("throttle.free_failures", throttle.free_failures > 0, MORE_THAN_0)?;
        positive("throttle.base_delay", throttle.base_delay)?;
        let in_order = (throttle.base_delay..=DAY).contains(&throttle.max_delay);
        ensure("throttle.max_delay", in_order, "at least `throttle.base_delay`, at most 1d")?;
        let wider = throttle.address_free_failures >= throttle.free_failures;
        ensure("throttle.address_free_failures", wider, "at least `throttle.free_failures`")
    }

    fn validate_jwt(&self) -> Valid {
        let jwt = &self.jwt;
        positive("jwt.jwks_timeout", jwt.jwks_timeout)?;
        let bytes = 1024..=16 * 1024 * 1024;
        ensure("jwt.jwks_max_bytes", bytes.contains(&jwt.jwks_max_bytes), "between 1 KiB and 16 MiB")?;
        positive("jwt.jwks_max_age", jwt.jwks_max_age)?;
        ensure("jwt.jwks_max_age", jwt.jwks_max_age <= DAY, "at most 1d")?;
        positive("jwt.jwks_min_refresh", jwt.jwks_min_refresh)?;
        let in_order = jwt.jwks_min_refresh <= jwt.jwks_max_age;
        ensure("jwt.jwks_min_refresh", in_order, "at most `jwt.jwks_max_age`")?;
        ensure("jwt.jwks_stale", jwt.jwks_stale <= 7 * DAY, "at most 7d")
    }

    fn validate_platforms(&self) -> Valid {
        let mut names: Vec<&str> = self.platforms.keys().map(String::as_str).collect();
        for (name, platform) in &self.platforms {
            let section = format!("platforms.{name}");
            ensure(&section, is_plain_name(name), "the name must be 1 to 64 letters, digits, `.`, `_` or `-`")?;
            for alias in &platform.aliases {
                let aliases = format!("{section}.aliases");
                ensure(&aliases, is_plain_name(alias), "each must be 1 to 64 letters, digits, `.`, `_` or `-`")?;
                ensure(
                    &aliases,
                    !names.contains(&alias.as_str()),
                    "names a platform or an alias that is there already",
                )?;
                names.push(alias);
            }
            platform.validate(&section)?;
        }
        Ok(())
    }

    fn validate_upkeep(&self) -> Valid {
        ensure("cache.capacity", self.cache.capacity > 0, MORE_THAN_0)?;
        let lag = self.cache.max_revocation_lag;
        ensure("cache.max_revocation_lag", lag >= MIN_LAG && lag <= MAX_LAG, "must be 100ms to 1h")?;
        positive("purge.interval", self.purge.interval)?;
        ensure("purge.batch", (1..=10_000).contains(&self.purge.batch), "between 1 and 10000")?;
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log.level);
        ensure("log.level", !self.log.level.is_empty() && filter.is_ok(), "is neither a level nor a filter")
    }
}

impl Config {
    fn validate_telemetry(&self) -> Valid {
        let telemetry = &self.telemetry;
        ensure("telemetry.service_name", !telemetry.service_name.is_empty(), "must not be empty")?;
        named("telemetry.resource_attributes", telemetry.resource_attributes.parse())?;
        let ratio = (0.0..=1.0).contains(&telemetry.sampling_ratio);
        ensure("telemetry.sampling_ratio", ratio, "between 0 and 1")?;
        ensure("telemetry.flush_timeout", telemetry.flush_timeout <= Duration::from_mins(1), "at most 60s")?;
        positive("telemetry.timeout", telemetry.timeout)?;
        let pair = telemetry.client_cert.is_some() == telemetry.client_key.is_some();
        ensure("telemetry.client_key", pair, "`client_cert` and `client_key` go together")?;
        if let Some(headers) = &telemetry.headers {
            named("telemetry.headers", headers.parse())?;
        }
        SignalKind::ALL.into_iter().try_for_each(|kind| self.validate_signal(kind))
    }

    fn validate_signal(&self, kind: SignalKind) -> Valid {
        let key = |key: &str| format!("telemetry.{}.{key}", kind.name());
        let signal = self.telemetry.signal(kind);
        positive(&key("delay"), signal.delay)?;
        positive(&key("export_timeout"), signal.export_timeout)?;
        if let Some(timeout) = signal.timeout {
            positive(&key("timeout"), timeout)?;
        }
        let has_queue = kind != SignalKind::Metrics;
        for (name, length) in [("queue", signal.queue), ("batch", signal.batch)] {
            ensure(&key(name), length.is_some() == has_queue, "metrics have none, the others need one")?;
            let fits = length.is_none_or(|length| (1..=1_000_000).contains(&length));
            ensure(&key(name), fits, "between 1 and 1000000")?;
        }
        let pair = signal.client_cert.is_some() == signal.client_key.is_some();
        ensure(&key("client_key"), pair, "`client_cert` and `client_key` go together")?;
        if let Some(headers) = &signal.headers {
            named(&key("headers"), headers.parse())?;
        }
        match self.telemetry.destination(kind) {
            Ok(_) => Ok(()),
            Err(problem) if signal.endpoint.is_some() => ensure(&key("endpoint"), false, problem),
            Err(problem) => ensure("telemetry.endpoint", false, problem),
        }
    }
}

/// Reports a value that cannot be parsed under its key.
fn named<T>(key: &str, outcome: Result<T, &'static str>) -> Valid {
    outcome.map(drop).or_else(|problem| ensure(key, false, problem))
}

impl Platform {
    fn validate(&self, section: &str) -> Valid {
        let key = |key: &str| format!("{section}.{key}");
        let origin = match self.url.origin() {
            Ok(origin) => origin,
            Err(problem) => return ensure(&key("url"), false, problem),
        };
        let sheltered = origin.is_https() || origin.is_loopback() || self.allow_http;
        ensure(&key("url"), sheltered, "must begin with https://, or passwords travel in the open: see `allow_http`")?;
        ensure(&key("ca_file"), self.ca_file.is_none() || origin.is_https(), "needs a URL that begins with https://")?;
        let is_kept_anyway = self.keep_password && self.credential == CredentialMode::Basic;
        ensure(
            &key("keep_password"),
            !is_kept_anyway,
            "means nothing with `credential = \"basic\"`, which is the password",
        )?;
        let prefix = &self.required_role_prefix;
        let is_prefix = prefix.len() <= 64 && !prefix.chars().any(char::is_control);
        ensure(&key("required_role_prefix"), is_prefix, "at most 64 bytes, without control characters")?;
        self.validate_times(section)?;
        let bytes = 1024..=64 * 1024 * 1024;
        ensure(&key("max_response_bytes"), bytes.contains(&self.max_response_bytes), "between 1 KiB and 64 MiB")?;
        ensure(&key("max_attempts"), (1..=10).contains(&self.max_attempts), "between 1 and 10")?;
        ensure(&key("max_idle_connections"), self.max_idle_connections <= 1024, "at most 1024")
    }

    fn validate_times(&self, section: &str) -> Valid {
        let key = |key: &str| format!("{section}.{key}");
        let goes_together = (self.expiry == PlatformExpiry::None) == self.expires_after.is_none();
        ensure(
            &key("expires_after"),
            goes_together,
            "goes with `expiry = \"fixed\"` or `\"activity\"`, and with no other",
        )?;
        if let Some(after) = self.expires_after {
            positive(&key("expires_after"), after)?;
            ensure(&key("expires_after"), after <= 30 * DAY, "at most 30d")?;
        }
        positive(&key("auth_valid_for"), self.auth_valid_for)?;
        ensure(&key("auth_valid_for"), self.auth_valid_for <= Duration::from_hours(1), "at most 1h")?;
        positive(&key("connect_timeout"), self.connect_timeout)?;
        ensure(&key("connect_timeout"), self.connect_timeout <= self.timeout, "must not be more than `timeout`")?;
        ensure(&key("timeout"), self.timeout <= Duration::from_mins(1), "at most 60s")?;
        positive(&key("idle_connection_timeout"), self.idle_connection_timeout)
    }
}

const MORE_THAN_0: &str = "must be more than 0";

/// No configuration may allow a session that never ends.
fn lifetimes(section: &str, idle: Duration, absolute: Duration) -> Valid {
    let absolute_key = format!("{section}.absolute");
    positive(&absolute_key, absolute)?;
    ensure(&absolute_key, absolute <= 30 * DAY, "at most 30d")?;
    let idle_key = format!("{section}.idle");
    positive(&idle_key, idle)?;
    ensure(&idle_key, idle <= absolute, "must not be more than `absolute`")
}

fn is_plain_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn positive(key: &str, duration: Duration) -> Valid {
    ensure(key, !duration.is_zero(), MORE_THAN_0)
}

fn ensure(key: &str, holds: bool, problem: &str) -> Valid {
    if holds {
        return Ok(());
    }
    Err(ConfigError::Invalid { key: key.to_owned(), problem: problem.to_owned() })
}
