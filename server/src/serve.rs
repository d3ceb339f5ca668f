//! The composition root: builds the server from its configuration, runs it and shuts it down in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::caller::operator;
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::crypto::{Keyring, KeyringError};
use crate::error::Error;
use crate::pipeline::{Health, RpcServer, rpc_labels};
use crate::stop::Stop;
use crate::store::{Store, StoreConfig};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::connection::ConnectionMetrics;
use crate::telemetry::metrics::rpc::RpcMetrics;
use crate::telemetry::metrics::server::{self, Counters, Gauges};
use crate::transport::admin::Admin;
use crate::transport::{Admission, Ended, Listener, ServeError, serve};

/// Time limit for writing pending activity and closing the database.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
const HARD_CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Why the server could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// Includes the source, for the operator.
    #[error("{cause}{}", source_of(cause))]
    Lanyard {
        #[from]
        cause: Error,
    },
    #[error("the schema lacks {pending} migrations: run `lanyard migrate` first, or start with --dev")]
    SchemaOutdated { pending: usize },
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("admin.listen: {0}")]
    Admin(std::io::Error),
    #[error("cannot listen to signals: {0}")]
    Signals(std::io::Error),
}

fn source_of(error: &Error) -> String {
    std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default()
}

/// What to do when the schema lacks migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Refuse to start.
    Check,
    /// Apply them.
    Migrate,
}

/// A server that is bound but does not accept calls yet.
pub struct Server {
    config: Config,
    app: App,
    metrics: Metrics,
    listener: Listener,
    admin: Option<Admin>,
}

/// Opens the configured store.
pub async fn open_store(config: &Config, keyring: Arc<Keyring>, clock: Clock) -> Result<Store, StartError> {
    Ok(Store::connect(StoreConfig::of(config), keyring, clock).await?)
}

impl Server {
    /// Loads the keys, opens the store, checks or migrates the schema, and listens.
    pub async fn bind(config: Config, clock: Clock, schema: Schema) -> Result<Self, StartError> {
        config.validate()?;
        let keyring = Arc::new(Keyring::load(&config.keys.file)?);
        let store = open_store(&config, Arc::clone(&keyring), clock.clone()).await?;
        match schema {
            Schema::Migrate => drop(store.migrate(&|_, _| {}).await?),
            Schema::Check => match store.pending_migrations().await? {
                0 => {}
                pending => return Err(StartError::SchemaOutdated { pending }),
            },
        }
        let app = App::new(&config, store, keyring, clock).await?;
        app.check_platforms()?;
        app.end_sessions_of_removed_platforms(&operator(&config, app.clock().now())).await?;
        let listener = Listener::bind(&config.server).await?;
        let admin = match config.admin.listen {
            Some(listen) => Some(Admin::bind(listen).await.map_err(StartError::Admin)?),
            None => None,
        };
        let metrics = Metrics::new();
        Ok(Self { config, app, metrics, listener, admin })
    }

    /// The bound address, with the actual port if the configured one is 0.
    pub fn addr(&self) -> std::net::SocketAddr {
        self.listener.addr()
    }

    /// The address of `/metrics` and `/healthz`.
    pub fn admin_addr(&self) -> Option<std::net::SocketAddr> {
        self.admin.as_ref().map(Admin::addr)
    }

    /// The server's metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn app(&self) -> &App {
        &self.app
    }

    /// Serves until `stop`, then shuts down: drains connections, writes pending activity, closes the store.
    pub async fn run(self, stop: Stop) -> Result<Ended, StartError> {
        let health = Health::new().await;
        let rpc_metrics = RpcMetrics::register(&self.metrics, rpc_labels());
        let background = tokio::runtime::Handle::current();
        let rpc_server =
            Arc::new(RpcServer::new(self.app.clone(), background, health.clone(), rpc_metrics, &self.config));
        register_metrics(&self.metrics, &self.app, &rpc_server);
        let stop_background = CancellationToken::new();
        let background_tasks = tokio::spawn({
            let (app, follower, stop) = (self.app.clone(), self.app.follower(), stop_background.clone());
            async move { app.run_background_tasks(follower, stop).await }
        });
        tokio::spawn(follow_readiness(
            self.app.database_answers(),
            health.clone(),
            self.config.database.ready_within,
            stop_background.clone(),
        ));
        let connection_metrics = ConnectionMetrics::register(&self.metrics);
        let admission = Admission::new(&self.config.server, self.config.database.max_connections, connection_metrics);
        let admin_addr = self.admin_addr();
        let admin =
            self.admin.map(|admin| tokio::spawn(admin.serve(self.metrics.clone(), health.state(), stop.clone())));
        health.set_serving(true).await;
        tracing::info!(addr = %self.listener.addr(), admin_addr = admin_addr.map(tracing::field::display), "serving");
        let ended = serve(self.listener, rpc_server, &admission, &self.config.server, &stop).await;
        stop_background.cancel();
        if let Some(admin) = admin {
            admin.abort();
        }
        let close = async {
            let _ = background_tasks.await;
            self.app.store().close().await
        };
        tokio::select! {
            closed = close => closed?,
            () = closing_takes_too_long(&stop) => tracing::warn!("the database does not answer: it was not closed"),
        }
        tracing::info!(?ended, "stopped");
        Ok(ended?)
    }
}

/// Holds the server weakly, so that metrics do not keep it alive.
fn register_metrics(metrics: &Metrics, app: &App, rpc_server: &Arc<RpcServer>) {
    let counters = Counters {
        logins: app.login_metrics().clone(),
        hashing: app.hashing_metrics().clone(),
        writes: app.store().write_metrics().clone(),
    };
    let (app, rpc_server) = (app.clone(), Arc::downgrade(rpc_server));
    server::register(metrics, counters, move || {
        let store = app.store();
        Gauges {
            session_cache: store.cache_stats(),
            link_cache: store.link_cache_stats(),
            revocation_lag: store.revocation_lag(),
            max_revocation_lag: app.max_revocation_lag(),
            activity_pending: store.activity().len() as u64,
            hashing_depth: app.hashing_depth() as u64,
            pools: store.pools(),
            is_ready: rpc_server.upgrade().is_some_and(|server| server.is_ready()),
            calls_in_flight: rpc_server.upgrade().map_or(0, |server| server.in_flight().into()),
        }
    });
}

/// Reports to `health` whether the database has answered `within` the time.
async fn follow_readiness(mut answers: watch::Receiver<()>, health: Health, within: Duration, stop: CancellationToken) {
    let mut answered = true;
    loop {
        let now = tokio::select! {
            () = stop.cancelled() => return,
            answer = timeout(within, answers.changed()) => match answer {
                // The server is gone.
                Ok(Err(_)) => return,
                Ok(Ok(())) => true,
                Err(_) => false,
            },
        };
        if now == answered {
            continue;
        }
        answered = now;
        if answered {
            tracing::info!("the database answers again: this server is ready");
        } else {
            tracing::warn!(?within, "the database has not answered: this server is not ready");
        }
        health.set_database_answers(answered).await;
    }
}

/// Bounds how long a hanging database can delay the exit; less after a second signal.
async fn closing_takes_too_long(stop: &Stop) {
    tokio::select! {
        () = sleep(CLOSE_LIMIT) => {}
        () = async {
            stop.asked_hard().await;
            sleep(HARD_CLOSE_LIMIT).await;
        } => {}
    }
}
