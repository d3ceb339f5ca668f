//! The server of the cases, and the variables: what it told, and what a case has saved.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use regex::{Captures, Regex};
use serde_json::Value;

/// A running `case-server`; it ends when this is dropped.
pub(super) struct CaseServer {
    pub(super) variables: Variables,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl CaseServer {
    pub(super) fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_case-server"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was built");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line of text");
        let variables = serde_json::from_str(&line).expect("it starts, and tells its variables as JSON");
        let stdin = child.stdin.take();
        Self { variables: Variables(variables), child, stdin }
    }
}

impl Drop for CaseServer {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let ended = self.child.wait().expect("it ends with its input");
        assert!(ended.success() || std::thread::panicking(), "case-server: {ended}");
    }
}

#[derive(Clone)]
pub(super) struct Variables(BTreeMap<String, String>);

static PLACE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{(?:(totp):)?([a-z0-9_]+)\}").expect("an expression"));

impl Variables {
    /// With what each case has for itself.
    pub(super) fn of_a_case(&self) -> Self {
        let mut own = self.clone();
        let unique = format!("{:012x}", fastrand::u64(..1 << 48));
        own.0.insert("unique".to_owned(), unique);
        own
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn get(&self, name: &str) -> Result<&str, String> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("there is no variable {name}"))
    }

    /// The same with the variables put in, in keys too.
    pub(super) fn fill(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => Value::String(self.fill_text(text)?),
            Value::Array(values) => values.iter().map(|value| self.fill(value)).collect::<Result<_, _>>()?,
            Value::Object(fields) => {
                let filled = fields.iter().map(|(name, value)| Ok((name.clone(), self.fill(value)?)));
                Value::Object(filled.collect::<Result<_, String>>()?)
            }
            other => other.clone(),
        })
    }

    fn fill_text(&self, text: &str) -> Result<String, String> {
        for place in PLACE.captures_iter(text) {
            self.value_at(&place)?;
        }
        let filled = PLACE.replace_all(text, |place: &Captures<'_>| self.value_at(place).unwrap_or_default());
        Ok(filled.into_owned())
    }

    fn value_at(&self, place: &Captures<'_>) -> Result<String, String> {
        let value = self.get(&place[2])?;
        if place.get(1).is_some() { totp(value) } else { Ok(value.to_owned()) }
    }

    /// Takes a value from an answer.
    pub(super) fn save(&mut self, name: &str, path: &str, answer: &Value) -> Result<(), String> {
        let pointer = format!("/{}", path.replace('.', "/"));
        let value = match answer.pointer(&pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(scalar @ (Value::Number(_) | Value::Bool(_))) => scalar.to_string(),
            _ => return Err(format!("there is no {path} to save in {answer}")),
        };
        self.0.insert(name.to_owned(), value);
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "the server of the cases has the system's clock")]
fn totp(secret: &str) -> Result<String, String> {
    let secret = totp_rs::Secret::try_from_base32(secret).map_err(|_| "a secret of TOTP is base32")?;
    let totp = totp_rs::Builder::new().with_secret(secret).with_account_name("case").build();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| "the clock is before 1970")?;
    Ok(totp.map_err(|_| "a secret of TOTP is long enough")?.generate(now.as_secs()).to_string())
}
