//! `lanyard migrate`.

use crate::clock::Clock;
use crate::crypto::Keyring;
use crate::serve::open_store;
use clap::Args;
use serde_json::json;

use super::exit::{Exit, Outcome};
use super::output::{Output, progress_bar};
use super::settings::Settings;

/// Bring the schema of the database up to date
///
/// Several may do so at the same time: one migrates, the others wait and find nothing to do.
#[derive(Args)]
pub(crate) struct Migrate {
    /// Change nothing; exit code 9 if the schema lacks migrations
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Migrate {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        let config = self.settings.load()?;
        super::operator::log(&config);
        let clock = Clock::system();
        // A placeholder: migrations need no keys and may run before `keys init`.
        let keyring = Keyring::generate(clock.now()).into();
        let store = open_store(&config, keyring, clock).await?;
        let outcome = if self.check {
            check(store.pending_migrations().await?, output)
        } else {
            let bar = progress_bar("migrating");
            let done = store
                .migrate(&|done, total| {
                    bar.set_length(total as u64);
                    bar.set_position(done as u64);
                })
                .await;
            bar.finish_and_clear();
            told(done?, output)
        };
        store.close().await?;
        outcome
    }
}

fn check(pending: usize, output: Output) -> Outcome {
    let text = match pending {
        0 => "The schema is up to date.".to_owned(),
        n => format!("Migrations that the schema lacks: {n}. Run `lanyard migrate`."),
    };
    output.done(&json!({ "pending": pending }), &text)?;
    Ok(if pending == 0 { Exit::Ok } else { Exit::SchemaOutdated })
}

fn told(applied: usize, output: Output) -> Outcome {
    let text = match applied {
        0 => "The schema was up to date.".to_owned(),
        n => format!("Migrations applied: {n}. The schema is up to date."),
    };
    output.done(&json!({ "applied": applied }), &text)
}
