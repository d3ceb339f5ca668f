//! Sessions: log in, verify, look, renew, log out.

use prost_types::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use crate::client::{Client, Subject};
use crate::error::Error;
use crate::page::Pages;
use crate::token::Ust;
use crate::v1::create_session_request::Credential;
use crate::v1::revoke_sessions_request::Target;
use crate::v1::{
    BasicAuthCredential, BatchVerifySessionsRequest, CreateSessionRequest, GetSessionRequest, JwtCredential,
    ListSessionsRequest, PasswordCredential, PlatformCredential, RenewSessionRequest, RevokeSessionRequest,
    RevokeSessionsRequest, SessionToVerify, UserSession, VerifySessionRequest, Warning,
};
use crate::verdict::Verdict;

/// A login that succeeded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Login {
    /// The token. That of a login with a password cannot be shown again.
    pub ust: Ust,
    /// The new session, or the live one of the same external credential.
    pub session: UserSession,
    /// What the user should know: the password expires soon, ...
    pub warnings: Vec<Warning>,
}

/// A session with more time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Renewal {
    /// The session.
    pub session: UserSession,
    /// The new token, if there is one: hand it to the user in the place of the old one.
    pub ust: Option<Ust>,
    /// Until when the old token keeps working; only with a new one.
    pub grace_time: Option<Timestamp>,
}

impl Client {
    /// Logs a user in with username and password. For a code or a new password see [`Self::create_session`].
    pub async fn log_in(&self, username: &str, password: &SecretString) -> Result<Login, Error> {
        let password = password.expose_secret().to_owned();
        let credential =
            PasswordCredential { username: username.to_owned(), password, ..PasswordCredential::default() };
        self.create_session(Credential::Password(credential)).await
    }

    /// Logs in the user that a basic-auth definition is linked to, into the live session of that definition or a new one.
    pub async fn log_in_basic_auth(&self, username: &str, secret: &SecretString) -> Result<Login, Error> {
        let secret = secret.expose_secret().to_owned();
        let credential = BasicAuthCredential { username: username.to_owned(), secret };
        self.create_session(Credential::BasicAuth(credential)).await
    }

    /// Logs in the user that the definition of a JWT is linked to, into the live session of that token or a new one. For a
    /// code see [`Self::create_session`].
    pub async fn log_in_jwt(&self, token: &SecretString) -> Result<Login, Error> {
        let token = token.expose_secret().to_owned();
        self.create_session(Credential::Jwt(JwtCredential { token, ..JwtCredential::default() })).await
    }

    /// Logs in the user who has this name on a platform, with the password there. For a code or a unique name see
    /// [`Self::create_session`].
    pub async fn log_in_platform(
        &self,
        platform: &str,
        username: &str,
        password: &SecretString,
    ) -> Result<Login, Error> {
        let credential = PlatformCredential {
            platform: platform.to_owned(),
            username: username.to_owned(),
            password: password.expose_secret().to_owned(),
            ..PlatformCredential::default()
        };
        self.create_session(Credential::Platform(credential)).await
    }

    /// Logs a user in.
    pub async fn create_session(&self, credential: Credential) -> Result<Login, Error> {
        let request = CreateSessionRequest { credential: Some(credential), ..CreateSessionRequest::default() };
        self.call_for(request, "session or token", |answer| {
            let session = answer.session.filter(|_| !answer.ust.is_empty())?;
            Some(Login { ust: Ust::new(answer.ust), session, warnings: answer.warnings })
        })
        .await
    }

    /// Asks whether a token is good, and counts this as the user's activity.
    pub async fn verify(&self, ust: &Ust) -> Result<Verdict, Error> {
        self.verify_session(ust, false).await
    }

    /// Asks whether a token is good, and does not count this as the user's activity.
    pub async fn peek(&self, ust: &Ust) -> Result<Verdict, Error> {
        self.verify_session(ust, true).await
    }

    async fn verify_session(&self, ust: &Ust, peek: bool) -> Result<Verdict, Error> {
        let request = VerifySessionRequest { ust: ust.expose().to_owned(), client: None, peek };
        self.call(request).await.map(Verdict::from)
    }

