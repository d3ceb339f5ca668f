//! `SessionService`.

use std::time::Duration;

use lanyard_proto::v1;
use lanyard_proto::v1::create_session_request::Credential;
use lanyard_proto::v1::session_service_server::SessionService;
use tonic::Request;

use super::convert;
use super::handler::{Handler, Reply};
use crate::app::client::ClientInput;
use crate::app::login::PasswordLogin;
use crate::app::login::credential::ExternalCredential;
use crate::app::login::external::ExternalLogin;
use crate::app::login::platform::PlatformLogin;
use crate::app::platform::auth::PlatformAuth;
use crate::app::session::revoke::RevokeTarget;
use crate::app::session::verify::BatchItem;
use crate::app::session::{ListSessions, Session};
use crate::app::{App, Context};
use crate::error::{Error, Result};
use crate::model::session::{AuthType, SessionState};
use crate::model::verdict::{Active, CachedVerdict, Inactive, Verdict};

#[tonic::async_trait]
impl SessionService for Handler {
    async fn create_session(&self, request: Request<v1::CreateSessionRequest>) -> Reply<v1::CreateSessionResponse> {
        if let Some(Credential::Password(_)) = &request.get_ref().credential {
            // A flood is refused before it spawns tasks.
            self.app().check_hashing_capacity()?;
        }
        self.run(request, |app, context, message| async move {
            let client = convert::client(message.client.as_ref());
            let done = match message.credential {
                Some(Credential::Password(credential)) => {
                    app.create_session(&context, client, password_login(credential)).await?
                }
                Some(Credential::BasicAuth(credential)) => {
                    app.create_session_externally(&context, client, basic_auth_login(credential)).await?
                }
                Some(Credential::Jwt(credential)) => {
                    app.create_session_externally(&context, client, jwt_login(credential)).await?
                }
                Some(Credential::Platform(credential)) => {
                    app.create_session_on_platform(&context, client, platform_login(credential)).await?
                }
                None => {
                    let problem = "is missing: send `password`, `basic_auth`, `jwt` or `platform`";
                    return Err(Error::invalid("credential", problem));
                }
            };
            let warnings = done.password_expires_soon.map(|time| v1::Warning {
                kind: v1::WarningKind::PasswordExpiresSoon.into(),
                time: Some(convert::timestamp(time)),
            });
            let ust = done.ust.expose().to_owned();
            Ok(v1::CreateSessionResponse {
                session: Some(own_session(done.session, &ust)),
                ust,
                warnings: warnings.into_iter().collect(),
            })
        })
        .await
    }

    /// The fast path of the pipeline answers nearly all of these calls, with the same function.
    async fn verify_session(&self, request: Request<v1::VerifySessionRequest>) -> Reply<v1::VerifySessionResponse> {
        self.run(request, |app, context, message| verify(app, context, message, None)).await
    }

    /// As [`Self::verify_session`].
    async fn batch_verify_sessions(
        &self,
        request: Request<v1::BatchVerifySessionsRequest>,
    ) -> Reply<v1::BatchVerifySessionsResponse> {
        self.run(request, |app, context, message| batch_verify(app, context, message, None)).await
    }

    async fn get_session(&self, request: Request<v1::GetSessionRequest>) -> Reply<v1::GetSessionResponse> {
        self.run(request, |app, context, message| async move {
            let wanted = convert::optional_id("session_id", &message.session_id)?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let found = app.get_session(&acting, wanted).await?;
            let is_own = found.session_id == acting.session.session_id;
            let shown = if is_own { own_session(found, &message.ust) } else { session(found) };
            Ok(v1::GetSessionResponse { session: Some(shown) })
        })
        .await
    }

    async fn list_sessions(&self, request: Request<v1::ListSessionsRequest>) -> Reply<v1::ListSessionsResponse> {
        self.run(request, |app, context, message| async move {
            let page = convert::page(message.page_size, &message.page_token)?;
            let list = ListSessions {
                user: convert::optional_id("user_id", &message.user_id)?,
                all_users: message.all_users,
                state: convert::optional_enum("state", message.state, session_state)?,
                app: convert::optional_text("app", &message.app)?,
                auth_type: convert::optional_enum("auth_type", message.auth_type, auth_type)?,
                platform: convert::optional_text("platform", &message.platform)?,
            };
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let page = app.list_sessions(&acting, list, page).await?;
            Ok(v1::ListSessionsResponse {
                sessions: page.items.into_iter().map(session).collect(),
                next_page_token: page.next_page_token,
            })
        })
        .await
    }

    async fn renew_session(&self, request: Request<v1::RenewSessionRequest>) -> Reply<v1::RenewSessionResponse> {
        self.run(request, |app, context, message| async move {
            let input = convert::acting(&message.ust, message.client.as_ref());
            let renewed = app.renew_session(&context, input, message.rotate).await?;
            let (ust, grace) = renewed.replaced.map(|(token, grace)| (token.expose().to_owned(), grace)).unzip();
            let ust = ust.unwrap_or_default();
            let current = if ust.is_empty() { &message.ust } else { &ust };
            Ok(v1::RenewSessionResponse {
                session: Some(own_session(renewed.session, current)),
                ust,
                grace_time: grace.map(convert::timestamp),
            })
        })
        .await
    }

