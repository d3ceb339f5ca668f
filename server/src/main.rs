//! The program `lanyard`: the server, and the administrator's and the developer's client of it.

use std::process::ExitCode;

/// The system's allocator costs a fifth of the throughput.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lanyard_server::cli::main()
}
