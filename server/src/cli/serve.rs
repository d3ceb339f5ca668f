//! `lanyard serve`.

use crate::clock::Clock;
use crate::config::{Platform, PlatformUsers};
use crate::priority;
use crate::serve::{Schema, Server, StartError};
use crate::stop::Stop;
use crate::telemetry::Telemetry;

use super::dev;
use super::exit::{Exit, Failure, Outcome};
use super::output::Output;
use super::settings::Settings;

/// Run the server
///
/// It refuses to start on a schema that lacks migrations (`lanyard migrate`), without a key file (`lanyard keys init`), and
/// beyond loopback without TLS.
///
/// SIGTERM or Ctrl-C stops it: calls under way are finished first. A second one stops it at once.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  lanyard serve --dev
  LANYARD__SERVER__LISTEN=127.0.0.1:6000 lanyard serve --dev --data-dir try
  lanyard serve --dev --platform micetro=http://127.0.0.1:8080
  lanyard serve --config /etc/lanyard/lanyard.toml")]
pub(crate) struct Serve {
    /// For trying things out: make what is missing in the data folder (database, keys, a super-user, a demo user, a caller) and
    /// show, once, how to use it
    #[arg(long)]
    dev: bool,
    /// With --dev: a Micetro that users may log in to, who are made here at their first login; may be given several times
    #[arg(long, value_name = "NAME=URL", requires = "dev", value_parser = platform)]
    platform: Vec<(String, Platform)>,
    #[command(flatten)]
    settings: Settings,
}

impl Serve {
    pub(crate) fn run(self, output: Output) -> Outcome {
        let mut config = self.settings.load_for(self.dev)?;
        config.platforms.extend(self.platform);
        config.validate()?;
        let clock = Clock::system();
        let mut telemetry = Telemetry::start(&config, &clock)?;
        if self.dev {
            dev::prepare(&config, self.settings.data_dir())?;
        }
        // Connections have their own threads; these do the work that waits for the database.
        let mut background = tokio::runtime::Builder::new_multi_thread();
        background.enable_all().on_thread_start(priority::behind_this_thread());
        background.build()?.block_on(async {
            let stop = Stop::on_signals().map_err(StartError::Signals)?;
            let schema = if self.dev { Schema::Migrate } else { Schema::Check };
            // Spawned, because SQLite's threads inherit the priority of the thread that opens it.
            let binding = tokio::spawn(Server::bind(config.clone(), clock.clone(), schema));
            let server = binding.await.map_err(std::io::Error::from)?.map_err(with_advice)?;
            if self.dev {
                dev::welcome(server.app(), &config, server.addr(), self.settings.data_dir(), output).await?;
            }
            telemetry.run(server.metrics(), &clock);
            let ended = server.run(stop).await;
            telemetry.stop().await;
            // Calls cut off at the end of the drain are logged; the command still succeeds.
            ended?;
            Ok(Exit::Ok)
        })
    }
}

/// Users are created at their first login.
fn platform(text: &str) -> Result<(String, Platform), String> {
    let (name, url) = text.split_once('=').ok_or("must be NAME=URL, for instance micetro=http://127.0.0.1:8080")?;
    let platform = Platform { users: PlatformUsers::Create, ..Platform::at(url) };
    platform.url.origin().map_err(|problem| format!("the URL {problem}"))?;
    Ok((name.to_owned(), platform))
}

/// Adds advice if the key file is missing.
fn with_advice(error: StartError) -> Failure {
    let no_keys = matches!(&error, StartError::Keys(crate::crypto::KeyringError::File { source, .. })
        if source.kind() == std::io::ErrorKind::NotFound);
    let failure = Failure::from(error);
    if no_keys {
        return Failure { message: format!("{}: `lanyard keys init` makes one", failure.message), ..failure };
    }
    failure
}
