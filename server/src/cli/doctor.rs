//! `lanyard doctor`: finds problems of an installation and says how to fix them. It changes nothing.

mod database;
mod host;

use std::fmt::Write as _;

use crate::clock::Clock;
use crate::config::Config;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::exit::{Exit, Outcome};
use super::output::{Output, harmless, say, say_json};
use super::settings::Settings;

/// Look for what is wrong with this installation, and say what to do; exit code 11 if something is
///
/// To be run as the server's account on its machine, whether the server runs or not. It reads the configuration, the key file and
/// the certificates, asks the database, the platforms and the telemetry backend whether they are there, and writes nothing.
///
/// A warning is about what will be wrong if nothing is done; it leaves the exit code at 0.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanyard doctor --config /etc/lanyard/lanyard.toml
  lanyard doctor --json | jq '.findings[] | select(.status != \"ok\")'")]
pub(crate) struct Doctor {
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Warning,
    Problem,
    /// Another problem must be fixed first.
    NotChecked,
}

impl Status {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::NotChecked => "not checked",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    status: Status,
    found: String,
    what_to_do: Option<String>,
}

/// The findings so far. They hold no secrets, only names, numbers, addresses and errors of libraries.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, check: &'static str, status: Status, found: impl Into<String>, what_to_do: Option<String>) {
        self.findings.push(Finding { check, status, found: found.into(), what_to_do });
    }

    fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(check, Status::Ok, found, None);
    }

    fn warning(&mut self, check: &'static str, found: impl Into<String>, what_to_do: impl Into<String>) {
        self.add(check, Status::Warning, found, Some(what_to_do.into()));
    }

    fn problem(&mut self, check: &'static str, found: impl Into<String>, what_to_do: impl Into<String>) {
        self.add(check, Status::Problem, found, Some(what_to_do.into()));
    }

    /// `checks` cannot run until an earlier finding is fixed.
    fn not_checked(&mut self, checks: &[&'static str], because: &str) {
        for check in checks {
            self.add(check, Status::NotChecked, because, None);
        }
    }

    fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| matches!(finding.status, Status::Ok | Status::Warning))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let (status, found) = (finding.status.word(), harmless(&finding.found));
            let _ = writeln!(text, "{status:<13}{:<15}{found}", finding.check);
            if let Some(what_to_do) = &finding.what_to_do {
                let _ = writeln!(text, "{:28}-> {}", "", harmless(what_to_do));
            }
        }
        let count = |status| self.findings.iter().filter(|finding| finding.status == status).count();
        let (problems, warnings) = (count(Status::Problem), count(Status::Warning));
        let _ = write!(text, "Problems: {problems}. Warnings: {warnings}. Not checked: {}.", count(Status::NotChecked));
        text
    }
}

impl Doctor {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        let mut report = Report::default();
        match self.settings.load() {
            Ok(config) => {
                let file = self.settings.file().map(|file| file.display().to_string());
                report.ok("configuration", format!("{} is good", file.as_deref().unwrap_or("what is in effect")));
                examine(&config, &mut report).await;
            }
            Err(failure) => {
                let advice = "correct it: `lanyard config default` explains every key";
                report.problem("configuration", failure.message, advice);
                report.not_checked(&host::CHECKS, NEEDS_CONFIGURATION);
                report.not_checked(&database::CHECKS, NEEDS_CONFIGURATION);
            }
        }
        let is_healthy = report.is_healthy();
        if output.is_json() {
            say_json(&json!({ "healthy": is_healthy, "findings": report.findings }))?;
        } else {
            say(&report.text())?;
        }
        Ok(if is_healthy { Exit::Ok } else { Exit::Unhealthy })
    }
}

const NEEDS_CONFIGURATION: &str = "the configuration has to be right first";

async fn examine(config: &Config, report: &mut Report) {
    super::operator::log(config);
    let clock = Clock::system();
    let keyring = host::check(config, &clock, report).await;
    database::check(config, keyring, &clock, report).await;
}
