//! A call: its credential, its attempts, its deadline.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use lanyard_proto::CORRELATION_ID_HEADER;
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, sleep, timeout};

use super::error::{MicetroError, MicetroErrorKind};
use super::http_client::{Http, Way};
use super::reply::MicetroReply;
use super::request::MicetroRequest;
use super::target::target;
use crate::builder::LONGEST_DEADLINE;
use crate::correlation::{CorrelationId, inject_trace_context};
use crate::platform_auth::PlatformAuth;
use crate::v1::PlatformSettings;

const BASE: &str = "/mmws/api/v2";
/// Where a server older than the settings sends none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_RESPONSE_BYTES: usize = 16 << 20;

pub(super) async fn send(request: &MicetroRequest) -> Result<MicetroReply, MicetroError> {
    let session = &request.client.session;
    let id = session.inner.id_of_call();
    let began = Instant::now();
    let call = Call { request, id: &id };
    let outcome = match request.deadline {
        Some(deadline) => {
            timeout(deadline.min(LONGEST_DEADLINE), call.run()).await.unwrap_or_else(|_| Err(call.late()))
        }
        None => call.run().await,
    };
    // Without the query, which may hold anything.
    let path = request.path.split('?').next().unwrap_or_default();
    let status = outcome.as_ref().map_or_else(|error| error.status, |reply| Some(reply.status()));
    tracing::debug!(
        logger_context = session.logger_context(),
        correlation_id = %id,
        method = %request.method,
        path,
        status,
        error = outcome.as_ref().err().map(tracing::field::display),
        elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "called Micetro"
    );
    outcome
}

struct Call<'a> {
    request: &'a MicetroRequest,
    id: &'a CorrelationId,
}

/// What all attempts have in common.
struct Prepared {
    http: Http,
    uri: Uri,
    headers: HeaderMap,
    max_bytes: usize,
    max_attempts: u32,
}

