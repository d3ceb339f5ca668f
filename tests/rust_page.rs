//! The page of the Rust client is followed. Its other blocks are compiled as tests of its documentation.

use std::process::Command;

use lanyard_client::secrecy::ExposeSecret as _;
use lanyard_tests::any_database;
use lanyard_tests::support::process::{Process, example};
use lanyard_tests::support::repository_file;
use lanyard_tests::support::server::{Database, TestServer};

any_database!(the_first_call_of_the_page_says_who_may_come_in);

async fn the_first_call_of_the_page_says_who_may_come_in(database: Database) {
    let page = std::fs::read_to_string(repository_file("client/rust/README.md")).expect("the page");
    let program = std::fs::read_to_string(repository_file("client/rust/examples/first_call.rs")).expect("the program");
    let block = page.split("```rust,no_run\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    assert!(program.ends_with(&format!("\n\n{block}")), "the program is not what the page prints");

    let server = TestServer::start(database).await;
    let demo = server.add_user("demo", false).await;
    let mut command = Command::new(example("first_call"));
    command.env("LANYARD_ENDPOINT", server.url()).env("LANYARD_CALLER_KEY", server.key.expose_secret());
    let mut first_call = Process::start(command.env("LANYARD_PASSWORD", demo.password.expose_secret()));
    first_call.wait_for_line("who may come in", |line| (line == "demo may come in").then_some(()));
    assert!(first_call.wait().success());
}
