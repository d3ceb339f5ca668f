//! The session of a user, as the services that hold its token see it.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::Span;

use crate::client::{Client, Subject};
use crate::correlation::CorrelationId;
use crate::error::Error;
use crate::platform_auth::PlatformAuth;
use crate::token::Ust;
use crate::v1::{self, GetPlatformAuthRequest, GetSessionRequest};

/// The session of a user, with the properties of `BlueCat` Gateway's `UserSession` under their own names.
///
/// It is a picture of the moment in which it was asked for: make one for each request of the user. Whether the session is still good
/// is seen by whatever is done with it. Clones are cheap, and share the platform's credential.
///
/// ```no_run
/// # use lanyard_client::{Client, Ust};
/// # async fn example(lanyard: Client, ust: Ust) -> Result<(), Box<dyn std::error::Error>> {
/// let session = lanyard.user_session(&ust).await?;
/// session.logger().in_scope(|| tracing::info!("{} is at work", session.username()));
/// # #[cfg(feature = "micetro")]
/// let servers = session.micetro_api().v2().http_get("/dnsServers").param("limit", 10).await?.into_value();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct UserSession {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) client: Client,
    ust: Ust,
    /// Without `session_auth`.
    message: v1::UserSession,
    session_auth: Ust,
    /// Of the call that asked for the session.
    correlation_id: CorrelationId,
    platform_auth: Mutex<Option<Arc<PlatformAuth>>>,
    #[cfg(feature = "micetro")]
    pub(crate) micetro: crate::micetro::State,
}

impl Client {
    /// The session whose token this is.
    pub async fn user_session(&self, ust: &Ust) -> Result<UserSession, Error> {
        self.on_behalf_of(ust).user_session().await
    }
}

impl Subject {
    /// The user's session.
    pub async fn user_session(&self) -> Result<UserSession, Error> {
        let correlation_id = self.client.id_of_call();
        let answer = self.client.call_as(&correlation_id, self.sign(GetSessionRequest::default())).await?;
        let mut message = answer.session.ok_or_else(|| Error::incomplete_answer("session", &correlation_id))?;
        let session_auth = std::mem::take(&mut message.session_auth);
        let session_auth = if session_auth.is_empty() { self.ust.clone() } else { Ust::new(session_auth) };
        let inner = Inner {
            client: self.client.clone(),
            ust: self.ust.clone(),
            message,
            session_auth,
            correlation_id,
            platform_auth: Mutex::default(),
            #[cfg(feature = "micetro")]
            micetro: crate::micetro::State::default(),
        };
        Ok(UserSession { inner: Arc::new(inner) })
    }
}

impl UserSession {
    /// The user's name.
    pub fn username(&self) -> &str {
        &self.message().username
    }

    /// The value that identifies this session in Lanyard: its token.
    pub fn session_auth(&self) -> &Ust {
        &self.inner.session_auth
    }

    /// The base URL of the server that authenticated the session: scheme, host and, only if it is configured, the port.
    /// Empty if that was no platform.
    pub fn authentication_url(&self) -> &str {
        &self.message().authentication_url
    }

    /// The host of [`Self::authentication_url`].
    pub fn authentication_host(&self) -> Option<&str> {
        self.message().authentication_host.as_deref()
    }

    /// The version of the server that authenticated the session, if it could be read.
    pub fn authentication_version(&self) -> Option<&str> {
        self.message().authentication_version.as_deref()
    }

    /// Whether the user was authenticated by a replication system.
    pub fn is_replication_user(&self) -> bool {
        self.message().is_replication_user
    }

    /// A span for what is done for this session: what is logged within it carries [`Self::logger_context`] and the correlation ID.
    ///
    /// The ID is that of the client, else of the current span, else of the call that asked for the session. With a
    /// [`CorrelationLayer`](crate::CorrelationLayer), calls made within the span carry it too.
    pub fn logger(&self) -> Span {
        let correlation_id = self.inner.id_of_call();
        tracing::info_span!("user_session", logger_context = self.logger_context(), %correlation_id)
    }

    /// A value for log lines, unique to this session: the username and a short hash of the session's ID.
    pub fn logger_context(&self) -> &str {
        &self.message().logger_context
    }

