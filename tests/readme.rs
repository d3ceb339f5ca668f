//! README.md is typed, line by line: its first five minutes, linked accounts and platform sessions.

use std::fmt::Write as _;
use std::process::Command;

use lanyard_tests::support::micetro::FakeMicetro;
use lanyard_tests::support::process::{Process, lanyard};
use lanyard_tests::support::{repository_file, temporary_folder};
use regex::Regex;
use serde_json::Value;

/// A command, and what the page says it prints.
struct Typed {
    command: String,
    printed: Vec<String>,
}

/// The commands of the blocks that are no builds.
fn typed() -> Vec<Typed> {
    let page = std::fs::read_to_string(repository_file("README.md")).expect("the page");
    let tour = page.split("## The first five minutes").nth(1).and_then(|rest| rest.split("\n## ").next());
    let blocks =
        tour.expect("a tour").split("```console\n").skip(1).map(|block| block.split("```").next().unwrap_or(""));
    let mut commands: Vec<Typed> = Vec::new();
    for block in blocks.filter(|block| !block.contains("cargo run")) {
        let mut lines = block.lines();
        while let Some(line) = lines.next() {
            let Some(command) = line.strip_prefix("$ ") else {
                commands.last_mut().expect("a command before what it prints").printed.push(line.to_owned());
                continue;
            };
            let mut command = command.to_owned();
            while command.ends_with('\\') {
                command = format!("{command}\n{}", lines.next().expect("the command goes on"));
            }
            commands.push(Typed { command, printed: Vec::new() });
        }
    }
    commands
}

/// What differs from one run to the next made alike, and so are spaces.
fn alike(text: &str) -> String {
    let changing =
        Regex::new(r"(ses|usr|lnk)_[0-9a-f]{32}|lyu1_[\w.]+|http://127\.0\.0\.1:\d+|[0-9:-]+ [0-9:]+Z|verified: \d+");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    changing.expect("a pattern").replace_all(&words, "~").into_owned()
}

#[test]
fn the_commands_of_the_readme_work_as_they_are_typed() {
    let (folder, micetro) = (temporary_folder(), FakeMicetro::start());
    let mut command = Command::new(lanyard());
    command.args(["serve", "--dev", "--platform", &format!("micetro={}", micetro.url())]);
    command.current_dir(folder.path()).env_clear().env("LANYARD__SERVER__LISTEN", "127.0.0.1:0");
    let server = Process::start(&mut command);
    server.wait_for_line("that it serves", |line| line.starts_with("Lanyard serves at http://").then_some(()));
    let credentials = std::fs::read(folder.path().join("lanyard-data/credentials.json")).expect("credentials");
    let credentials: Value = serde_json::from_slice(&credentials).expect("JSON");
    let text = |pointer: &str| credentials.pointer(pointer).and_then(Value::as_str).expect("a text").to_owned();
    let addr = text("/endpoint").replace("http://", "");

    // One shell, as at a terminal: variables stay. Who is asked for a password there finds it in the environment here.
    let mut script = "LANYARD_SECRET='a secret of the CRM'; export LANYARD_SECRET\n".to_owned();
    let typed = typed();
    assert!(typed.len() > 15, "the blocks of the page are found");
    for (number, Typed { command, .. }) in typed.iter().enumerate() {
        let user = if command.contains("--username admin") { "/super_user" } else { "/demo_user" };
        let _ = writeln!(script, "export LANYARD_PASSWORD={}", text(&format!("{user}/password")));
        let command = command.replace("127.0.0.1:50051", &addr);
        let _ = writeln!(script, "{command}\nprintf '\\n=== %s: %s\\n' {number} $?");
    }
    let path = std::env::join_paths([
        lanyard().parent().expect("a folder"),
        &repository_file(".tools/bin"),
        "/usr/local/bin".as_ref(),
        "/usr/bin".as_ref(),
        "/bin".as_ref(),
    ]);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("exec 2>&1\n{script}")]).current_dir(folder.path()).env_clear();
    let output = shell.env("PATH", path.expect("no colon in it")).output().expect("a shell");
    let output = String::from_utf8(output.stdout).expect("text");

    let mut rest = output.as_str();
    for (number, Typed { command, printed }) in typed.iter().enumerate() {
        let end = format!("\n=== {number}: 0\n");
        let (said, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{command}: {rest}"));
        rest = after;
        // Standard error comes before standard output here, and after it at a terminal: each line is looked for by itself.
        let said: Vec<String> = said.lines().map(alike).collect();
        for line in printed.iter().filter(|line| line.trim() != "...") {
            assert!(said.contains(&alike(line)), "{command}: does not print {line:?} but {said:#?}");
        }
    }
}
