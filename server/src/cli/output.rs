//! Output: tables for people, JSON for programs. Results go to standard output, everything else to standard error.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use super::exit::{Exit, Failure, Outcome};
use super::view::{SessionView, TokenView};

/// JSON has all serialized fields, a single record those of `FIELDS`, a list those of `COLUMNS`.
pub(crate) trait View: Serialize {
    /// Field names in display order, separated by spaces.
    const FIELDS: &'static str;
    const COLUMNS: &'static str;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    is_json: bool,
}

impl Output {
    pub(crate) const fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.is_json
    }

    pub(crate) fn one<V: View>(self, view: &V) -> Outcome {
        if self.is_json { say_json(view) } else { say(&record(&value(view), V::FIELDS)) }
    }

    pub(crate) fn token(self, view: &TokenView) -> Outcome {
        if self.is_json {
            return say_json(view);
        }
        let mut table = table();
        if let Some(ust) = &view.ust {
            table.add_row(["ust", ust]);
        }
        add_fields(&mut table, &value(&view.session), SessionView::FIELDS);
        say(&text_of(table))
    }

    /// `has_more`: the list was cut off at the limit.
    pub(crate) fn list<V: View>(self, name: &str, views: &[V], has_more: bool) -> Outcome {
        if self.is_json {
            return say_json(&json!({ name: value(views), "has_more": has_more }));
        }
        let mut table = table();
        table.set_header(V::COLUMNS.split(' ').map(|column| column.replace('_', " ").to_uppercase()));
        for view in views {
            let view = value(view);
            table.add_row(V::COLUMNS.split(' ').map(|column| cell(column, &view[column])));
        }
        if views.is_empty() {
            self.note(&format!("no {}", name.replace('_', " ")));
        } else {
            say(&text_of(table))?;
        }
        if has_more {
            self.note("there are more: see --limit");
        }
        Ok(Exit::Ok)
    }

    /// `text`: the answer without `--json`.
    pub(crate) fn done(self, json: &Value, text: &str) -> Outcome {
        if self.is_json { say_json(json) } else { say(text) }
    }

    /// A note on standard error; none with `--json`.
    pub(crate) fn note(self, text: &str) {
        if !self.is_json {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    pub(crate) fn failure(self, failure: &Failure) -> Exit {
        let text = if self.is_json { failure_json(failure) } else { failure_text(failure) };
        let _ = writeln!(io::stderr().lock(), "{text}");
        failure.exit
    }
}

/// Prints a line without escaping. A closed pipe (`| head`) is not an error.
pub(crate) fn say(text: &str) -> Outcome {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(Exit::Ok),
    }
}

pub(crate) fn say_json(value: &(impl Serialize + ?Sized)) -> Outcome {
    say(&serde_json::to_string_pretty(value).expect("views are plain JSON"))
}

/// For long work. Hidden unless standard error is a terminal.
pub(crate) fn progress_bar(what: &'static str) -> indicatif::ProgressBar {
    let style = indicatif::ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len} ({eta} left)");
    let bar = indicatif::ProgressBar::new(0).with_message(what);
    bar.set_style(style.expect("the template is well-formed"));
    bar
}

fn value(view: &(impl Serialize + ?Sized)) -> Value {
    serde_json::to_value(view).expect("views are plain JSON")
}

fn record(view: &Value, fields: &str) -> String {
    let mut table = table();
    add_fields(&mut table, view, fields);
    text_of(table)
}

fn add_fields(table: &mut Table, view: &Value, fields: &str) {
    for field in fields.split(' ') {
        let cell = cell(field, &view[field]);
        if !cell.is_empty() {
            table.add_row([field.replace('_', " "), cell]);
        }
    }
}

