//! `bench`: what Lanyard costs, beside a bare tonic echo that does nothing.
//!
//! The server under test and the echo are processes of their own, pinned to one core; this process, which makes the
//! load, is pinned to another. Runs are interleaved (echo, server, echo, server, ...) and the median of the rounds
//! counts, so that a noisy moment of the machine hits both or is left out.
//!
//! `load` makes calls, `target` and `lanyard` start what is called, `echo` and `hashing` are the references,
//! `scenarios` say what is measured, `report` and `charts` show it.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "figures are counts and times, far from what these types can hold"
)]

mod charts;
mod echo;
mod hashing;
mod lanyard;
mod load;
mod report;
mod scenarios;
mod seed;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

// As in the server, or the echo would be slower for a reason that is not the server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Lanyard beside a bare tonic echo. Build it with `--profile dist`, which is what is shipped.
#[derive(Parser)]
#[command(name = "bench")]
struct Args {
    #[command(subcommand)]
    reference: Option<Reference>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand)]
enum Reference {
    /// Serve the bare echo.
    #[command(hide = true)]
    Echo(echo::EchoArgs),
    /// Hash passwords, and nothing else.
    #[command(hide = true)]
    Hashing(hashing::HashingArgs),
}

#[derive(clap::Args)]
pub(crate) struct RunArgs {
    /// Shorter and fewer rounds: all figures within five minutes.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Hardly any rounds, on hardly any data: shows that the bench works, measures nothing.
    #[arg(long, conflicts_with = "quick")]
    pub(crate) smoke: bool,
    /// Write the figures here, as one flat JSON object.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the curves into this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,
    /// Only these scenarios.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<scenarios::Name>,
    /// The server to measure. Default: the one of this workspace, built now in the profile of this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) lanyard: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.reference {
        Some(Reference::Echo(args)) => echo::run(args).map(|()| ExitCode::SUCCESS),
        Some(Reference::Hashing(args)) => hashing::run(args).map(|()| ExitCode::SUCCESS),
        None => scenarios::run(&args.run),
    };
    result.unwrap_or_else(|problem| {
        eprintln!("bench: {problem}");
        ExitCode::FAILURE
    })
}
