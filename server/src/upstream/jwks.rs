//! Fetches and caches the JWK sets of token issuers.
//!
//! One fetch per URL at a time, and at most one per [`min_refresh`](config::Jwt::jwks_min_refresh): tokens with made-up
//! key IDs cannot flood the URL. A fetch outlives the call that started it, so that impatient callers do not restart a
//! slow one forever.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use tracing::{Instrument, Span};

use super::http::{Connector, carry_trace, client_span, connector, with_sources};
use crate::clock::{Clock, Time};
use crate::config;
use crate::crypto::jwt::PublicKeys;
use crate::error::{Error, Fault, Result};

/// Capacity in URLs; the least used are evicted.
const URLS: usize = 10_000;
const MAX_URL: usize = 1024;
/// Minimum retry delay.
const RETRY: Duration = Duration::from_secs(1);

type Http = Client<Connector, Empty<Bytes>>;

/// The cached sets. Clones share them.
#[derive(Clone)]
pub struct Jwks {
    shared: Arc<Shared>,
}

struct Shared {
    config: config::Jwt,
    clock: Clock,
    /// Built on first use: it reads all system certificates.
    http: OnceLock<Http>,
    urls: quick_cache::sync::Cache<String, Arc<Source>>,
}

/// The state of one URL.
#[derive(Default)]
struct Source {
    known: Mutex<Known>,
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Default)]
struct Known {
    keys: Option<Arc<PublicKeys>>,
    fetched_at: Time,
    tried_at: Option<Time>,
    /// Why the last fetch failed, if it did.
    failure: Option<String>,
}

impl Jwks {
    pub fn new(config: config::Jwt, clock: Clock) -> Self {
        let urls = quick_cache::sync::Cache::new(URLS);
        Self { shared: Arc::new(Shared { config, clock, http: OnceLock::new(), urls }) }
    }

    /// Checks that keys may be fetched from a URL; `Err` says what is wrong.
    pub fn check_url(&self, url: &str) -> std::result::Result<(), &'static str> {
        if url.len() > MAX_URL {
            return Err("is longer than 1024 bytes");
        }
        let uri: Uri = url.parse().map_err(|_| "is no URL")?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if self.shared.config.allow_http_jwks => {}
            _ => return Err("must begin with https://"),
        }
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err("must not have a username or password");
        }
        Ok(())
    }

    /// The keys of a URL: cached ones if younger than `jwks_max_age` and sufficient, otherwise fetched. If fetching
    /// fails, stale ones, for up to `jwks_stale` more.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn keys(&self, url: &str, suffice: impl Fn(&PublicKeys) -> bool) -> Result<Arc<PublicKeys>> {
        let shared = &self.shared;
        let source = shared.source(url);
        let good = |keys: Option<Arc<PublicKeys>>| keys.filter(|keys| suffice(keys));
        if let Some(keys) = good(shared.fresh(&source)) {
            return Ok(keys);
        }
        let fetching = if let Ok(fetching) = Arc::clone(&source.fetching).try_lock_owned() {
            fetching
        } else {
            // Another call is fetching, which may take long.
            if let Some(keys) = good(shared.usable(&source)) {
                return Ok(keys);
            }
            Arc::clone(&source.fetching).lock_owned().await
        };
        if let Some(keys) = good(shared.fresh(&source)) {
            return Ok(keys);
        }
        if shared.may_try(&source) {
            let (shared, source, url) = (Arc::clone(shared), Arc::clone(&source), url.to_owned());
            let fetch = async move {
                let _fetching = fetching;
                shared.refresh(&source, &url).await;
            };
            tokio::spawn(fetch.in_current_span()).await.map_err(Error::internal)?;
        }
        shared.outcome(&source, suffice)
    }
}

impl Shared {
    fn source(&self, url: &str) -> Arc<Source> {
        let made = || Ok::<_, std::convert::Infallible>(Arc::default());
        match self.urls.get_or_insert_with(url, made) {
            Ok(source) => source,
            Err(never) => match never {},
        }
    }

