//! A call of Micetro, in the making.

use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::Serialize;

use super::MicetroClient;
use super::error::MicetroError;
use super::reply::MicetroReply;

/// Whoever sets these could change who is called, as whom, or where the request ends.
const OURS: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
];

/// A call of Micetro. It is made when it is awaited.
#[derive(Debug)]
#[must_use = "nothing is sent before it is awaited"]
pub struct MicetroRequest {
    pub(super) client: MicetroClient,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) params: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    expected: Option<Vec<u16>>,
    pub(super) deadline: Option<Duration>,
    pub(super) with_credential: bool,
    /// The first thing that was wrong.
    pub(super) problem: Option<String>,
}

impl MicetroRequest {
    pub(super) fn new(client: MicetroClient, method: Method, path: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Self {
            client,
            method,
            path: path.to_owned(),
            params: Vec::new(),
            headers,
            body: Bytes::new(),
            expected: None,
            deadline: None,
            with_credential: true,
            problem: None,
        }
    }

    /// A parameter of the query, encoded here.
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are given as they stand")]
    pub fn param(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.params.push((name.into(), value.to_string()));
        self
    }

    /// A header. `Authorization`, `Cookie`, `Host` and those that say where the request ends are refused when it is sent.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            (Ok(name), _) if OURS.contains(&name) => {
                self.refuse(format!("the header {name} is not for callers to set"));
            }
            (Ok(name), Ok(value)) => drop(self.headers.insert(name, value)),
            _ => self.refuse("a header has characters that headers do not have".to_owned()),
        }
        self
    }

    /// What is sent, as JSON.
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(json) => self.body("application/json", json),
            Err(error) => {
                self.refuse(format!("the body cannot be written as JSON: {error}"));
                self
            }
        }
    }

    /// What is sent, whatever it is.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(header::CONTENT_TYPE.as_str(), content_type)
    }

    /// Which statuses are no errors, in the place of the usual: 200 for GET, any of 2xx for the others.
    pub fn expected_status_codes(mut self, codes: impl IntoIterator<Item = u16>) -> Self {
        self.expected = Some(codes.into_iter().collect());
        self
    }

    /// How long the call may take with all that it takes, the credential included. Without it the platform's `timeout` counts from when
    /// there is a credential.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    pub(super) fn without_credential(mut self) -> Self {
        self.with_credential = false;
        self
    }

    /// Makes the call; `.await` on the request does the same.
    pub async fn send(self) -> Result<MicetroReply, MicetroError> {
        super::send::send(&self).await
    }

    pub(super) fn expects(&self, status: u16) -> bool {
        match &self.expected {
            Some(codes) => codes.contains(&status),
            None if self.method == Method::GET => status == 200,
            None => (200..300).contains(&status),
        }
    }

    fn refuse(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }
}

impl IntoFuture for MicetroRequest {
    type Output = Result<MicetroReply, MicetroError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
