//! The client that Micetro's vendor gives to Python programs, from its package `bluecat-libraries`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::repository_file;

/// Runs `support/micetro/vendor.py` and gives what it printed.
///
/// # Panics
/// If the package is not installed, or the script fails.
pub fn vendor(arguments: &[&str], secret: &str) -> Value {
    let python = repository_file(".tools/bluecat/bin/python");
    let how = "`tests/run` installs it, or: python3 -m venv .tools/bluecat && .tools/bluecat/bin/pip install bluecat-libraries";
    assert!(python.exists(), "the vendor's Python client is not installed. {how}");
    let mut command = Command::new(python);
    // Neither proxies nor a netrc of the machine may come between.
    command
        .env_clear()
        .env("NETRC", "/dev/null")
        .arg(repository_file("tests/support/micetro/vendor.py"))
        .args(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("Python");
    child.stdin.take().expect("piped").write_all(format!("{secret}\n").as_bytes()).expect("it reads its input");
    let output = child.wait_with_output().expect("it ends");
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "vendor.py failed. {how}\n{complaint}");
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}{complaint}"))
}