    async fn revoke_session(&self, request: Request<v1::RevokeSessionRequest>) -> Reply<v1::RevokeSessionResponse> {
        self.run(request, |app, context, message| async move {
            let wanted = convert::optional_id("session_id", &message.session_id)?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let revoked = app.revoke_session(&acting, wanted).await?;
            Ok(v1::RevokeSessionResponse { revoked })
        })
        .await
    }

    async fn revoke_sessions(&self, request: Request<v1::RevokeSessionsRequest>) -> Reply<v1::RevokeSessionsResponse> {
        self.run(request, |app, context, message| async move {
            let target = message.target.as_ref().map(revoke_target).transpose()?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let revoked_count = app.revoke_sessions(&acting, target, message.keep_current).await?;
            Ok(v1::RevokeSessionsResponse { revoked_count })
        })
        .await
    }

    async fn get_platform_auth(
        &self,
        request: Request<v1::GetPlatformAuthRequest>,
    ) -> Reply<v1::GetPlatformAuthResponse> {
        self.run(request, |app, context, message| async move {
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            app.platform_auth(&acting, message.refused).await.map(platform_auth)
        })
        .await
    }
}

/// `cached`: the cache's result, if known.
pub(crate) async fn verify(
    app: App,
    context: Context,
    message: v1::VerifySessionRequest,
    cached: Option<CachedVerdict>,
) -> Result<v1::VerifySessionResponse> {
    let client = app.client(&context, convert::client(message.client.as_ref()))?;
    app.verify_session(&client, &message.ust, message.peek, cached).await.map(verdict)
}

/// `cached`: the cache's results, if known.
pub(crate) async fn batch_verify(
    app: App,
    context: Context,
    message: v1::BatchVerifySessionsRequest,
    cached: Option<Vec<CachedVerdict>>,
) -> Result<v1::BatchVerifySessionsResponse> {
    let (items, common) = batch(&message);
    let verdicts = app.verify_sessions(&context, &items, common, message.peek, cached).await?;
    Ok(v1::BatchVerifySessionsResponse { verdicts: verdicts.into_iter().map(verdict).collect() })
}

fn platform_login(mut credential: v1::PlatformCredential) -> PlatformLogin {
    PlatformLogin {
        password: convert::secret(&mut credential.password),
        totp_code: convert::secret(&mut credential.totp_code),
        platform: credential.platform,
        username: credential.username,
        unique_name: credential.unique_name,
    }
}

fn password_login(mut credential: v1::PasswordCredential) -> PasswordLogin {
    PasswordLogin {
        password: convert::secret(&mut credential.password),
        totp_code: convert::secret(&mut credential.totp_code),
        new_password: convert::secret(&mut credential.new_password),
        username: credential.username,
    }
}

fn basic_auth_login(mut credential: v1::BasicAuthCredential) -> ExternalLogin {
    let secret = convert::secret(&mut credential.secret);
    let credential = ExternalCredential::BasicAuth { username: credential.username, secret };
    ExternalLogin { credential, totp_code: String::new().into() }
}

fn jwt_login(mut credential: v1::JwtCredential) -> ExternalLogin {
    ExternalLogin {
        totp_code: convert::secret(&mut credential.totp_code),
        credential: ExternalCredential::Jwt { token: convert::secret(&mut credential.token) },
    }
}

fn revoke_target(target: &v1::revoke_sessions_request::Target) -> Result<RevokeTarget> {
    use v1::revoke_sessions_request::Target;

    match target {
        Target::UserId(user) => convert::id("user_id", user).map(RevokeTarget::User),
        Target::App(app) if app.is_empty() => Err(Error::invalid("app", "is empty")),
        Target::App(app) => convert::text("app", app).map(RevokeTarget::App),
        Target::AuthId(..=0) => Err(Error::invalid("auth_id", "must be positive")),
        Target::AuthId(auth_id) => Ok(RevokeTarget::Definition(*auth_id)),
        Target::Platform(platform) if platform.is_empty() => Err(Error::invalid("platform", "is empty")),
        Target::Platform(platform) => convert::text("platform", platform).map(RevokeTarget::Platform),
        Target::Everyone(true) => Ok(RevokeTarget::Everyone),
        Target::Everyone(false) => Err(Error::invalid("everyone", "must be true where it is set")),
    }
}

fn session_state(state: v1::SessionState) -> Option<SessionState> {
    match state {
        v1::SessionState::Unspecified => None,
        v1::SessionState::Active => Some(SessionState::Active),
        v1::SessionState::Expired => Some(SessionState::Expired),
        v1::SessionState::Revoked => Some(SessionState::Revoked),
    }
}

fn auth_type(auth_type: v1::AuthType) -> Option<AuthType> {
    match auth_type {
        v1::AuthType::Unspecified => None,
        v1::AuthType::Password => Some(AuthType::Password),
        v1::AuthType::BasicAuth => Some(AuthType::BasicAuth),
        v1::AuthType::Jwt => Some(AuthType::Jwt),
        v1::AuthType::Platform => Some(AuthType::Platform),
    }
}

