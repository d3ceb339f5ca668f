//! Hands out the platform credential of a session, and recovers when the platform refuses it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use zeroize::Zeroizing;

use super::{Platform, ReloginCredential, SealedCredential};
use crate::app::App;
use crate::app::audit::Event;
use crate::app::client::Acting;
use crate::clock::Time;
use crate::error::{Error, Fault, Result};
use crate::model::audit::{Operation, Reason};
use crate::model::session::{AuthType, RevokeReason, SessionEntry};
use crate::store::StoredCredential;
use crate::upstream::{Credential, Problem};

/// What a service needs to call a platform on behalf of a session.
pub struct PlatformAuth {
    /// The value of the `Authorization` header.
    pub authorization: Zeroizing<String>,
    pub scheme: Scheme,
    pub url: String,
    pub platform: String,
    /// How long it may be used before a new one must be requested.
    pub valid_for: Duration,
    pub settings: PlatformSettings,
}

/// The authentication scheme. The values equal those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Bearer = 1,
    Basic = 2,
}

impl Scheme {
    fn of(authorization: &str) -> Self {
        if authorization.starts_with("Bearer ") { Self::Bearer } else { Self::Basic }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
        }
    }
}

/// How to call a platform.
#[derive(Clone, Debug)]
pub struct PlatformSettings {
    pub connect_timeout: Duration,
    pub timeout: Duration,
    pub max_response_bytes: usize,
    pub max_attempts: u32,
    /// CA certificates in PEM; `None`: the system's.
    pub authorities: Option<Arc<str>>,
}

/// The outcome of checking a refused credential with the platform.
enum RecoveryOutcome {
    /// The credential is valid, or another request has replaced it.
    Valid,
    /// The session was logged in again.
    LoggedInAgain,
    /// The session has ended.
    Ended,
}

