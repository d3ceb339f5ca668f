//! The program `lanyard`: the server and its command-line client.

use std::process::ExitCode;

/// The system allocator costs a fifth of the throughput.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lanyard_server::cli::main()
}
