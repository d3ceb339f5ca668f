//! The switches.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use futures::stream;

use super::reply::{JSON, Refusal};

/// How the server is set up.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// HTTP Basic is allowed.
    pub basic: bool,
    /// `POST /micetro/sessions` and `Bearer` are there: version 11.1 and later.
    pub bearer: bool,
    /// How long a session is good.
    pub session_ttl: Duration,
    /// Whether that counts from when it was last used, or from its beginning.
    pub activity_extends: bool,
    /// How many sessions a user may have at once.
    pub connection_cap: Option<usize>,
    /// What it says it is; `None`: it does not say.
    pub version: Option<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            basic: true,
            bearer: true,
            session_ttl: Duration::from_mins(15),
            activity_extends: true,
            connection_cap: None,
            version: Some("26.1.0".to_owned()),
        }
    }
}

/// A fault, where it shows, and how often.
#[derive(Clone, Debug)]
pub struct Injection {
    pub(super) fault: Fault,
    path: Option<String>,
    method: Option<&'static str>,
    times: Option<usize>,
}

impl Injection {
    /// On every request, for ever.
    pub fn new(fault: Fault) -> Self {
        Self { fault, path: None, method: None, times: None }
    }

    /// Only on paths that begin with this one, which begins below `/mmws/api/v2`.
    #[must_use]
    pub fn at(self, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }

    /// Only on requests of this method.
    #[must_use]
    pub fn on(self, method: &'static str) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Only the next so many times.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }

    /// The fault, if it shows on this request; that is one time less.
    pub(super) fn take(&mut self, method: &str, path: &str) -> Option<Fault> {
        let elsewhere = self.path.as_ref().is_some_and(|at| !path.starts_with(at.as_str()));
        if elsewhere || self.method.is_some_and(|on| on != method) {
            return None;
        }
        if let Some(times) = &mut self.times {
            *times = times.checked_sub(1)?;
        }
        Some(self.fault.clone())
    }
}

/// One way to behave badly.
#[derive(Clone, Debug)]
pub enum Fault {
    // Nothing is done, and something else is answered.
    /// A refusal in Micetro's form.
    Refuse(Refusal),
    /// A page of a proxy, with this status.
    Html(u16),
    /// JSON with this status and no `error` in it.
    ErrorWithoutError(u16),
    /// 302 to the same path below this URL.
    Redirect(String),
    /// No answer, for ever.
    Silence,
    // It is done, and the answer comes out wrong.
    /// Another status than is usual.
    Status(u16),
    NoContentType,
    /// JSON that ends in the middle.
    BrokenJson,
    /// Nothing in the body.
    EmptyBody,
    /// White space of this length before the answer, which stays valid.
    Huge(usize),
    /// White space without end, as fast as it is taken.
    Endless,
    /// White space without end, a byte at a time.
    Trickle,
    /// The connection breaks in the middle of the answer.
    Dropped,
    /// Not the promised JSON, but text.
    Text,
}

impl Fault {
    /// The answer in the place of the real one, where nothing is to be done.
    pub(super) async fn instead(&self, path_and_query: &str) -> Option<Response> {
        Some(match self {
            Self::Refuse(refusal) => refusal.clone().into_response(),
            Self::Html(code) => {
                let page = format!("<!doctype html><html><head><title>{code}</title></head><body>nginx</body></html>");
                (status(*code), [(header::CONTENT_TYPE, "text/html")], page).into_response()
            }
            Self::ErrorWithoutError(code) => {
                (status(*code), [(header::CONTENT_TYPE, JSON)], r#"{"message":"no"}"#).into_response()
            }
            Self::Redirect(to) => {
                (StatusCode::FOUND, [(header::LOCATION, format!("{to}{path_and_query}"))]).into_response()
            }
            Self::Silence => std::future::pending().await,
            _ => return None,
        })
    }

    /// The real answer, made wrong.
    pub(super) async fn spoil(&self, answer: Response) -> Response {
        let (mut parts, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("an answer of our own");
        let half = body.slice(..body.len() / 2);
        parts.headers.remove(header::CONTENT_LENGTH);
        let body = match self {
            Self::Status(code) => {
                parts.status = status(*code);
                Body::from(body)
            }
            Self::NoContentType => {
                parts.headers.remove(header::CONTENT_TYPE);
                Body::from(body)
            }
            Self::BrokenJson => Body::from(half),
            Self::EmptyBody => Body::empty(),
            Self::Huge(length) => Body::from([vec![b' '; *length].as_slice(), &body].concat()),
            Self::Endless => Body::from_stream(white_space(64 * 1024)),
            Self::Trickle => Body::from_stream(white_space(1).then(|byte| async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                byte
            })),
            Self::Dropped => {
                let broken = Err(std::io::Error::other("the connection breaks"));
                Body::from_stream(stream::iter([Ok(half), broken]))
            }
            Self::Text => {
                parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
                Body::from("pong")
            }
            _ => Body::from(body),
        };
        Response::from_parts(parts, body)
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("a status")
}

fn white_space(chunk: usize) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    let chunk = Bytes::from(vec![b' '; chunk]);
    stream::repeat_with(move || Ok(chunk.clone()))
}
