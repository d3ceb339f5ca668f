//! Handing out the credential with which the platform of a session is called, and what to do when the platform refuses it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use zeroize::Zeroizing;

use super::{Again, Platform, SealedCredential};
use crate::app::App;
use crate::app::audit::Event;
use crate::app::client::Acting;
use crate::clock::Time;
use crate::error::{Error, Fault, Result};
use crate::model::audit::{Operation, Reason};
use crate::model::session::{AuthType, RevokeReason, SessionEntry};
use crate::store::HeldCredential;
use crate::upstream::{Credential, Problem};

/// What a service needs to call a platform in the name of a session.
pub struct PlatformAuth {
    /// The value of `Authorization`.
    pub authorization: Zeroizing<String>,
    pub scheme: Scheme,
    pub url: String,
    pub platform: String,
    /// How long it may be used before it is asked for again.
    pub valid_for: Duration,
    pub settings: PlatformSettings,
}

/// The kind of credential. The numbers are those of the contract.
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

/// How a platform is to be called.
#[derive(Clone, Debug)]
pub struct PlatformSettings {
    pub connect_timeout: Duration,
    pub timeout: Duration,
    pub max_response_bytes: usize,
    pub max_attempts: u32,
    /// PEM; `None`: those of the system.
    pub authorities: Option<Arc<str>>,
}

/// What came of asking the platform about a credential that it refused.
enum Settled {
    /// It is good, or somebody else has put another in its place.
    Good,
    /// The session was logged in anew.
    LoggedInAnew,
    /// The session has ended.
    Ended,
}

impl App {
    /// The credential of the acting session's platform. With `refused` the platform is asked first: the credential that was handed
    /// out did not do.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn platform_auth(&self, acting: &Acting<'_>, refused: bool) -> Result<PlatformAuth> {
        let event = Event::by(acting, Operation::PlatformAuth).target(acting.user());
        if acting.session.auth_type != AuthType::Platform {
            self.write_event(event.refused(Reason::NoPlatform)).await?;
            return Err(Error::PlatformSessionRequired);
        }
        let session = acting.session.session_id;
        let held = self.parts.store.platform_credential(session).await?.ok_or(Error::SessionInvalid)?;
        let platform = self.parts.platforms.of(&held.platform).ok_or_else(|| Error::PlatformUnavailable {
            problem: "is not configured on this server, or not at that URL",
            code: None,
            source: Fault(format!("platform {} at {}", held.platform.platform, held.platform.url)),
        })?;
        let settled = if refused { self.settle(acting, platform, &held).await? } else { Settled::Good };
        if matches!(settled, Settled::Ended) {
            return Err(Error::SessionInvalid);
        }
        let event = event.detail(json!({
            "platform": platform.name,
            "scheme": Scheme::of(&SealedCredential::open(&self.parts.keyring, &held)?.authorization).name(),
            "logged_in_anew": matches!(settled, Settled::LoggedInAnew),
        }));
        let held = self.invalidate(acting, event).await?;
        let authorization = SealedCredential::open(&self.parts.keyring, &held)?.authorization;
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
            valid_for: platform.config.auth_valid_for.min(left(&acting.session, self.parts.clock.now())),
            settings: PlatformSettings {
                connect_timeout: platform.config.connect_timeout,
                timeout: platform.config.timeout,
                max_response_bytes: platform.config.max_response_bytes,
                max_attempts: platform.config.max_attempts,
                authorities,
            },
        })
    }

    /// The credential as it is now that the session cannot be revoked, and the event of its leaving: one is not without the other.
    async fn invalidate(&self, acting: &Acting<'_>, event: Event) -> Result<HeldCredential> {
        let session = acting.session.session_id;
        let taken = self.parts.store.write(move |tx| {
            let event = event.clone();
            Box::pin(async move {
                let live = tx.lock_session(session).await?.is_some_and(|row| row.revoked_at.is_none());
                let held = tx.platform_credential(session).await?;
                Ok(held.filter(|_| live).inspect(|_| tx.audit(event)))
            })
        });
        taken.await?.ok_or(Error::SessionInvalid)
    }

    /// The platform decides: the credential is good, or the session is logged in anew where that may be, or it has ended.
    async fn settle(&self, acting: &Acting<'_>, platform: &Platform, held: &HeldCredential) -> Result<Settled> {
        let opened = SealedCredential::open(&self.parts.keyring, held)?;
        let code = match platform.micetro.probe(&opened.authorization).await {
            Ok(()) => return Ok(Settled::Good),
            Err(Problem::Fault(error)) => return Err(error),
            Err(Problem::Refused { code }) => code,
        };
        let Some(again) = opened.again.filter(|_| platform.keeps_password()) else {
            return self.end_refused(acting, held, code).await;
        };
        match platform.micetro.log_in_again(&again.username, &again.password).await {
            Ok(credential) => self.put_anew(held, again, credential).await,
            Err(Problem::Refused { code }) => self.end_refused(acting, held, code).await,
            Err(Problem::Fault(error)) => Err(error),
        }
    }

    /// Stores a new credential, unless the session has ended or somebody else was faster: then the new one is logged out.
    async fn put_anew(&self, held: &HeldCredential, again: Again, credential: Credential) -> Result<Settled> {
        let authorization = credential.expose().to_owned().into();
        let anew = SealedCredential { authorization, again: Some(again) };
        let anew = anew.seal(&self.parts.keyring, &held.platform, held.credential.generation + 1)?;
        let (before, anew) = (Arc::new(held.credential.clone()), Arc::new(anew));
        let put = self.parts.store.write(move |tx| {
            let (before, anew) = (Arc::clone(&before), Arc::clone(&anew));
            // It is there as long as the session has not ended, and goes in the transaction in which that ends.
            Box::pin(async move { tx.replace_platform_credential(&before, (*anew).clone()).await })
        });
        if !put.await? {
            return Ok(Settled::Good);
        }
        credential.keep();
        Ok(Settled::LoggedInAnew)
    }

    /// Ends the session whose credential is no good any more, unless another has taken its place.
    async fn end_refused(&self, acting: &Acting<'_>, held: &HeldCredential, code: Option<i64>) -> Result<Settled> {
        let event = Event::by(acting, Operation::SessionRevoke).target(acting.user()).detail(json!({
            "cause": Reason::PlatformRefused.name(),
            "platform": held.platform.platform,
            "upstream_code": code,
        }));
        let (session, refused) = (acting.session.session_id, held.credential.generation);
        let ended = self.parts.store.write(move |tx| {
            let event = event.clone();
            Box::pin(async move {
                let Some(row) = tx.lock_session(session).await? else { return Ok(Settled::Ended) };
                match tx.platform_credential(session).await? {
                    Some(held) if held.credential.generation != refused => return Ok(Settled::Good),
                    Some(_) => {}
                    None => return Ok(Settled::Ended),
                }
                tx.revoke_session(&row, RevokeReason::PlatformRefused, tx.clock().now()).await?;
                tx.audit(event);
                Ok(Settled::Ended)
            })
        });
        ended.await
    }
}

/// How long the session lasts if nothing happens.
fn left(session: &SessionEntry, now: Time) -> Duration {
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
        assert_eq!(left(&session, now), minute * 2);
        session.absolute_expires_at = now + minute;
        assert_eq!(left(&session, now), minute);
        assert_eq!(left(&session, now + minute * 9), Duration::ZERO);
    }

    #[test]
    fn the_scheme_is_what_the_credential_says() {
        assert_eq!(Scheme::of("Bearer x"), Scheme::Bearer);
        assert_eq!(Scheme::of("Basic eDp5"), Scheme::Basic);
    }
}
