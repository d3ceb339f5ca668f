//! `lanyard config`.

use crate::app::platform::Platforms;
use crate::config::DEFAULT;
use crate::error::Error;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::exit::{Exit, Outcome, with_sources};
use super::output::{Output, View, say, say_json};
use super::settings::Settings;

/// Check and show the configuration
#[derive(Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Check(Check),
    /// Print what is in effect, without the password of the database
    Show(Settings),
    /// Print the default configuration: every key, explained
    #[command(after_help = "Example:\n  lanyard config default > lanyard.toml")]
    Default,
}

/// Read the configuration and say what is wrong; exit code 78 if something is
#[derive(Args)]
struct Check {
    /// Ask each platform too, without any credential, whether it is there; exit code 6 if one is not
    #[arg(long)]
    probe: bool,
    #[command(flatten)]
    settings: Settings,
}

/// The result of probing a platform.
#[derive(Serialize)]
struct PlatformView {
    platform: String,
    reachable: bool,
    version: Option<String>,
    problem: Option<String>,
}

impl View for PlatformView {
    const FIELDS: &'static str = "platform reachable version problem";
    const COLUMNS: &'static str = Self::FIELDS;
}

impl From<(String, Result<Option<String>, Error>)> for PlatformView {
    fn from((platform, outcome): (String, Result<Option<String>, Error>)) -> Self {
        let (version, problem) = match outcome {
            Ok(version) => (version, None),
            Err(error) => (None, Some(with_sources(&error))),
        };
        Self { platform, reachable: problem.is_none(), version, problem }
    }
}

impl Check {
    async fn run(self, output: Output) -> Outcome {
        let config = self.settings.load()?;
        let platforms = Platforms::new(&config.platforms)?;
        platforms.check_files()?;
        let file = self.settings.file().map(|file| file.display().to_string());
        let text = format!("{} is good.", file.as_deref().unwrap_or("The configuration"));
        if !self.probe {
            return output.done(&json!({ "valid": true, "file": file }), &text);
        }
        let probed: Vec<_> = platforms.probe().await.into_iter().map(PlatformView::from).collect();
        if output.is_json() {
            say_json(&json!({ "valid": true, "file": file, "platforms": probed }))?;
        } else {
            say(&text)?;
            output.list("platforms", &probed, false)?;
        }
        Ok(if probed.iter().all(|platform| platform.reachable) { Exit::Ok } else { Exit::Unavailable })
    }
}

impl Config {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        match self.verb {
            Verb::Check(check) => check.run(output).await,
            Verb::Show(settings) => {
                let config = settings.load()?;
                if output.is_json() { say_json(&config) } else { say(config.show().trim_end()) }
            }
            Verb::Default => say(DEFAULT.trim_end()),
        }
    }
}
