//! Micetro: logs users in and out, and checks credentials.
//!
//! Success takes the expected status and JSON with the expected content. Otherwise [`answer`] decides: a refusal or a
//! fault.

mod answer;
mod call;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{Method, StatusCode};
use serde_json::json;
use tracing::Instrument;
use zeroize::Zeroizing;

use crate::config::{self, CredentialMode, Origin};
use crate::error::{Error, Fault};
use answer::{Listed, OpenedSession, PreLogin, Whose, base_version};
use call::{Call, Calls};

pub use answer::Problem;

const SESSIONS: &str = "/mmws/api/v2/micetro/sessions";
/// The request with which the vendor's own client checks a credential.
const PROBE: &str = "/mmws/api/v2/addressSpaces?limit=1";
const WHO: &str = "/mmws/api/v2/users/.";
/// Needs no credential.
const PRE_LOGIN: &str = "/mmws/api/v2/command/web_getPreLoginInfo";
/// API version 2 has no logout; JSON-RPC has.
const JSON_RPC: &str = "/mmws/json";
const BEARER: &str = "Bearer ";
/// A login waits for the optional version for `timeout / VERSION_PART` at most.
const VERSION_PART: u32 = 2;

/// A Micetro client. Clones share its connections.
#[derive(Clone)]
pub struct Micetro {
    shared: Arc<Shared>,
}

struct Shared {
    calls: Calls,
    mode: CredentialMode,
    timeout: Duration,
}

/// The result of a login.
pub struct LoggedIn {
    pub credential: Credential,
    /// As the platform spells it.
    pub username: String,
    /// The names of the user's roles, their own and those of their groups.
    pub roles: Vec<String>,
    /// `None`: it could not be read.
    pub version: Option<String>,
}

/// The `Authorization` value of a login. Dropping it logs the session out, except after [`Self::keep`].
pub struct Credential {
    micetro: Micetro,
    authorization: Zeroizing<String>,
    is_kept: AtomicBool,
}

impl Credential {
    pub fn expose(&self) -> &str {
        &self.authorization
    }

    /// The credential is stored: whoever deletes it logs it out.
    pub fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        if self.is_kept.load(Ordering::Relaxed) || !self.authorization.starts_with(BEARER) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (micetro, authorization) = (self.micetro.clone(), std::mem::take(&mut self.authorization));
        runtime.spawn(async move { micetro.log_out(&authorization).await }.in_current_span());
    }
}

impl Micetro {
    pub fn new(name: &str, config: &config::Platform, origin: &Origin) -> Self {
        let calls = Calls::new(name, config, origin);
        Self { shared: Arc::new(Shared { calls, mode: config.credential, timeout: config.timeout }) }
    }

    /// The trusted CA certificates as PEM; `None`: the system's.
    pub fn authorities(&self) -> std::result::Result<Option<Arc<str>>, String> {
        self.shared.calls.authorities()
    }

    /// Logs in and reads the user's name and roles.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn log_in(&self, username: &str, password: &str) -> Result<LoggedIn, Problem> {
        let version = tokio::time::timeout(self.shared.timeout / VERSION_PART, self.version());
        let login = async {
            let credential = self.credential(username, password).await?;
            let whose: Whose = self.get(WHO, Some(credential.expose())).await?;
            Ok::<_, Problem>((credential, whose.user))
        };
        let (login, version) = self.in_time(async { Ok(tokio::join!(login, version)) }).await?;
        let (credential, user) = login?;
        let (username, roles) = user.name_and_roles().ok_or_else(|| unusable("says of nobody who they are"))?;
        Ok(LoggedIn { credential, username, roles, version: version.ok().and_then(Result::ok).flatten() })
    }

    /// Opens a new session for a user who had one.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn log_in_again(&self, username: &str, password: &str) -> Result<Credential, Problem> {
        self.in_time(self.credential(username, password)).await
    }

    async fn credential(&self, username: &str, password: &str) -> Result<Credential, Problem> {
        let authorization = match self.shared.mode {
            CredentialMode::Bearer => {
                let login = json!({ "loginName": username, "password": password }).to_string();
                // Never retried: the first may have opened a session.
                let call = Call::new(Method::POST, SESSIONS, StatusCode::CREATED).with_body(login.into_bytes());
                let opened: OpenedSession = self.shared.calls.once(&call).await?.parsed()?;
                opened.authorization(BEARER).ok_or_else(|| unusable("gives a session that cannot be used"))?
            }
            CredentialMode::Basic => {
                let authorization = basic(username, password).ok_or(Problem::Refused { code: None })?;
                let _: Listed = self.get(PROBE, Some(&authorization)).await?;
                authorization
            }
        };
        Ok(Credential { micetro: self.clone(), authorization, is_kept: AtomicBool::new(false) })
    }

    /// Checks that the credential is still valid. Access denied proves that too.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn probe(&self, authorization: &str) -> Result<(), Problem> {
        match self.in_time(self.get::<Listed>(PROBE, Some(authorization))).await {
            Ok(_) | Err(Problem::Fault(Error::PlatformAccessDenied { .. })) => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    /// Its version, if reported; needs no credential.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn look(&self) -> Result<Option<String>, Problem> {
        self.in_time(self.version()).await
    }

    /// Logs a session out; best effort, since nothing depends on it.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn log_out(&self, authorization: &str) {
        let Some(session) = authorization.strip_prefix(BEARER) else { return };
        let logout = json!({ "jsonrpc": "2.0", "id": 1, "method": "Logout", "params": { "session": session } });
        let call = Call::new(Method::POST, JSON_RPC, StatusCode::OK).with_body(logout.to_string().into_bytes());
        if let Err(problem) = self.in_time(async { Ok(self.shared.calls.once(&call).await?) }).await {
            tracing::debug!(platform = self.shared.calls.name(), %problem, "a session of the platform was not logged out");
        }
    }

    async fn version(&self) -> Result<Option<String>, Problem> {
        let info: PreLogin = self.get(PRE_LOGIN, None).await?;
        Ok(info.central_version.as_deref().and_then(base_version))
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &'static str,
        authorization: Option<&str>,
    ) -> Result<T, Problem> {
        let call = Call::get(path);
        let call = authorization.map_or(call.clone(), |authorization| call.with_authorization(authorization));
        Ok(self.shared.calls.repeatedly(&call).await?.parsed()?)
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        let limit = self.shared.timeout;
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let source = format!("{}: no answer within {limit:?}", self.shared.calls.name());
            Err(unavailable("does not answer in time", source).into())
        })
    }
}

/// `None` if the name contains a colon (RFC 7617).
fn basic(username: &str, password: &str) -> Option<Zeroizing<String>> {
    if username.contains(':') {
        return None;
    }
    let plain = Zeroizing::new(format!("{username}:{password}"));
    Some(Zeroizing::new(format!("Basic {}", *Zeroizing::new(BASE64.encode(plain.as_bytes())))))
}

fn unavailable(problem: &'static str, source: impl Into<String>) -> Error {
    Error::PlatformUnavailable { problem, code: None, source: Fault(source.into()) }
}

fn unusable(problem: &'static str) -> Problem {
    Error::PlatformAnswerInvalid { problem, code: None, source: Fault(problem.to_owned()) }.into()
}
