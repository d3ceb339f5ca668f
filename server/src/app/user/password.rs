//! Password rules. Passwords are used byte for byte, never trimmed or normalized (ASVS 6.2.8).

use std::time::Duration;

use zeroize::Zeroizing;

use crate::app::App;
use crate::app::audit::Event;
use crate::app::check::CheckError;
use crate::app::throttle::Attempt;
use crate::clock::Time;
use crate::config;
use crate::crypto::{PasswordHash, PasswordMatch};
use crate::error::{Error, Result};
use crate::model::audit::Reason;
use crate::store::UserRow;

/// A password exactly as received.
pub(in crate::app) type Password = Zeroizing<String>;

/// Checks that a new password is within the length limits and is not the username.
pub(in crate::app) fn check_new(
    rules: &config::Password,
    field: &'static str,
    password: &str,
    username: &str,
) -> Result<()> {
    let refused = |problem: String| Err(Error::PasswordRefused { field, problem });
    if password.chars().count() < rules.min_length {
        return refused(format!("must have at least {} characters", rules.min_length));
    }
    if password.len() > rules.max_length {
        return refused(format!("must have at most {} bytes", rules.max_length));
    }
    if password.to_lowercase() == username.to_lowercase() {
        return refused("must not be the username".to_owned());
    }
    Ok(())
}

/// When a password that is set now expires.
pub(in crate::app) fn expiry(rules: &config::Password, now: Time) -> Option<Time> {
    rules.max_age.map(|max_age| now + max_age)
}

/// The expiry, if it is near enough to warn of.
pub(in crate::app) fn expiry_warning(rules: &config::Password, expires_at: Option<Time>, now: Time) -> Option<Time> {
    let expires_at = expires_at?;
    let left: Duration = expires_at.since(now);
    (left <= rules.warn_before).then_some(expires_at)
}

/// The new hash to store, if hashing parameters have changed.
pub(in crate::app) type Rehashed = Option<PasswordHash>;

impl App {
    pub(in crate::app) fn attempt(&self, username_key: &str, address: std::net::IpAddr) -> Attempt {
        Attempt { name: self.parts.keyring.pseudonym("throttle", username_key.as_bytes()), address }
    }

    /// Checks a user's password. `None` takes as long, which hides unknown users. Counts failures.
    pub(in crate::app) async fn check_password(
        &self,
        attempt: Attempt,
        password: Password,
        user: Option<&UserRow>,
    ) -> Result<Rehashed, CheckError> {
        self.parts.throttle.check(attempt, self.parts.clock.now())?;
        if password.len() > self.parts.password.max_length {
            self.parts.throttle.record_failure(attempt, self.parts.clock.now());
            return Err(Reason::PasswordTooLong.into());
        }
        let stored = user.and_then(|user| user.password_hash.clone()).map(PasswordHash);
        let has_password = stored.is_some();
        match self.parts.hasher.check(password, stored).await? {
            PasswordMatch::Right => Ok(None),
            PasswordMatch::RightRehashed(hash) => Ok(Some(hash)),
            PasswordMatch::Wrong => {
                self.parts.throttle.record_failure(attempt, self.parts.clock.now());
                Err(CheckError::Refused(match (user, has_password) {
                    (None, _) => Reason::UnknownUser,
                    (Some(_), false) => Reason::NoPassword,
                    (Some(_), true) => Reason::WrongPassword,
                }))
            }
        }
    }

    /// Audits why a login or re-authentication failed. The caller gets the same error for every cause.
    pub(in crate::app) async fn login_failed<T>(&self, event: Event, reason: Reason) -> Result<T> {
        self.write_event(event.refused(reason)).await?;
        Err(Error::LoginFailed)
    }
}