    /// The authenticated clients of the API of the Micetro that the session is for.
    #[cfg(feature = "micetro")]
    pub fn micetro_api(&self) -> crate::micetro::MicetroApi {
        crate::micetro::MicetroApi::new(self.clone())
    }

    /// The value of the header `Authorization` with which [`Self::micetro_url`] is called: `Bearer ...`, or `Basic ...`, which is the
    /// password in a readable form. `micetro_api` sends it by itself; take it only for a client of your own,
    /// and ask again rather than keep it.
    ///
    /// # Errors
    /// The calling service has no grant for it, the session has ended, or it is not logged in to a platform.
    pub async fn micetro_auth(&self) -> Result<SecretString, Error> {
        let auth = self.inner.platform_auth(&self.inner.id_of_call()).await?;
        Ok(auth.value().expose_secret().into())
    }

    /// The base URL of the Micetro that the session is for: scheme, host and, only if it is configured, the port. Empty if there is
    /// none.
    pub fn micetro_url(&self) -> &str {
        &self.message().micetro_url
    }

    /// The session's ID (`ses_...`), which is no secret.
    pub fn session_id(&self) -> &str {
        &self.message().session_id
    }

    /// The user's ID (`usr_...`).
    pub fn user_id(&self) -> &str {
        &self.message().user_id
    }

    /// What tells the sessions of one user apart, as it was given at the login.
    pub fn unique_name(&self) -> &str {
        &self.message().unique_name
    }

    /// The name of the platform that the session is logged in to; empty if it is none.
    pub fn platform(&self) -> &str {
        &self.message().platform
    }

    /// The user's groups on the platform, as they were at the login.
    pub fn groups(&self) -> &[String] {
        &self.message().groups
    }

    /// The message of the contract, with everything else; its `session_auth` is empty.
    pub fn message(&self) -> &v1::UserSession {
        &self.inner.message
    }
}

impl Inner {
    /// The ID that a call for this session made here and now has.
    pub(crate) fn id_of_call(&self) -> CorrelationId {
        let of_client = self.client.correlation_id.clone();
        of_client.or_else(CorrelationId::current).unwrap_or_else(|| self.correlation_id.clone())
    }

    /// The platform's credential: the one at hand for as long as it may be used, then a new one.
    pub(crate) async fn platform_auth(&self, id: &CorrelationId) -> Result<Arc<PlatformAuth>, Error> {
        let mut held = self.platform_auth.lock().await;
        if let Some(auth) = held.as_ref().filter(|auth| auth.may_be_used(Instant::now())) {
            return Ok(Arc::clone(auth));
        }
        self.fetch_into(&mut held, false, id).await
    }

    /// The credential after the platform refused one. Whoever comes second is given what the first was given.
    #[cfg(feature = "micetro")]
    pub(crate) async fn platform_auth_after(
        &self,
        refused: &Arc<PlatformAuth>,
        id: &CorrelationId,
    ) -> Result<Arc<PlatformAuth>, Error> {
        let mut held = self.platform_auth.lock().await;
        if let Some(auth) = held.as_ref().filter(|auth| !Arc::ptr_eq(auth, refused)) {
            return Ok(Arc::clone(auth));
        }
        self.fetch_into(&mut held, true, id).await
    }

    async fn fetch_into(
        &self,
        held: &mut Option<Arc<PlatformAuth>>,
        refused: bool,
        id: &CorrelationId,
    ) -> Result<Arc<PlatformAuth>, Error> {
        *held = None;
        let request = GetPlatformAuthRequest { ust: self.ust.expose().to_owned(), client: None, refused };
        // From before the call: the time that it takes is not added to the time that the server allows.
        let asked_at = Instant::now();
        let answer = self.client.call_as(id, request).await?;
        let auth = Arc::new(PlatformAuth::new(answer, asked_at));
        *held = Some(Arc::clone(&auth));
        Ok(auth)
    }

    #[cfg(feature = "micetro")]
    pub(crate) async fn forget_platform_auth(&self) {
        *self.platform_auth.lock().await = None;
    }
}
