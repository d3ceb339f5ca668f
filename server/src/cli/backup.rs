//! `lanyard backup`.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::clock::Clock;
use crate::crypto::Keyring;
use crate::serve::open_store;
use crate::store::Store;
use clap::Args;
use serde_json::json;

use super::exit::{Exit, Failure, Outcome};
use super::output::Output;
use super::settings::Settings;

/// Copy the database of SQLite into a new file, as it is at one moment, while the server goes on
///
/// The key file is not in it: keep that elsewhere. PostgreSQL has `pg_dump`.
#[derive(Args)]
#[command(after_help = "Example:\n  lanyard backup /var/backups/lanyard.db --config /etc/lanyard/lanyard.toml")]
pub(crate) struct Backup {
    /// Where to; it must not be there yet
    file: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

impl Backup {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        let config = self.settings.load()?;
        super::operator::log(&config);
        let shown = self.file.display().to_string();
        if !config.database.url.is_sqlite() {
            return Err(Failure::new(Exit::Failed, "the database is PostgreSQL: back it up with `pg_dump`"));
        }
        let clock = Clock::system();
        // A placeholder: the copy needs no keys.
        let keyring = Keyring::generate(clock.now()).into();
        let store = open_store(&config, keyring, clock).await?;
        let copied = self.copy(&store).await;
        store.close().await?;
        copied?;
        let bytes = std::fs::metadata(&self.file)?.len();
        let text = format!("{shown} holds the database as it was ({bytes} bytes). The key file is not in it.");
        output.done(&json!({ "file": shown, "bytes": bytes }), &text)
    }

    /// Creates the file first: `copy_into` removes it on failure, so it must be our own.
    async fn copy(&self, store: &Store) -> Result<(), Failure> {
        if let Err(error) = std::fs::File::create_new(&self.file) {
            let shown = self.file.display();
            let problem = match error.kind() {
                ErrorKind::AlreadyExists => format!("{shown} is there already: it stays as it is"),
                _ => format!("{shown}: {error}"),
            };
            return Err(Failure::new(Exit::Failed, problem));
        }
        Ok(store.copy_into(&self.file).await?)
    }
}
