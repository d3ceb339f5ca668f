//! The answer to "is this token good?".

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::v1::verify_session_response::Verdict as Case;
use crate::v1::{self, InactiveReason, RevokeReason, Role};

/// Whether a token is good. There is no way to the session but through [`Verdict::Active`].
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a verdict that nobody reads lets everybody in"]
pub enum Verdict {
    /// The token is good.
    Active(VerifiedSession),
    /// The token is not good.
    Inactive(Inactive),
}

impl Verdict {
    /// The session of a good token; everything else is an error.
    ///
    /// # Errors
    /// The token is not good.
    pub fn into_session(self) -> Result<VerifiedSession, Inactive> {
        match self {
            Self::Active(session) => Ok(session),
            Self::Inactive(inactive) => Err(inactive),
        }
    }
}

/// A verdict with neither case is inactive: a server newer than this client may know a third.
impl From<v1::VerifySessionResponse> for Verdict {
    fn from(answer: v1::VerifySessionResponse) -> Self {
        match answer.verdict {
            Some(Case::Session(session)) => {
                let cache_for = answer.cache_for.and_then(|duration| duration.try_into().ok());
                Self::Active(VerifiedSession { session, cache_for })
            }
            Some(Case::Inactive(inactive)) => Self::Inactive(Inactive::from(inactive)),
            None => Self::Inactive(Inactive::from(v1::InactiveSession::default())),
        }
    }
}

/// A good session: the fields of [`v1::VerifiedSession`], and how long this may be remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedSession {
    session: v1::VerifiedSession,
    cache_for: Option<Duration>,
}

impl VerifiedSession {
    /// How long the verdict may be used again without asking; `None`: not at all.
    pub fn cache_for(&self) -> Option<Duration> {
        self.cache_for
    }

    /// Whether the user may act on everybody's behalf.
    pub fn is_super_user(&self) -> bool {
        self.roles().any(|role| role == Role::SuperUser)
    }

    /// The message of the contract.
    pub fn into_message(self) -> v1::VerifiedSession {
        self.session
    }
}

impl Deref for VerifiedSession {
    type Target = v1::VerifiedSession;

    fn deref(&self) -> &v1::VerifiedSession {
        &self.session
    }
}

/// Why a token is not good. It is for the calling service, not for the end user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inactive {
    /// Why; `Unspecified` where the server gave no reason that this client knows.
    pub reason: InactiveReason,
    /// Why it was revoked, with [`InactiveReason::Revoked`].
    pub revoke_reason: RevokeReason,
}

impl From<v1::InactiveSession> for Inactive {
    fn from(inactive: v1::InactiveSession) -> Self {
        Self { reason: inactive.reason(), revoke_reason: inactive.revoke_reason() }
    }
}

impl fmt::Display for Inactive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.reason.as_str_name();
        write!(f, "the session is not active ({}", name.strip_prefix("INACTIVE_REASON_").unwrap_or(name))?;
        if self.revoke_reason != RevokeReason::Unspecified {
            let name = self.revoke_reason.as_str_name();
            write!(f, ": {}", name.strip_prefix("REVOKE_REASON_").unwrap_or(name))?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Inactive {}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(roles: Vec<i32>) -> v1::VerifySessionResponse {
        let session = v1::VerifiedSession { username: "alice".into(), roles, ..v1::VerifiedSession::default() };
        let cache_for = Some(prost_types::Duration { seconds: 3, nanos: 0 });
        v1::VerifySessionResponse { verdict: Some(Case::Session(session)), cache_for }
    }

    #[test]
    fn a_good_token_gives_its_session_and_how_long_to_remember_it() {
        let session = Verdict::from(active(vec![Role::Regular.into()])).into_session().unwrap();
        assert_eq!(session.username, "alice");
        assert_eq!(session.cache_for(), Some(Duration::from_secs(3)));
        assert!(!session.is_super_user());
        assert!(Verdict::from(active(vec![Role::SuperUser.into()])).into_session().unwrap().is_super_user());
    }

    #[test]
    fn a_verdict_without_a_case_is_inactive() {
        let inactive = Verdict::from(v1::VerifySessionResponse::default()).into_session().unwrap_err();
        assert_eq!(inactive.reason, InactiveReason::Unspecified);
    }

    #[test]
    fn a_reason_that_this_client_does_not_know_is_inactive_too() {
        let unknown = v1::InactiveSession { reason: 999, revoke_reason: 999 };
        let answer = v1::VerifySessionResponse { verdict: Some(Case::Inactive(unknown)), cache_for: None };
        let inactive = Verdict::from(answer).into_session().unwrap_err();
        assert_eq!((inactive.reason, inactive.revoke_reason), (InactiveReason::Unspecified, RevokeReason::Unspecified));
    }

    #[test]
    fn an_inactive_session_says_why_it_ended() {
        let inactive = Inactive { reason: InactiveReason::Revoked, revoke_reason: RevokeReason::UserLocked };
        assert_eq!(inactive.to_string(), "the session is not active (REVOKED: USER_LOCKED)");
        let inactive = Inactive { reason: InactiveReason::IdleExpired, revoke_reason: RevokeReason::Unspecified };
        assert_eq!(inactive.to_string(), "the session is not active (IDLE_EXPIRED)");
    }
}
