//! A plain client of HTTP.

use axum::body::{Body, Bytes};
use http::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// What was answered.
#[derive(Debug)]
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Page {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Sends a request on a connection of its own.
///
/// # Errors
/// The connection broke before the whole answer was there.
///
/// # Panics
/// If the URL or a header is none.
pub async fn request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Result<Page, Box<dyn std::error::Error + Send + Sync>> {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = client.request(request.body(body.into()).expect("a request")).await?;
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(Body::new(body), usize::MAX).await?;
    Ok(Page { status: parts.status, headers: parts.headers, body })
}

/// Sends a GET.
///
/// # Panics
/// If there is no whole answer.
pub async fn get(url: &str, headers: &[(&str, &str)]) -> Page {
    request(Method::GET, url, headers, Body::empty()).await.expect("a whole answer")
}