    /// Asks about up to 500 tokens at once: one verdict each, in the same order. Takes `&Ust`, or [`SessionToVerify`]
    /// where each user is elsewhere. Counts as the users' activity.
    pub async fn batch_verify<S: Into<SessionToVerify>>(
        &self,
        sessions: impl IntoIterator<Item = S>,
    ) -> Result<Vec<Verdict>, Error> {
        self.batch_verify_sessions(sessions.into_iter().map(S::into).collect(), false).await
    }

    /// The same as [`Self::batch_verify`], but not counted as the users' activity.
    pub async fn batch_peek<S: Into<SessionToVerify>>(
        &self,
        sessions: impl IntoIterator<Item = S>,
    ) -> Result<Vec<Verdict>, Error> {
        self.batch_verify_sessions(sessions.into_iter().map(S::into).collect(), true).await
    }

    async fn batch_verify_sessions(&self, sessions: Vec<SessionToVerify>, peek: bool) -> Result<Vec<Verdict>, Error> {
        let asked = sessions.len();
        let request = BatchVerifySessionsRequest { sessions, client: None, peek };
        // A verdict that is one place off is somebody else's.
        self.call_for(request, "verdict for each token", |answer| {
            let verdicts = answer.verdicts.into_iter().map(Verdict::from);
            (verdicts.len() == asked).then(|| verdicts.collect())
        })
        .await
    }
}

impl From<&Ust> for SessionToVerify {
    fn from(ust: &Ust) -> Self {
        Self { ust: ust.expose().to_owned(), client: None }
    }
}

impl Subject {
    /// The own session.
    pub async fn current_session(&self) -> Result<UserSession, Error> {
        self.get_session("").await
    }

    /// A session by its ID; another's needs a super-user.
    pub async fn get_session(&self, session_id: &str) -> Result<UserSession, Error> {
        let request = GetSessionRequest { session_id: session_id.to_owned(), ..GetSessionRequest::default() };
        self.call_for(request, "session", |answer| answer.session).await
    }

    /// Sessions, newest first: the own ones or, for super-users, those of a user or of everybody.
    pub fn list_sessions(&self, request: ListSessionsRequest) -> Pages<ListSessionsRequest> {
        Pages::new(self.clone(), request)
    }

    /// Gives the own session more time. If its token had been replaced already, the new one comes along.
    pub async fn renew(&self) -> Result<Renewal, Error> {
        self.renew_session(false).await
    }

    /// Gives the own session more time and a new token. The old one keeps working for a short grace.
    pub async fn rotate(&self) -> Result<Renewal, Error> {
        self.renew_session(true).await
    }

    async fn renew_session(&self, rotate: bool) -> Result<Renewal, Error> {
        let request = RenewSessionRequest { rotate, ..RenewSessionRequest::default() };
        self.call_for(request, "session or new token", |answer| {
            let ust = Some(answer.ust).filter(|ust| !ust.is_empty()).map(Ust::new);
            let session = answer.session.filter(|_| ust.is_some() || !rotate)?;
            Some(Renewal { session, ust, grace_time: answer.grace_time })
        })
        .await
    }

    /// Ends the own session. True if it was live.
    pub async fn log_out(&self) -> Result<bool, Error> {
        self.revoke_session("").await
    }

    /// Ends a session by its ID; another's needs a super-user. True if it was live.
    pub async fn revoke_session(&self, session_id: &str) -> Result<bool, Error> {
        let request = RevokeSessionRequest { session_id: session_id.to_owned(), ..RevokeSessionRequest::default() };
        Ok(self.call(request).await?.revoked)
    }

    /// Ends all own sessions but this one, and returns how many were live.
    pub async fn log_out_elsewhere(&self) -> Result<u64, Error> {
        self.revoke_sessions(None, true).await
    }

    /// Ends many sessions (`None`: the own ones), and returns how many were live. `keep_current` spares this one.
    pub async fn revoke_sessions(&self, target: Option<Target>, keep_current: bool) -> Result<u64, Error> {
        let request = RevokeSessionsRequest { target, keep_current, ..RevokeSessionsRequest::default() };
        Ok(self.call(request).await?.revoked_count)
    }
}