/// No borders, two spaces between columns: easy to read and to grep.
fn text_of(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn cell(field: &str, value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::Bool(yes) => (if *yes { "yes" } else { "no" }).to_owned(),
        Value::Array(items) => items.iter().map(|item| cell(field, item)).collect::<Vec<_>>().join(", "),
        Value::String(text) if field == "time" || field.ends_with("_time") => short_time(text),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    harmless(&text)
}

/// Untrusted text: its escape sequences must not reach the terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Omits fractions of a second.
fn short_time(time: &str) -> String {
    let (date, rest) = time.split_once('T').unwrap_or((time, ""));
    let clock = rest.split_once('.').map_or(rest.trim_end_matches('Z'), |(clock, _)| clock);
    format!("{date} {clock}Z")
}

fn failure_text(failure: &Failure) -> String {
    let red =
        |text: &str| if io::stderr().is_terminal() { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_owned() };
    let mut text = format!("{} {}", red("error:"), failure.message);
    if let Some(micetro) = &failure.micetro {
        let facts = [("http status", micetro.status.map(i64::from)), ("micetro code", micetro.code)];
        for (name, number) in facts.into_iter().filter_map(|(name, number)| Some((name, number?))) {
            let _ = write!(text, "\n  {name}: {number}");
        }
        let _ = write!(text, "\n  correlation id: {}", micetro.correlation_id);
    }
    let Some(refusal) = &failure.refusal else { return text };
    if refusal.reason != lanyard_client::ErrorReason::Unspecified {
        let _ = write!(text, "\n  reason: {}", refusal.reason.reason());
    }
    for violation in &refusal.field_violations {
        let _ = write!(text, "\n  {}: {}", violation.field, violation.description);
    }
    if let Some(wait) = refusal.retry_after {
        let _ = write!(text, "\n  try again in: {}", humantime::format_duration(wait));
    }
    let _ = write!(text, "\n  correlation id: {}", refusal.correlation_id);
    text
}

fn failure_json(failure: &Failure) -> String {
    let mut error = json!({ "message": failure.message, "exit_code": failure.exit.code() });
    if let Some(micetro) = &failure.micetro {
        error["status"] = json!(micetro.status);
        error["micetro_code"] = json!(micetro.code);
        error["correlation_id"] = json!(micetro.correlation_id.as_str());
    }
    if let Some(refusal) = &failure.refusal {
        let fields = refusal.field_violations.iter();
        error["reason"] = json!(refusal.reason.reason());
        error["correlation_id"] = json!(refusal.correlation_id.as_str());
        error["field_violations"] =
            fields.map(|field| json!({ "field": field.field, "description": field.description })).collect();
        error["retry_after_seconds"] = json!(refusal.retry_after.map(|wait| wait.as_secs_f64()));
    }
    json!({ "error": error }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Thing {
        name: &'static str,
        creation_time: &'static str,
        is_old: bool,
        end: Option<u8>,
        tags: [&'static str; 2],
    }

    const THING: Thing = Thing {
        name: "a\u{1b}[31mb",
        creation_time: "2026-01-02T03:04:05.678901Z",
        is_old: true,
        end: None,
        tags: ["x", "y"],
    };

    #[test]
    fn a_person_reads_times_to_the_second_and_nothing_that_is_absent() {
        let shown = record(&value(&THING), "name creation_time is_old end tags");
        assert!(shown.contains("2026-01-02 03:04:05Z"), "{shown}");
        assert!(shown.contains("is old") && shown.contains("yes") && shown.contains("x, y"), "{shown}");
        assert!(!shown.contains("end"), "{shown}");
    }

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        assert_eq!(cell("name", &value(THING.name)), "a\u{fffd}[31mb");
    }

    #[test]
    fn a_failure_is_one_object_for_programs() {
        let failure = Failure::new(Exit::Config, "server.listen: no");
        let shown: Value = serde_json::from_str(&failure_json(&failure)).expect("JSON");
        assert_eq!(shown, json!({ "error": { "message": "server.listen: no", "exit_code": 78 } }));
    }
}