    fn fresh(&self, source: &Source) -> Option<Arc<PublicKeys>> {
        source.known.lock().younger_than(self.config.jwks_max_age, self.clock.now())
    }

    fn usable(&self, source: &Source) -> Option<Arc<PublicKeys>> {
        let (max_age, stale) = (self.config.jwks_max_age, self.config.jwks_stale);
        source.known.lock().younger_than(max_age + stale, self.clock.now())
    }

    fn may_try(&self, source: &Source) -> bool {
        let tried_at = source.known.lock().tried_at;
        tried_at.is_none_or(|tried_at| self.clock.now() >= tried_at + self.config.jwks_min_refresh)
    }

    async fn refresh(&self, source: &Source, url: &str) {
        let now = self.clock.now();
        source.known.lock().tried_at = Some(now);
        let fetched = match tokio::time::timeout(self.config.jwks_timeout, self.fetch(url)).await {
            Ok(outcome) => outcome,
            Err(_) => Err("no answer in time".to_owned()),
        };
        let mut known = source.known.lock();
        match fetched {
            Ok(keys) => {
                *known = Known { keys: Some(Arc::new(keys)), fetched_at: now, tried_at: Some(now), failure: None };
            }
            Err(failure) => known.failure = Some(failure),
        }
    }

    /// The final result. Keys that do not suffice are returned too, unless the last fetch failed.
    fn outcome(&self, source: &Source, suffice: impl Fn(&PublicKeys) -> bool) -> Result<Arc<PublicKeys>> {
        let usable = self.usable(source);
        let known = source.known.lock();
        match usable {
            Some(keys) if known.failure.is_none() || suffice(&keys) => Ok(keys),
            _ => {
                let next = known.tried_at.unwrap_or_default() + self.config.jwks_min_refresh;
                let reason = known.failure.clone().unwrap_or_else(|| "the keys are too old".to_owned());
                Err(Error::KeysUnavailable {
                    retry_after: next.since(self.clock.now()).max(RETRY),
                    source: Fault(format!("JWK set: {reason}")),
                })
            }
        }
    }

    async fn fetch(&self, url: &str) -> std::result::Result<PublicKeys, String> {
        let uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
        let host = uri.host().unwrap_or_default().to_owned();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let span = client_span(&Method::GET, &host, port);
        let fetched = self.fetch_from(uri, &host).instrument(span.clone()).await;
        if fetched.is_err() {
            span.record("error.type", "_OTHER");
        }
        fetched
    }

    async fn fetch_from(&self, uri: Uri, host: &str) -> std::result::Result<PublicKeys, String> {
        let failed = |problem: &dyn std::fmt::Display| format!("{host}: {problem}");
        let mut request = Request::get(uri)
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, "lanyard")
            .body(Empty::new())
            .map_err(|problem| failed(&problem))?;
        carry_trace(request.headers_mut());
        let answer = self.http()?.request(request).await.map_err(|problem| failed(&with_sources(&problem)))?;
        Span::current().record("http.response.status_code", answer.status().as_u16());
        // Redirects are not followed: a super-user trusts this URL, not its targets.
        if answer.status() != StatusCode::OK {
            return Err(failed(&format_args!("answered {}", answer.status())));
        }
        let body = Limited::new(answer.into_body(), self.config.jwks_max_bytes).collect().await;
        let body = body.map_err(|problem| failed(&problem))?.to_bytes();
        PublicKeys::fetched(&body).map_err(|_| failed(&"the answer is no JWK set"))
    }

    fn http(&self) -> std::result::Result<&Http, String> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        // `jwks_timeout` covers connecting.
        let connector = connector(None, None, self.config.allow_http_jwks)?;
        let http = Client::builder(TokioExecutor::new())
            // Fetches are minutes apart: pooling is not worth it.
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(self.http.get_or_init(|| http))
    }
}

impl Known {
    fn younger_than(&self, age: Duration, now: Time) -> Option<Arc<PublicKeys>> {
        self.keys.clone().filter(|_| now < self.fetched_at + age)
    }
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;
