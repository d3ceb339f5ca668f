//! The business rules: one folder per noun, with the operations (verbs) that callers can invoke.
//!
//! Every verb has the same steps: the caller and the user's address ([`App::client`]), the acting user
//! ([`App::acting`]), their permission (before anything is read), the rule, then one transaction with the change and
//! its audit event.

pub mod attribute;
pub mod audit;
pub mod background;
pub mod caller;
mod check;
pub mod client;
pub mod definition;
mod hashing;
pub mod import;
pub mod link;
pub mod login;
pub mod page;
pub mod platform;
pub mod session;
mod throttle;
pub mod user;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{AuditReads, Config, Password, Policy, Session};
use crate::correlation::CorrelationId;
use crate::crypto::{Keyring, PasswordParams};
use crate::error::Result;
use crate::store::Store;
use crate::telemetry::metrics::hashing::HashingMetrics;
use crate::telemetry::metrics::login::LoginMetrics;
use crate::upstream::Jwks;

use crate::model::caller::Caller;
use hashing::PasswordHasher;

/// What is known about a call before its message is decoded.
#[derive(Clone, Debug)]
pub struct Context {
    pub correlation_id: CorrelationId,
    pub caller: Arc<Caller>,
    /// IP address of the connection's peer.
    pub peer: IpAddr,
}

/// A configured app and its policy.
#[derive(Debug)]
pub struct AppPolicy {
    pub name: Arc<str>,
    pub policy: Policy,
}

/// The rules and their dependencies. Clones share them.
#[derive(Clone)]
pub struct App {
    parts: Arc<Parts>,
}

struct Parts {
    store: Store,
    clock: Clock,
    keyring: Arc<Keyring>,
    hasher: PasswordHasher,
    /// Notified whenever the change feed was read.
    database_answers: tokio::sync::watch::Sender<()>,
    throttle: throttle::Throttle,
    throttled_logins: audit::throttled::ThrottledLogins,
    jwks: Jwks,
    platforms: platform::Platforms,
    callers: caller::Callers,
    apps: HashMap<String, AppPolicy>,
    session: Session,
    password: Password,
    audit_reads: AuditReads,
    purge: crate::config::Purge,
    max_revocation_lag: Duration,
    login_metrics: LoginMetrics,
}

impl App {
    /// Requires a store whose schema is up to date.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn new(config: &Config, store: Store, keyring: Arc<Keyring>, clock: Clock) -> Result<Self> {
        let params = PasswordParams {
            memory_kib: config.password.memory_kib,
            iterations: config.password.iterations,
            parallelism: config.password.parallelism,
        };
        let hasher = PasswordHasher::start(params, config.password.hash_thread_count(), config.password.hash_queue)?;
        let policy = |name: &String| config.policy(name).map(|policy| AppPolicy { name: name.as_str().into(), policy });
        let parts = Parts {
            database_answers: tokio::sync::watch::Sender::new(()),
            throttle: throttle::Throttle::new(config.throttle.clone()),
            throttled_logins: audit::throttled::ThrottledLogins::default(),
            jwks: Jwks::new(config.jwt.clone(), clock.clone()),
            platforms: platform::Platforms::new(&config.platforms)?,
            callers: caller::Callers::new(config.server.max_in_flight_per_caller),
            apps: config.apps.keys().filter_map(|name| Some((name.clone(), policy(name)?))).collect(),
            session: config.session.clone(),
            password: config.password.clone(),
            audit_reads: config.audit.reads,
            purge: config.purge.clone(),
            max_revocation_lag: config.cache.max_revocation_lag,
            login_metrics: LoginMetrics::default(),
            store,
            clock,
            keyring,
            hasher,
        };
        let app = Self { parts: Arc::new(parts) };
        app.reload_callers().await?;
        Ok(app)
    }

    pub fn store(&self) -> &Store {
        &self.parts.store
    }

    pub fn clock(&self) -> &Clock {
        &self.parts.clock
    }

    /// Counters of password hashing.
    pub fn hashing_metrics(&self) -> &Arc<HashingMetrics> {
        self.parts.hasher.metrics()
    }

    /// Password hashes that are queued or being computed.
    pub fn hashing_depth(&self) -> usize {
        self.parts.hasher.depth()
    }

    /// The longest lag behind other servers at which the cache is still used.
    pub fn max_revocation_lag(&self) -> Duration {
        self.parts.max_revocation_lag
    }

    /// Counters of logins and tokens.
    pub fn login_metrics(&self) -> &LoginMetrics {
        &self.parts.login_metrics
    }
}
