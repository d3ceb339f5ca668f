//! Micetro's REST API, called with the credential of a user's session.
//!
//! ```no_run
//! use lanyard_client::{Client, Ust};
//! use serde_json::json;
//!
//! # async fn example(lanyard: Client, ust: Ust) -> Result<(), Box<dyn std::error::Error>> {
//! let session = lanyard.user_session(&ust).await?;
//! let micetro = session.micetro_api().v2();
//!
//! // What it answers is left as it is, in `result` ...
//! let servers = micetro.http_get("/dnsServers").param("filter", "state=OK").param("limit", 10).await?.into_value();
//! println!("{} servers", servers["result"]["totalResults"]);
//! // ... unless it is unwrapped.
//! let user = micetro.http_get("/users/.").await?.result()?;
//! println!("{}", user["user"]["fullName"]);
//!
//! let zone = json!({ "dnsZone": { "name": "example.net.", "type": "Master", "dnsViewRef": "dnsViews/1" } });
//! match micetro.http_post("/dnsZones").json(&zone).await {
//!     Ok(reply) => println!("{}", reply.result()?["ref"]),
//!     Err(error) if error.is_access_denied() => println!("not yours to do"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```

mod error;
mod http_client;
mod reply;
mod request;
mod send;
mod target;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;

use crate::user_session::UserSession;

pub use error::{MicetroError, MicetroErrorKind};
pub(crate) use http_client::HttpClients;
pub use reply::{MicetroBody, MicetroReply};
pub use request::MicetroRequest;
pub use target::path_segment;

/// What the clients of a session share.
#[derive(Debug, Default)]
pub(crate) struct State {
    closed: AtomicBool,
    version: Mutex<Option<String>>,
}

/// The authenticated clients of Micetro's API, one for each version of it.
#[derive(Clone, Debug)]
pub struct MicetroApi {
    session: UserSession,
}

impl MicetroApi {
    pub(crate) fn new(session: UserSession) -> Self {
        Self { session }
    }

    /// The client of version 2.
    pub fn v2(&self) -> MicetroClient {
        MicetroClient { session: self.session.clone() }
    }
}

/// A client of Micetro's REST API, version 2, that is logged in already. Clones are cheap, and share connections and credential.
///
/// Each call
/// - carries the session's credential to [`Self::micetro_url`] and nowhere else: no redirect is followed, and headers that would
///   change who is called or as whom are refused;
/// - carries the correlation ID and the trace context of the current span;
/// - has a deadline and a limit for the size of the answer, both from the platform's configuration in Lanyard;
/// - asks Lanyard once for a better credential when Micetro answers 401, and tries once more;
/// - is tried again a few times, if it changes nothing or changes the same when it is done twice (GET, PUT, DELETE), where no connection
///   could be made, the server is on standby, or it has too many connections of the user open.
#[derive(Clone, Debug)]
pub struct MicetroClient {
    pub(crate) session: UserSession,
}

impl MicetroClient {
    /// Reads. Any other status than 200 is an error.
    ///
    /// `path` begins below `/mmws/api/v2`, with `/`. What comes from elsewhere goes through [`path_segment`], or into
    /// [`MicetroRequest::param`].
    pub fn http_get(&self, path: &str) -> MicetroRequest {
        self.http_request(Method::GET, path)
    }

    /// Creates.
    pub fn http_post(&self, path: &str) -> MicetroRequest {
        self.http_request(Method::POST, path)
    }

    /// Changes.
    pub fn http_put(&self, path: &str) -> MicetroRequest {
        self.http_request(Method::PUT, path)
    }

    /// Changes in part.
    pub fn http_patch(&self, path: &str) -> MicetroRequest {
        self.http_request(Method::PATCH, path)
    }

    /// Removes.
    pub fn http_delete(&self, path: &str) -> MicetroRequest {
        self.http_request(Method::DELETE, path)
    }

    /// Any method.
    pub fn http_request(&self, method: Method, path: &str) -> MicetroRequest {
        MicetroRequest::new(self.clone(), method, path)
    }

    /// Whether there is a credential to call with: the session is good and logged in to a Micetro.
    ///
    /// # Errors
    /// Lanyard could not tell, or the calling service may not ask.
    pub async fn is_authenticated(&self) -> Result<bool, crate::Error> {
        use crate::ErrorReason::{PlatformSessionRequired, SessionInvalid};
        if self.is_closed() {
            return Ok(false);
        }
        let inner = &self.session.inner;
        match inner.platform_auth(&inner.id_of_call()).await {
            Ok(_) => Ok(true),
            Err(error) if [SessionInvalid, PlatformSessionRequired].contains(&error.reason) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Scheme, host and, only if it is configured, the port of what is called.
    pub fn micetro_url(&self) -> &str {
        self.session.micetro_url()
    }

    /// The version that Micetro says it is: `26.1.0`. It is asked once, without the credential.
    pub async fn micetro_version(&self) -> Result<String, MicetroError> {
        let known = || self.session.inner.micetro.version.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(version) = known().clone() {
            return Ok(version);
        }
        let reply = self.http_get("/command/web_getPreLoginInfo").without_credential().await?;
        let version = reply.version()?;
        *known() = Some(version.clone());
        Ok(version)
    }

    /// Lets go of the credential. Every call after it fails, on this client and on all others of the session object. The session stays
    /// as it is.
    pub async fn close(&self) {
        self.session.inner.micetro.closed.store(true, Ordering::Release);
        self.session.inner.forget_platform_auth().await;
    }

    fn is_closed(&self) -> bool {
        self.session.inner.micetro.closed.load(Ordering::Acquire)
    }
}
