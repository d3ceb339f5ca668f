//! A program as a child process: its output kept, its end certain.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, repository};

/// A running program. It is killed when dropped; if that is because the test fails, what it printed is shown.
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

#[derive(Default)]
struct Output {
    state: Mutex<OutputState>,
    changed: Condvar,
}

#[derive(Default)]
struct OutputState {
    lines: Vec<String>,
    /// How many of the two streams have ended.
    ended: usize,
}

impl Process {
    /// # Panics
    /// If the program cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().display().to_string();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{name}: {e}"));
        let output = Arc::new(Output::default());
        keep(child.stdout.take().expect("piped"), Arc::clone(&output));
        keep(child.stderr.take().expect("piped"), Arc::clone(&output));
        Self { name, child, output }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `find` finds something in a line that the program has printed, on either stream.
    ///
    /// # Panics
    /// If the program ends without having printed it, or it takes longer than [`PATIENCE`].
    pub fn wait_for_line<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut state = self.output.lock();
        let mut seen = 0;
        loop {
            if let Some(found) = state.lines[seen..].iter().find_map(|line| find(line)) {
                return found;
            }
            seen = state.lines.len();
            let left = end.saturating_duration_since(Instant::now());
            let hopeless = state.ended == 2 || left.is_zero();
            assert!(!hopeless, "{} did not print {what}", self.name);
            state = self.output.changed.wait_timeout(state, left).expect("no reader panics").0;
        }
    }

    /// All that it has printed so far.
    pub fn output(&self) -> String {
        self.output.lock().lines.join("\n")
    }

    /// Asks it to stop (SIGTERM).
    ///
    /// # Panics
    /// If it is gone already.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// # Panics
    /// If it is gone already.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process has a number");
        kill_process(id, signal).unwrap_or_else(|e| panic!("{}: {signal:?}: {e}", self.name));
    }

    /// Ends it as a power cut would (SIGKILL), and waits for the end.
    pub fn kill(mut self) {
        self.end();
    }

    /// Waits for its end, and for the end of what it prints.
    ///
    /// # Panics
    /// If it takes longer than [`PATIENCE`].
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        let mut state = self.output.lock();
        while state.ended < 2 {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} did not end", self.name);
            state = self.output.changed.wait_timeout(state, left).expect("no reader panics").0;
        }
        drop(state);
        self.child.wait().unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    fn end(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if thread::panicking() {
            eprintln!("---- {} printed ----\n{}\n---- end ----", self.name, self.output());
        }
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, OutputState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut OutputState)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

fn keep(stream: impl Read + Send + 'static, output: Arc<Output>) {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            output.change(|state| state.lines.push(text));
            line.clear();
        }
        output.change(|state| state.ended += 1);
    });
}

/// The program `lanyard`, built from the sources as they are now, with the profile of the tests.
///
/// # Panics
/// If it cannot be built.
pub fn lanyard() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built("--bin", "lanyard").join("lanyard"))
}

/// An example of the Rust client, built in the same way.
///
/// # Panics
/// If it cannot be built.
pub fn example(name: &str) -> PathBuf {
    built("--example", name).join("examples").join(name)
}

/// Builds a target, and tells the folder of the profile.
fn built(kind: &str, name: &str) -> PathBuf {
    // .../target/<profile>/deps/e2e-0123
    let test = std::env::current_exe().expect("a program knows where it lies");
    let folder = test.ancestors().nth(2).expect("cargo puts tests into target/<profile>/deps").to_path_buf();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    // The whole workspace, so that its dependencies keep the features that they were built with for the tests.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(repository()).args(["build", "--quiet", "--workspace", kind, name]);
    cargo.args(["--profile", profile]).arg("--target-dir").arg(folder.parent().expect("target/"));
    // What `cargo test` tells this package about itself would make build scripts run again.
    let about_us = std::env::vars_os().map(|(name, _)| name);
    for name in about_us.filter(|name| {
        name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    }) {
        cargo.env_remove(name);
    }
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{name} does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    folder
}
