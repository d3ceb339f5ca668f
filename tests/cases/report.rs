//! What is told about each case, to people and to `matrix`.

use std::fs::{File, OpenOptions};
use std::io::Write;

use serde_json::json;

pub(super) struct Report {
    language: &'static str,
    file: Option<File>,
}

impl Report {
    #[expect(clippy::disallowed_methods, reason = "all runners are told by the environment where to report")]
    pub(super) fn new(language: &'static str) -> Self {
        let path = std::env::var_os("LANYARD_CASES_REPORT").filter(|path| !path.is_empty());
        let open = |path| OpenOptions::new().create(true).append(true).open(path).expect("the report can be written");
        Self { language, file: path.map(open) }
    }

    pub(super) fn add(&self, case: &str, result: &Result<(), String>) {
        let mut line = json!({ "language": self.language, "case": case, "result": "passed" });
        match result {
            Ok(()) => println!("passed {case}"),
            Err(reason) => {
                println!("FAILED {case}: {reason}");
                (line["result"], line["reason"]) = ("failed".into(), reason.as_str().into());
            }
        }
        if let Some(mut file) = self.file.as_ref() {
            // In one piece: others may write to it too.
            file.write_all(format!("{line}\n").as_bytes()).expect("the report can be written");
        }
    }
}
