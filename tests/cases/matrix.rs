//! `matrix FOLDER REPORT LANGUAGE...`: what the runners reported, language by case. It fails for a case that failed and for
//! one that a language did not report; one that a language cannot run is named and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use comfy_table::{CellAlignment, Table};
use lanyard_tests::support::cases::{Case, read};
use serde::Deserialize;

#[derive(Parser)]
#[command(about = "Prints which client language passed which cases")]
struct Arguments {
    /// Where the cases are.
    folder: PathBuf,
    /// What the runners appended to.
    report: PathBuf,
    /// All that must be there.
    #[arg(required = true)]
    languages: Vec<String>,
}

/// A line of the report.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    language: String,
    case: String,
    result: Outcome,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Passed,
    Failed,
    NotRun,
}

/// What is known of each language's cases; of one that ran twice, what came last.
struct Matrix {
    cases: Vec<Case>,
    languages: Vec<String>,
    lines: BTreeMap<(String, String), (Outcome, String)>,
}

impl Matrix {
    fn read(arguments: Arguments) -> Self {
        let Arguments { folder, report, languages } = arguments;
        let text = std::fs::read_to_string(&report).unwrap_or_else(|problem| panic!("{}: {problem}", report.display()));
        let lines = text.lines().map(|line| {
            let Line { language, case, result, reason } =
                serde_json::from_str(line).unwrap_or_else(|problem| panic!("{problem}: {line}"));
            ((language, case), (result, reason))
        });
        Self { cases: read(&folder), languages, lines: lines.collect() }
    }

    fn outcome(&self, language: &str, case: &str) -> Option<Outcome> {
        self.lines.get(&(language.to_owned(), case.to_owned())).map(|(outcome, _)| *outcome)
    }

    /// One row for each file, and their sum.
    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        table.set_header(std::iter::once("cases").chain(self.languages.iter().map(String::as_str)));
        let files: BTreeSet<&str> = self.cases.iter().map(|case| case.file.as_str()).collect();
        for file in &files {
            table.add_row(self.row(file, |case| case.file == **file));
        }
        table.add_row(self.row("all", |_| true));
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table
    }

    fn row(&self, name: &str, of: impl Fn(&Case) -> bool) -> Vec<String> {
        let cases: Vec<_> = self.cases.iter().filter(|case| of(case)).collect();
        let passed = self.languages.iter().map(|language| {
            let has_passed = |case: &&&Case| self.outcome(language, &case.name) == Some(Outcome::Passed);
            format!("{}/{}", cases.iter().filter(has_passed).count(), cases.len())
        });
        std::iter::once(name.to_owned()).chain(passed).collect()
    }

    /// All that did not pass, each with its reason.
    fn not_passed(&self, wanted: Option<Outcome>) -> Vec<String> {
        let mut found = Vec::new();
        for language in &self.languages {
            for case in &self.cases {
                let line = self.lines.get(&(language.clone(), case.name.clone()));
                if line.map(|(outcome, _)| *outcome) == wanted {
                    let reason = line.map_or("", |(_, reason)| reason.as_str());
                    found.push(format!("{language}: {}: {reason}", case.name));
                }
            }
        }
        found
    }

    /// Lines about nothing that there is.
    fn unknown(&self) -> Vec<String> {
        let known: BTreeSet<&str> = self.cases.iter().map(|case| case.name.as_str()).collect();
        let is_known = |language: &String, case: &str| self.languages.contains(language) && known.contains(case);
        let unknown = self.lines.keys().filter(|(language, case)| !is_known(language, case));
        unknown.map(|(language, case)| format!("{language}: {case}")).collect()
    }
}

fn main() -> ExitCode {
    let matrix = Matrix::read(Arguments::parse());
    println!("{}\n", matrix.table());
    let not_run = matrix.not_passed(Some(Outcome::NotRun));
    let bad = [
        ("failed", matrix.not_passed(Some(Outcome::Failed))),
        ("not reported", matrix.not_passed(None)),
        ("reported, and unknown here", matrix.unknown()),
    ];
    let all = [("cannot be run", &not_run), (bad[0].0, &bad[0].1), (bad[1].0, &bad[1].1), (bad[2].0, &bad[2].1)];
    for (what, names) in all.into_iter().filter(|(_, names)| !names.is_empty()) {
        println!("{what}: {}\n  {}", names.len(), names.join("\n  "));
    }
    let languages = matrix.languages.len();
    println!("{languages} languages, {} cases, {} not run", matrix.cases.len(), not_run.len());
    if bad.iter().all(|(_, names)| names.is_empty()) && !matrix.cases.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
