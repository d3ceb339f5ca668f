//! What is said at the end: a table for people, a flat object for programs.

use std::collections::BTreeMap;
use std::path::Path;

use comfy_table::{CellAlignment, Table};
use serde_json::Value;

use crate::Result;
use crate::charts::{self, Series};

/// What must be reached, by the key of its figure.
const TARGETS: [Target; 11] = [
    Target::at_least("verify_hit_over_echo", "verify (cached), throughput over bare echo", 0.85),
    Target::at_most("verify_cpu_over_echo", "verify (cached), server CPU over echo", 1.20),
    Target::at_least("verify_with_telemetry_over_without", "verify (cached), 1 % traced over no telemetry", 0.93),
    Target::at_least("batch100_over_single", "tokens a second, batch of 100 over single", 8.0),
    Target::at_least("list_links_over_echo", "own 3 links, again, reads of others audited, over echo", 0.50),
    Target::at_least("list_links_audited_over_echo", "own 3 links, again, all reads audited, over echo", 0.20),
    Target::at_least("list_links_100k_over_10", "own 3 links, 100,000 definitions over 10", 0.90),
    Target::at_least("login_over_argon2", "logins over bare argon2id, same cores", 0.85),
    Target::at_most("verify_p99_under_login_flood", "verify p99 under a login flood over alone", 2.5),
    Target::at_most("bytes_per_cached_session", "memory of a cached session, bytes", 400.0),
    Target::at_most("start_seconds_1m", "start with 1,000,000 sessions stored, seconds", 2.0),
];

struct Target {
    key: &'static str,
    label: &'static str,
    bound: f64,
    at_least: bool,
}

impl Target {
    const fn at_least(key: &'static str, label: &'static str, bound: f64) -> Self {
        Self { key, label, bound, at_least: true }
    }

    const fn at_most(key: &'static str, label: &'static str, bound: f64) -> Self {
        Self { key, label, bound, at_least: false }
    }

    fn met(&self, figure: f64) -> bool {
        if self.at_least { figure >= self.bound } else { figure <= self.bound }
    }
}

/// One line of the table: what calls of one kind came to. Times are in microseconds.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) per_second: f64,
    /// Throughput over the echo's in the same rounds.
    pub(crate) over_echo: Option<f64>,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) cpu: f64,
    /// Share of a core that the server used: where it is well below 1, something else was the limit.
    pub(crate) busy: f64,
}

#[derive(Default)]
pub(crate) struct Report {
    figures: BTreeMap<String, Value>,
    rows: Vec<Row>,
    notes: Vec<String>,
    failures: Vec<String>,
    pub(crate) by_concurrency: Vec<Series>,
    pub(crate) latency: Vec<Series>,
    pub(crate) login_flood: Vec<Series>,
}

impl Report {
    pub(crate) fn figure(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.figures.insert(key.into(), value.into());
    }

    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.figures.get(key).and_then(Value::as_f64)
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Something that makes the figures worthless, or missing.
    pub(crate) fn failure(&mut self, failure: String) {
        self.failures.push(failure);
    }

    pub(crate) fn failed(&self) -> bool {
        !self.failures.is_empty()
    }

    pub(crate) fn row(&mut self, row: Row) {
        for (what, value) in [
            ("per_second", row.per_second),
            ("p50_us", row.p50),
            ("p99_us", row.p99),
            ("p999_us", row.p999),
            ("cpu_us", row.cpu),
            ("busy", row.busy),
        ] {
            self.figure(format!("{}_{what}", row.name), rounded(value));
        }
        if let Some(ratio) = row.over_echo {
            self.figure(format!("{}_over_echo", row.name), rounded(ratio));
        }
        self.rows.push(row);
    }

    pub(crate) fn print(&self) {
        println!("{}", self.calls());
        println!(
            "Throughput is of a closed loop, latency of an open loop at half of it, counted from when a call was due."
        );
        println!("\n{}", self.targets());
        for note in &self.notes {
            println!("note: {note}");
        }
        for failure in &self.failures {
            println!("FAILED: {failure}");
        }
    }

    fn calls(&self) -> Table {
        let mut table = table(&["scenario", "calls/s", "over echo", "p50", "p99", "p99.9", "CPU/call", "server busy"]);
        for row in &self.rows {
            table.add_row([
                row.name.to_owned(),
                count(row.per_second),
                row.over_echo.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                time(row.p50),
                time(row.p99),
                time(row.p999),
                time(row.cpu),
                format!("{:.0} %", row.busy * 100.0),
            ]);
        }
        align(&mut table)
    }

    fn targets(&self) -> Table {
        let mut table = table(&["figure", "measured", "target", ""]);
        for target in &TARGETS {
            let figure = self.number(target.key);
            table.add_row([
                target.label.to_owned(),
                figure.map_or_else(|| "not measured".to_owned(), |figure| format!("{figure:.2}")),
                format!("{} {}", if target.at_least { "≥" } else { "≤" }, target.bound),
                figure.map_or("", |figure| self.verdict(target, figure)).to_owned(),
            ]);
        }
        align(&mut table)
    }

    fn verdict(&self, target: &Target, figure: f64) -> &'static str {
        let is_smoke = self.figures.get("smoke").and_then(Value::as_bool).unwrap_or(false);
        match (is_smoke, target.met(figure)) {
            (true, _) => "",
            (false, true) => "met",
            (false, false) => "missed",
        }
    }

    pub(crate) fn write_json(&self, file: &Path) -> Result<()> {
        std::fs::write(file, serde_json::to_string_pretty(&self.figures)? + "\n")?;
        Ok(())
    }

    pub(crate) fn draw(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        if !self.by_concurrency.is_empty() {
            charts::by_concurrency(&folder.join("throughput.svg"), &self.by_concurrency)?;
        }
        if !self.latency.is_empty() {
            charts::percentiles(&folder.join("latency.svg"), "Latency at the same rate of calls", &self.latency)?;
        }
        if !self.login_flood.is_empty() {
            let title = "Latency of VerifySession while others log in";
            charts::percentiles(&folder.join("login-flood.svg"), title, &self.login_flood)?;
        }
        Ok(())
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header.iter().copied());
    table
}

/// Names to the left, numbers to the right.
fn align(table: &mut Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    std::mem::take(table)
}

/// Four digits say more than a measurement knows.
pub(crate) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powf(3.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

fn count(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.1}"),
        ..10_000.0 => format!("{value:.0}"),
        _ => format!("{:.1} k", value / 1e3),
    }
}

fn time(micros: f64) -> String {
    match micros {
        ..10.0 => format!("{micros:.1} µs"),
        ..1_000.0 => format!("{micros:.0} µs"),
        ..10_000.0 => format!("{:.1} ms", micros / 1e3),
        ..1_000_000.0 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.1} s", micros / 1e6),
    }
}
