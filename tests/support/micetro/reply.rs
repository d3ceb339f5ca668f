//! The envelope: what succeeds lies in `result`, what fails in `error`, as JSON or as XML.

use std::fmt::Write as _;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub(super) const JSON: &str = "application/json; charset=utf-8";
const XML: &str = "application/xml; charset=utf-8";

/// What came of a request.
pub(super) type Answered = Result<Answer, Refusal>;

/// What succeeded.
#[derive(Debug)]
pub(super) enum Answer {
    Found(Value),
    Created(Value),
    Done,
}

impl Answer {
    pub(super) fn into_response(self, headers: &HeaderMap) -> Response {
        match self {
            Self::Found(result) => body(StatusCode::OK, "result", &result, headers),
            Self::Created(result) => body(StatusCode::CREATED, "result", &result, headers),
            Self::Done => StatusCode::NO_CONTENT.into_response(),
        }
    }
}

/// What failed, in Micetro's form: a status, a number and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: i64,
    pub message: String,
}

impl Refusal {
    /// Any.
    pub fn new(status: u16, code: i64, message: &str) -> Self {
        Self { status, code, message: message.to_owned() }
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub fn wrong_password() -> Self {
        Self::new(401, 16394, "Invalid username or password.")
    }

    pub fn no_session() -> Self {
        Self::new(401, 5002, "Missing Session ID.")
    }

    pub fn session_not_valid() -> Self {
        Self::new(401, 5003, "The session is not valid. Log in again.")
    }

    pub fn no_access() -> Self {
        Self::new(400, 1028, "You do not have access to perform that action.")
    }

    pub fn no_object(reference: &str) -> Self {
        Self::new(400, 2049, &format!("Object not found for reference '{reference}'."))
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(400, 16544, &format!("'{what}' was not found."))
    }

    pub fn standby() -> Self {
        Self::new(400, 1037, "Incoming requests have been disabled on this server.")
    }

    pub fn no_central() -> Self {
        Self::new(400, 515, "Unable to connect to the Central server.")
    }

    pub fn too_many_connections() -> Self {
        Self::new(400, 0, "Too many open connections")
    }

    pub fn invalid(problem: &str) -> Self {
        Self::new(400, 16, problem)
    }

    pub(super) fn into_response_for(self, headers: &HeaderMap) -> Response {
        let status = StatusCode::from_u16(self.status).expect("a status");
        body(status, "error", &json!({ "code": self.code, "message": self.message }), headers)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.into_response_for(&HeaderMap::new())
    }
}

fn body(status: StatusCode, envelope: &str, content: &Value, headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (kind, text) = if accept.contains("application/xml") {
        let mut text = r#"<?xml version="1.0" encoding="UTF-8"?>"#.to_owned();
        write_xml(&mut text, envelope, content);
        (XML, text)
    } else {
        (JSON, json!({ envelope: content }).to_string())
    };
    (status, [(header::CONTENT_TYPE, kind)], text).into_response()
}

/// The members of a list are named as the list is, without its last letter.
fn write_xml(text: &mut String, name: &str, value: &Value) {
    let _ = write!(text, "<{name}>");
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| write_xml(text, name, member)),
        Value::Array(members) => {
            let singular = name.strip_suffix('s').unwrap_or(name);
            for member in members {
                write_xml(text, singular, member);
            }
        }
        Value::String(string) => text.push_str(&escaped(string)),
        Value::Null => {}
        other => text.push_str(&other.to_string()),
    }
    let _ = write!(text, "</{name}>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
