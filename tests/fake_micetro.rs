//! `fake-micetro`: the fake Micetro of the tests, to try Lanyard on.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use lanyard_server::clock::Clock;
use lanyard_tests::support::certificates::Authority;
use lanyard_tests::support::micetro::{ADMINISTRATOR, ALICE, BOB, CAROL, FakeMicetro, Setup, ZOE};

/// A Micetro that is not one: its REST API with made-up objects and users
#[derive(Parser)]
#[command(name = "fake-micetro")]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Speak TLS, and write the certificate of the authority that vouches for it to this file (PEM)
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
    /// Refuse HTTP Basic
    #[arg(long)]
    no_basic: bool,
    /// The version that it says it is
    #[arg(long, default_value = "26.1.0", value_name = "VERSION")]
    micetro_version: String,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let identity = match &args.tls {
        Some(file) => {
            let authority = Authority::new();
            std::fs::write(file, authority.certificate())?;
            Some(authority.server())
        }
        None => None,
    };
    let micetro = FakeMicetro::start_with(Setup { clock: Clock::system(), listen: vec![args.listen], identity });
    micetro.behaves(|behaviour| {
        behaviour.basic = !args.no_basic;
        behaviour.version = Some(args.micetro_version);
    });
    println!("Micetro (not a real one): {}", micetro.url());
    for (who, (name, password)) in [
        ("may do everything", ADMINISTRATOR),
        ("has roles of Gateway", ALICE),
        ("has no role of Gateway", BOB),
        ("may not see anything", CAROL),
        ("is not ASCII", ZOE),
    ] {
        println!("  {name} / {password}  ({who})");
    }
    wait_for_the_end()
}

/// Until Ctrl-C, or somebody asks it to stop.
fn wait_for_the_end() -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(tokio::signal::ctrl_c())
}