impl Call<'_> {
    async fn run(&self) -> Result<MicetroReply, MicetroError> {
        let request = self.request;
        let invalid = |problem: &str| MicetroError::new(MicetroErrorKind::InvalidRequest, problem, self.id);
        if request.client.is_closed() {
            return Err(invalid("the client was closed"));
        }
        if let Some(problem) = &request.problem {
            return Err(invalid(problem));
        }
        let target = target(&request.path, &request.params).map_err(invalid)?;
        let auth = request.client.session.inner.platform_auth(self.id).await.map_err(MicetroError::no_credential)?;
        let prepared = self.prepare(&auth, &target)?;
        let attempts = timeout(duration(auth.settings.timeout, TIMEOUT), self.attempts(&prepared, auth));
        attempts.await.unwrap_or_else(|_| Err(self.late()))
    }

    fn late(&self) -> MicetroError {
        MicetroError::new(MicetroErrorKind::DeadlineExceeded, "Micetro did not answer within the deadline", self.id)
    }

    fn prepare(&self, auth: &PlatformAuth, target: &str) -> Result<Prepared, MicetroError> {
        let unusable = |problem: String| MicetroError::new(MicetroErrorKind::InvalidRequest, problem, self.id);
        let PlatformSettings { connect_timeout, max_response_bytes, max_attempts, ca_certificates, .. } =
            &auth.settings;
        let way = Way {
            ca_certificates: ca_certificates.clone(),
            connect_timeout: duration(*connect_timeout, CONNECT_TIMEOUT),
        };
        let clients = &self.request.client.session.inner.client.shared.micetro;
        let http = clients.client(&way).map_err(|error| unusable(format!("the platform's TLS settings: {error}")))?;
        let uri = format!("{}{BASE}{target}", auth.micetro_url).parse();
        let max_bytes = usize::try_from(*max_response_bytes).unwrap_or(usize::MAX);
        Ok(Prepared {
            http,
            uri: uri.map_err(|_| unusable("the platform's URL and the path make no URL".to_owned()))?,
            headers: self.headers(),
            max_bytes: if max_bytes == 0 { MAX_RESPONSE_BYTES } else { max_bytes },
            max_attempts: (*max_attempts).max(1),
        })
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = self.request.headers.clone();
        headers
            .entry(header::USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("lanyard-client/", env!("CARGO_PKG_VERSION"))));
        inject_trace_context(&mut headers);
        if let Ok(id) = HeaderValue::from_str(self.id.as_str()) {
            headers.insert(CORRELATION_ID_HEADER, id);
        }
        headers
    }

    async fn attempts(&self, prepared: &Prepared, mut auth: Arc<PlatformAuth>) -> Result<MicetroReply, MicetroError> {
        let session = &self.request.client.session.inner;
        let (mut failures, mut may_renew) = (0, self.request.with_credential);
        loop {
            let error = match self.attempt(prepared, &auth).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            // Whoever is refused has done nothing, so that anything may be sent again.
            if may_renew && error.status == Some(401) {
                may_renew = false;
                let renewed = session.platform_auth_after(&auth, self.id).await;
                auth = renewed.map_err(MicetroError::no_credential)?;
                continue;
            }
            failures += 1;
            let is_enough = failures >= prepared.max_attempts || !self.request.method.is_idempotent();
            if is_enough || !error.may_be_tried_again() {
                return Err(error);
            }
            let wait = session.client.shared.retry.backoff(failures, fastrand::f64());
            tracing::debug!(correlation_id = %self.id, %error, failures, ?wait, "trying Micetro again");
            sleep(wait).await;
        }
    }

    async fn attempt(&self, prepared: &Prepared, auth: &PlatformAuth) -> Result<MicetroReply, MicetroError> {
        let mut request = Request::new(Full::new(self.request.body.clone()));
        *request.method_mut() = self.request.method.clone();
        *request.uri_mut() = prepared.uri.clone();
        *request.headers_mut() = prepared.headers.clone();
        if self.request.with_credential {
            request.headers_mut().insert(header::AUTHORIZATION, self.authorization(auth)?);
        }
        let answer = prepared.http.request(request).await.map_err(|error| self.failed(&error))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, prepared.max_bytes).collect().await.map_err(|error| self.broken(&*error))?;
        let status = parts.status.as_u16();
        MicetroReply::judge((status, &parts.headers, &body.to_bytes()), self.request.expects(status), self.id)
    }

    fn authorization(&self, auth: &PlatformAuth) -> Result<HeaderValue, MicetroError> {
        let mut value = HeaderValue::from_str(auth.value().expose_secret()).map_err(|_| {
            MicetroError::new(
                MicetroErrorKind::InvalidRequest,
                "the credential has characters that no header has",
                self.id,
            )
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn failed(&self, error: &hyper_util::client::legacy::Error) -> MicetroError {
        if error.is_connect() {
            let message = format!("no connection to Micetro{}", causes(error));
            return MicetroError::not_connected(message, self.id);
        }
        let message = format!("the connection to Micetro broke{}", causes(error));
        MicetroError::new(MicetroErrorKind::Connection, message, self.id)
    }

    fn broken(&self, error: &(dyn std::error::Error + Send + Sync + 'static)) -> MicetroError {
        if error.is::<LengthLimitError>() {
            let message = "the answer of Micetro is larger than the platform's `max_response_bytes`";
            return MicetroError::new(MicetroErrorKind::TooLarge, message, self.id);
        }
        let message = format!("the connection to Micetro broke within the answer: {error}");
        MicetroError::new(MicetroErrorKind::Connection, message, self.id)
    }
}

/// The client itself says no more than that something failed.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(String::new(), |told, cause| format!("{told}: {cause}"))
}

fn duration(configured: Option<prost_types::Duration>, otherwise: Duration) -> Duration {
    let configured = configured.and_then(|duration| Duration::try_from(duration).ok());
    configured.filter(|duration| !duration.is_zero()).unwrap_or(otherwise).min(LONGEST_DEADLINE)
}
