//! What Micetro answered.

use http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{MicetroError, MicetroErrorKind};
use crate::correlation::CorrelationId;

/// The content of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum MicetroBody {
    /// JSON, as it came: what was asked for is in its `result`.
    Json(Value),
    /// Anything else; also nothing.
    Text(String),
}

/// An answer with a status that was expected.
#[derive(Clone, Debug)]
pub struct MicetroReply {
    status: u16,
    body: MicetroBody,
    correlation_id: CorrelationId,
}

impl MicetroReply {
    /// The answer, if its status is one that was expected; else the error that it tells of.
    pub(super) fn judge(
        (status, headers, body): (u16, &HeaderMap, &[u8]),
        is_expected: bool,
        id: &CorrelationId,
    ) -> Result<Self, MicetroError> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.to_ascii_lowercase();
        let text = decode(&kind, body);
        let media = kind.split(';').next().unwrap_or_default().trim();
        let is_json = media == "application/json" || media.ends_with("+json");
        let json = if is_json { serde_json::from_str::<Value>(&text).ok() } else { None };
        if !is_expected {
            return Err(unexpected(status, media, json.as_ref(), id));
        }
        let body = match json {
            Some(json) => MicetroBody::Json(json),
            None if is_json && !text.is_empty() => {
                return Err(MicetroError::unexpected(status, "with JSON that is broken", id));
            }
            None => MicetroBody::Text(text),
        };
        Ok(Self { status, body, correlation_id: id.clone() })
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What it said.
    pub fn body(&self) -> &MicetroBody {
        &self.body
    }

    /// The whole of it, `result` and all. What is not JSON is a JSON string.
    pub fn into_value(self) -> Value {
        match self.body {
            MicetroBody::Json(json) => json,
            MicetroBody::Text(text) => Value::String(text),
        }
    }

    /// What is in `result`.
    ///
    /// # Errors
    /// There is no `result`.
    pub fn result(self) -> Result<Value, MicetroError> {
        let (status, id) = (self.status, self.correlation_id.clone());
        match self.body {
            MicetroBody::Json(Value::Object(mut members)) => members.remove("result"),
            _ => None,
        }
        .ok_or_else(|| MicetroError::unexpected(status, "without a result", &id))
    }

    /// The same as a type.
    ///
    /// # Errors
    /// There is no `result`, or it is of another type.
    pub fn result_as<T: DeserializeOwned>(self) -> Result<T, MicetroError> {
        let (status, id) = (self.status, self.correlation_id.clone());
        serde_json::from_value(self.result()?)
            .map_err(|error| MicetroError::unexpected(status, &format!("with another result: {error}"), &id))
    }

    /// The version in the answer to the pre-login command.
    pub(super) fn version(self) -> Result<String, MicetroError> {
        let id = self.correlation_id.clone();
        let version =
            self.result()?["centralVersion"].as_str().filter(|version| !version.is_empty()).map(str::to_owned);
        let unknown = "Micetro does not say which version it is";
        version.ok_or_else(|| MicetroError::new(MicetroErrorKind::UnexpectedAnswer, unknown, &id))
    }
}

/// Micetro wrote Latin-1 before version 11.1.
fn decode(kind: &str, body: &[u8]) -> String {
    if kind.contains("charset=iso-8859-1") || kind.contains("charset=latin1") {
        return body.iter().map(|byte| char::from(*byte)).collect();
    }
    String::from_utf8_lossy(body).into_owned()
}

/// What the answer is instead. Nothing of a page is repeated: it may be anything.
fn unexpected(status: u16, media: &str, json: Option<&Value>, id: &CorrelationId) -> MicetroError {
    let error = json.map_or(&Value::Null, |json| &json["error"]);
    if status >= 400 && error.is_object() {
        let message = error["message"].as_str().unwrap_or("no reason given");
        return MicetroError::refused(status, error["code"].as_i64(), message, id);
    }
    let problem = match status {
        300..=399 => "a redirect, which is not followed",
        200..=299 => "which was not expected",
        _ if json.is_some() => "with JSON that holds no error",
        _ => return MicetroError::unexpected(status, &format!("with {} in the place of JSON", kind_of(media)), id),
    };
    MicetroError::unexpected(status, problem, id)
}

fn kind_of(media: &str) -> &str {
    let is_name = !media.is_empty() && media.len() <= 64 && media.bytes().all(|byte| byte.is_ascii_graphic());
    if is_name { media } else { "something" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, kind: &str, body: &[u8], is_expected: bool) -> Result<MicetroReply, MicetroError> {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        }
        MicetroReply::judge((status, &headers, body), is_expected, &"an-id".parse().unwrap())
    }

    #[test]
    fn json_is_left_wrapped_and_can_be_unwrapped() {
        #[derive(serde::Deserialize)]
        struct Numbers {
            n: Vec<u8>,
        }
        let reply = judged(200, "application/json; charset=utf-8", br#"{"result":{"n":[1,2]}}"#, true).unwrap();
        assert_eq!(reply.clone().into_value(), serde_json::json!({ "result": { "n": [1, 2] } }));
        assert_eq!(reply.clone().result().unwrap()["n"][1], 2);
        assert_eq!(reply.clone().result_as::<Numbers>().unwrap().n, [1, 2]);
        let error = reply.result_as::<Vec<u8>>().unwrap_err();
        assert_eq!((error.kind, error.status), (MicetroErrorKind::UnexpectedAnswer, Some(200)));
    }

    #[test]
    fn what_is_not_json_is_text_and_has_no_result() {
        for (kind, body) in [("text/plain", &b"pong"[..]), ("", b"pong"), ("application/json", b"")] {
            let reply = judged(200, kind, body, true).unwrap();
            assert_eq!(reply.body(), &MicetroBody::Text(String::from_utf8_lossy(body).into_owned()), "{kind}");
            assert!(reply.result().is_err());
        }
    }

    #[test]
    fn latin_1_is_read_where_it_is_said() {
        let reply = judged(200, "application/json; charset=ISO-8859-1", b"{\"result\":\"zo\xeb\"}", true).unwrap();
        assert_eq!(reply.result().unwrap(), "zoë");
    }

    #[test]
    fn an_answer_that_is_not_expected_is_an_error_that_says_what_came() {
        for (status, kind, body, message) in [
            (200, "application/json", &b"{"[..], "Micetro answered 200, with JSON that is broken"),
            (502, "text/html", b"<p>secret</p>", "Micetro answered 502, with text/html in the place of JSON"),
            (400, "", b"", "Micetro answered 400, with something in the place of JSON"),
            (500, "application/json", b"{}", "Micetro answered 500, with JSON that holds no error"),
            (302, "", b"", "Micetro answered 302, a redirect, which is not followed"),
            (201, "application/json", b"{}", "Micetro answered 201, which was not expected"),
        ] {
            let error = judged(status, kind, body, status == 200).unwrap_err();
            assert_eq!((error.message.as_str(), error.status), (message, Some(status)));
            assert_eq!(error.kind, MicetroErrorKind::UnexpectedAnswer);
        }
    }

    #[test]
    fn a_refusal_has_status_code_and_message() {
        let body = br#"{"error":{"code":2049,"message":"Object not found for reference"}}"#;
        let error = judged(400, "application/json", body, false).unwrap_err();
        assert_eq!((error.kind, error.status, error.code), (MicetroErrorKind::Refused, Some(400), Some(2049)));
        assert_eq!(error.message, "Object not found for reference");
    }
}
