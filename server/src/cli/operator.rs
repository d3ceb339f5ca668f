//! Direct access to the database, on a machine with its configuration and keys, for what no RPC offers.

use std::sync::Arc;

use crate::app::caller::operator;
use crate::app::{App, Context};
use crate::clock::Clock;
use crate::config::{Config, Log};
use crate::crypto::Keyring;
use crate::serve::{StartError, open_store};
use crate::store::Store;
use crate::telemetry;

use super::exit::Failure;
use super::settings::Settings;

/// The application, and a context that acts as the operator.
pub(crate) struct Operator {
    pub(crate) app: App,
    pub(crate) context: Context,
}

impl Operator {
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let config = settings.load()?;
        let store = open(&config).await?;
        let keyring = Arc::new(Keyring::load(&config.keys.file)?);
        let clock = store.clock().clone();
        let context = operator(&config, clock.now());
        Ok(Self { app: App::new(&config, store, keyring, clock).await?, context })
    }

    pub(crate) async fn close(self) -> Result<(), Failure> {
        Ok(self.app.store().close().await?)
    }
}

/// Opens the store; fails if migrations are pending.
pub(crate) async fn open(config: &Config) -> Result<Store, Failure> {
    log(config);
    let keyring = Arc::new(Keyring::load(&config.keys.file)?);
    let store = open_store(config, keyring, Clock::system()).await?;
    match store.pending_migrations().await? {
        0 => Ok(store),
        pending => Err(StartError::SchemaOutdated { pending }.into()),
    }
}

/// Logs only warnings and errors, so that the answer stays readable.
pub(crate) fn log(config: &Config) {
    telemetry::log_only(&Log { level: "warn".to_owned(), ..config.log.clone() });
}
