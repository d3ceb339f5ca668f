//! `lanyard completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::exit::Outcome;
use super::output::say;

/// Print the completions of a shell
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanyard completions bash > ~/.local/share/bash-completion/completions/lanyard
  lanyard completions zsh > \"${fpath[1]}/_lanyard\"")]
pub(crate) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "lanyard", &mut script);
        say(String::from_utf8_lossy(&script).trim_end())
    }
}
