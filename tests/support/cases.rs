//! The cases of `tests/cases/*.yaml`, as all that read them see them; `tests/cases/README.md` says what they mean.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A case, before any variable is put in.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    /// The name of its file, without `.yaml`.
    pub file: String,
    /// Each becomes a [`Step`] when its variables are there.
    pub steps: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    steps: Vec<Value>,
}

/// How a call is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    #[default]
    Wire,
    Client,
    ClientTls,
    ClientMtls,
}

/// A call, and what is expected of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub call: String,
    #[serde(default)]
    pub via: Via,
    pub endpoint: Option<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, Option<String>>,
    pub request: Option<Value>,
    pub requests: Option<Vec<Value>>,
    pub request_bytes: Option<String>,
    pub deadline_ms: Option<u64>,
    #[serde(default)]
    pub expect: Expect,
    #[serde(default)]
    pub save: BTreeMap<String, String>,
}

/// What must come back.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub code: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub reason: Option<Option<String>>,
    pub field_violations: Option<Vec<String>>,
    pub retry_info: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    pub correlation_id: Option<Option<String>>,
    pub message: Option<Value>,
    pub messages: Option<Vec<Value>>,
    pub verified: Option<bool>,
    pub items: Option<usize>,
}

#[expect(clippy::option_option, reason = "see `Expect`")]
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Expect {
    /// The code, as gRPC writes it.
    pub fn code(&self) -> &str {
        self.code.as_deref().unwrap_or("OK")
    }
}

/// All cases of a folder, by file.
///
/// # Panics
/// If a file cannot be read or is not as the format says; it says which.
pub fn read(folder: &Path) -> Vec<Case> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|problem| panic!("{}: {problem}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files.iter().flat_map(|path| read_file(path)).collect()
}

fn read_file(path: &Path) -> Vec<Case> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).unwrap_or_else(|problem| panic!("{shown}: {problem}"));
    let written: Vec<Written> =
        serde_saphyr::from_str(&text).unwrap_or_else(|problem| panic!("{shown} is not as the format says: {problem}"));
    let file = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
    written.into_iter().map(|case| Case { name: case.name, file: file.clone(), steps: case.steps }).collect()
}