/// A session as returned to the holder of its token.
fn own_session(shown: Session, ust: &str) -> v1::UserSession {
    v1::UserSession { session_auth: ust.to_owned(), ..session(shown) }
}

fn session(mut session: Session) -> v1::UserSession {
    // Empty for a session without a platform.
    let on = session.platform.take().unwrap_or_default();
    v1::UserSession {
        logger_context: session.logger_context(),
        session_id: session.session_id.to_string(),
        user_id: session.user_id.to_string(),
        username: session.username,
        roles: convert::roles(session.is_super_user),
        // The values of these enums equal those of the contract.
        auth_type: session.auth_type as i32,
        state: session.state as i32,
        revoke_reason: session.revoke_reason.map_or(0, |reason| reason as i32),
        current_app: session.app,
        remote_addr: session.remote_addr,
        user_agent: session.user_agent,
        creation_time: Some(convert::timestamp(session.created_at)),
        last_active_time: Some(convert::timestamp(session.last_active_at)),
        expire_time: Some(convert::timestamp(session.expires_at)),
        absolute_expire_time: Some(convert::timestamp(session.absolute_expires_at)),
        revoke_time: session.revoked_at.map(convert::timestamp),
        rotation_count: session.rotation_count,
        auth_id: session.auth_id.unwrap_or(0),
        auth_principal: session.auth_principal,
        session_auth: String::new(),
        platform: on.name,
        authentication_url: on.url.clone(),
        authentication_host: on.host,
        authentication_version: on.version,
        micetro_url: on.url,
        // Micetro has no replication system that could authenticate users.
        is_replication_user: false,
        unique_name: on.unique_name,
        groups: on.groups,
    }
}

fn platform_auth(auth: PlatformAuth) -> v1::GetPlatformAuthResponse {
    let settings = auth.settings;
    v1::GetPlatformAuthResponse {
        micetro_auth: auth.authorization.as_str().to_owned(),
        scheme: auth.scheme as i32,
        micetro_url: auth.url,
        platform: auth.platform,
        valid_for: Some(convert::proto_duration(auth.valid_for)),
        settings: Some(v1::PlatformSettings {
            connect_timeout: Some(convert::proto_duration(settings.connect_timeout)),
            timeout: Some(convert::proto_duration(settings.timeout)),
            max_response_bytes: settings.max_response_bytes as u64,
            max_attempts: settings.max_attempts,
            ca_certificates: settings.authorities.map(|pem| String::from(&*pem)).unwrap_or_default(),
        }),
    }
}

/// The tokens of a batch, and the client of all tokens without their own.
pub(crate) fn batch(message: &v1::BatchVerifySessionsRequest) -> (Vec<BatchItem<'_>>, ClientInput<'_>) {
    let items = message.sessions.iter().map(|item| {
        let own = item.client.as_ref().map(|own| convert::client(Some(own)));
        (item.ust.as_str(), own)
    });
    let items = items.collect();
    (items, convert::client(message.client.as_ref()))
}

pub(crate) fn verdict(verdict: Verdict) -> v1::VerifySessionResponse {
    use v1::verify_session_response::Verdict as Answer;

    match verdict {
        Verdict::Active(active) => v1::VerifySessionResponse {
            cache_for: (active.cache_for > Duration::ZERO).then(|| convert::proto_duration(active.cache_for)),
            verdict: Some(Answer::Session(verified(&active))),
        },
        Verdict::Inactive(reason) => {
            v1::VerifySessionResponse { cache_for: None, verdict: Some(Answer::Inactive(inactive(reason))) }
        }
    }
}

fn verified(active: &Active) -> v1::VerifiedSession {
    let session = &active.session;
    v1::VerifiedSession {
        session_id: session.session_id.into(),
        user_id: session.user_id.into(),
        username: String::from(&*session.username),
        roles: convert::roles(session.is_super_user),
        auth_type: session.auth_type as i32,
        current_app: String::from(&*session.app),
        idle_expire_time: Some(convert::timestamp(active.limits.idle_expires_at)),
        absolute_expire_time: Some(convert::timestamp(active.limits.absolute_expires_at)),
    }
}

pub(crate) fn inactive(reason: Inactive) -> v1::InactiveSession {
    use v1::InactiveReason as Reason;

    let (reason, revoke_reason) = match reason {
        Inactive::Malformed => (Reason::Malformed, 0),
        Inactive::Unknown => (Reason::Unknown, 0),
        Inactive::IdleExpired => (Reason::IdleExpired, 0),
        Inactive::AbsoluteExpired => (Reason::AbsoluteExpired, 0),
        Inactive::Revoked(why) => (Reason::Revoked, why as i32),
        Inactive::Rotated { .. } => (Reason::Rotated, 0),
        Inactive::AddressMismatch => (Reason::AddressMismatch, 0),
        Inactive::AddressNotAllowed => (Reason::AddressNotAllowed, 0),
    };
    v1::InactiveSession { reason: reason.into(), revoke_reason }
}