impl App {
    /// The platform credential of the acting session. With `refused`, the credential handed out before was rejected, so
    /// it is first checked with the platform.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn platform_auth(&self, acting: &Acting<'_>, refused: bool) -> Result<PlatformAuth> {
        let event = Event::by(acting, Operation::PlatformAuth).target(acting.user());
        if acting.session.auth_type != AuthType::Platform {
            self.write_event(event.refused(Reason::NoPlatform)).await?;
            return Err(Error::PlatformSessionRequired);
        }
        let session = acting.session.session_id;
        let stored = self.parts.store.platform_credential(session).await?.ok_or(Error::SessionInvalid)?;
        let platform = self.parts.platforms.of(&stored.platform).ok_or_else(|| Error::PlatformUnavailable {
            problem: "is not configured on this server, or not at that URL",
            code: None,
            source: Fault(format!("platform {} at {}", stored.platform.platform, stored.platform.url)),
        })?;
        let outcome =
            if refused { self.recover_credential(acting, platform, &stored).await? } else { RecoveryOutcome::Valid };
        if matches!(outcome, RecoveryOutcome::Ended) {
            return Err(Error::SessionInvalid);
        }
        let event = event.detail(json!({
            "platform": platform.name,
            "scheme": Scheme::of(&SealedCredential::open(&self.parts.keyring, &stored)?.authorization).name(),
            "logged_in_anew": matches!(outcome, RecoveryOutcome::LoggedInAgain),
        }));
        let stored = self.release_credential(acting, event).await?;
        let authorization = SealedCredential::open(&self.parts.keyring, &stored)?.authorization;
        let authorities = platform.micetro.authorities().map_err(|problem| Error::PlatformUnavailable {
            problem: "cannot be called: its `ca_file` cannot be read",
            code: None,
            source: Fault(problem),
        })?;
        Ok(PlatformAuth {
            scheme: Scheme::of(&authorization),
            authorization,
            url: platform.url.clone(),
            platform: platform.name.clone(),
            valid_for: platform.config.auth_valid_for.min(remaining_lifetime(&acting.session, self.parts.clock.now())),
            settings: PlatformSettings {
                connect_timeout: platform.config.connect_timeout,
                timeout: platform.config.timeout,
                max_response_bytes: platform.config.max_response_bytes,
                max_attempts: platform.config.max_attempts,
                authorities,
            },
        })
    }

    /// Reads the credential with the session locked against revocation, and audits its release with it.
    async fn release_credential(&self, acting: &Acting<'_>, event: Event) -> Result<StoredCredential> {
        let session = acting.session.session_id;
        let released = self.parts.store.write(move |tx| {
            let event = event.clone();
            Box::pin(async move {
                let live = tx.lock_session(session).await?.is_some_and(|row| row.revoked_at.is_none());
                let stored = tx.platform_credential(session).await?;
                Ok(stored.filter(|_| live).inspect(|_| tx.audit(event)))
            })
        });
        released.await?.ok_or(Error::SessionInvalid)
    }

    /// Checks the credential with the platform. If it is refused, logs in again or ends the session.
    async fn recover_credential(
        &self,
        acting: &Acting<'_>,
        platform: &Platform,
        stored: &StoredCredential,
    ) -> Result<RecoveryOutcome> {
        let opened = SealedCredential::open(&self.parts.keyring, stored)?;
        let code = match platform.micetro.probe(&opened.authorization).await {
            Ok(()) => return Ok(RecoveryOutcome::Valid),
            Err(Problem::Fault(error)) => return Err(error),
            Err(Problem::Refused { code }) => code,
        };
        let Some(relogin) = opened.relogin.filter(|_| platform.keeps_password()) else {
            return self.revoke_refused_session(acting, stored, code).await;
        };
        match platform.micetro.log_in_again(&relogin.username, &relogin.password).await {
            Ok(credential) => self.store_replacement(stored, relogin, credential).await,
            Err(Problem::Refused { code }) => self.revoke_refused_session(acting, stored, code).await,
            Err(Problem::Fault(error)) => Err(error),
        }
    }

    /// Stores a new credential. If the session ended or another request was faster, the new one is logged out.
    async fn store_replacement(
        &self,
        stored: &StoredCredential,
        relogin: ReloginCredential,
        credential: Credential,
    ) -> Result<RecoveryOutcome> {
        let authorization = credential.expose().to_owned().into();
        let replacement = SealedCredential { authorization, relogin: Some(relogin) };
        let replacement = replacement.seal(&self.parts.keyring, &stored.platform, stored.credential.generation + 1)?;
        let (before, replacement) = (Arc::new(stored.credential.clone()), Arc::new(replacement));
        let replaced = self.parts.store.write(move |tx| {
            let (before, replacement) = (Arc::clone(&before), Arc::clone(&replacement));
            // The row is deleted in the transaction that ends the session, so this cannot revive an ended one.
            Box::pin(async move { tx.replace_platform_credential(&before, (*replacement).clone()).await })
        });
        if !replaced.await? {
            return Ok(RecoveryOutcome::Valid);
        }
        credential.keep();
        Ok(RecoveryOutcome::LoggedInAgain)
    }

    /// Ends the session of a refused credential, unless the credential was replaced meanwhile.
    async fn revoke_refused_session(
        &self,
        acting: &Acting<'_>,
        stored: &StoredCredential,
        code: Option<i64>,
    ) -> Result<RecoveryOutcome> {
        let event = Event::by(acting, Operation::SessionRevoke).target(acting.user()).detail(json!({
            "cause": Reason::PlatformRefused.name(),
            "platform": stored.platform.platform,
            "upstream_code": code,
        }));
        let (session, refused) = (acting.session.session_id, stored.credential.generation);
        let ended = self.parts.store.write(move |tx| {
            let event = event.clone();
            Box::pin(async move {
                let Some(row) = tx.lock_session(session).await? else { return Ok(RecoveryOutcome::Ended) };
                match tx.platform_credential(session).await? {
                    Some(stored) if stored.credential.generation != refused => return Ok(RecoveryOutcome::Valid),
                    Some(_) => {}
                    None => return Ok(RecoveryOutcome::Ended),
                }
                tx.revoke_session(&row, RevokeReason::PlatformRefused, tx.clock().now()).await?;
                tx.audit(event);
                Ok(RecoveryOutcome::Ended)
            })
        });
        ended.await
    }
}

/// Time until the session expires without further activity.
fn remaining_lifetime(session: &SessionEntry, now: Time) -> Duration {
    let idle = Duration::from(session.idle_micros);
    session.absolute_expires_at.min(session.last_active_at() + idle).since(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_session_is_to_the_nearer_limit() {
        let minute = Duration::from_mins(1);
        let now = Time::default() + minute * 60;
        let mut session = SessionEntry::example();
        session.touch(now);
        session.idle_micros = Duration::from_mins(2).into();
        assert_eq!(remaining_lifetime(&session, now), minute * 2);
        session.absolute_expires_at = now + minute;
        assert_eq!(remaining_lifetime(&session, now), minute);
        assert_eq!(remaining_lifetime(&session, now + minute * 9), Duration::ZERO);
    }

    #[test]
    fn the_scheme_is_what_the_credential_says() {
        assert_eq!(Scheme::of("Bearer x"), Scheme::Bearer);
        assert_eq!(Scheme::of("Basic eDp5"), Scheme::Basic);
    }
}
