//! What was asked.

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::request::Parts;

/// A request as it came, before anything was made of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which front end it came to.
    pub front_end: usize,
    pub method: String,
    /// As it was written, encoded as it was.
    pub path: String,
    /// The same, where there was a `?`.
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub(super) fn new(front_end: usize, parts: &Parts, body: Bytes) -> Self {
        Self {
            front_end,
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers.clone(),
            body,
        }
    }

    /// A header, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The credential that it came with.
    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    /// Path and query below `/mmws/api/v2`.
    pub fn target(&self) -> String {
        let path = self.path.strip_prefix(super::api::BASE).unwrap_or(&self.path);
        self.query.as_ref().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
    }
}
