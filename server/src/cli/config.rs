//! `lanyard config`.

use clap::{Args, Subcommand};
use lanyard_server::config::DEFAULT;
use serde_json::json;

use super::exit::Outcome;
use super::output::{Output, say, say_json};
use super::settings::Settings;

/// Check and show the configuration
#[derive(Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Read the configuration and say what is wrong; exit code 78 if something is
    Check(Settings),
    /// Print what is in effect, without the password of the database
    Show(Settings),
    /// Print the default configuration: every key, explained
    #[command(after_help = "Example:\n  lanyard config default > lanyard.toml")]
    Default,
}

impl Config {
    pub(crate) fn run(self, output: Output) -> Outcome {
        match self.verb {
            Verb::Check(settings) => {
                settings.load()?;
                let file = settings.file().map(|file| file.display().to_string());
                let what = file.as_deref().unwrap_or("The configuration");
                output.done(&json!({ "valid": true, "file": file }), &format!("{what} is good."))
            }
            Verb::Show(settings) => {
                let config = settings.load()?;
                if output.is_json() { say_json(&config) } else { say(config.show().trim_end()) }
            }
            Verb::Default => say(DEFAULT.trim_end()),
        }
    }
}
