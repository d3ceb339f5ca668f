//! Users' own credentials: passwords and TOTP.

use zeroize::Zeroizing;

use super::password::{Password, check_new};
use super::set_password;
use super::totp;
use crate::app::App;
use crate::app::audit::Event;
use crate::app::check::CheckError;
use crate::app::client::Acting;
use crate::clock::Time;
use crate::crypto::Keyring;
use crate::error::{Error, Result};
use crate::model::audit::{Operation, Reason};
use crate::model::id::UserId;
use crate::model::session::RevokeReason;
use crate::store::UserRow;

impl App {
    /// Changes the acting user's password; returns how many other sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn change_password(&self, acting: &Acting<'_>, old: Password, new: Password) -> Result<u64> {
        let row = self.reauthenticate(acting, Operation::UserChangePassword, old.clone()).await?;
        check_new(&self.parts.password, "new_password", &new, &row.username)?;
        if old == new {
            return Err(Error::PasswordRefused {
                field: "new_password",
                problem: "must not be the old password".to_owned(),
            });
        }
        self.replace_password(acting, Operation::UserChangePassword, acting.user(), new, false, Some(row.password_hash))
            .await
    }

    /// Sets a user's password; returns how many sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn set_password(
        &self,
        acting: &Acting<'_>,
        user: UserId,
        new: Password,
        must_change: bool,
    ) -> Result<u64> {
        self.require_super_user(acting, Operation::UserSetPassword, Some(user), None).await?;
        let row = self.parts.store.user(user).await?.ok_or(Error::UserNotFound)?;
        check_new(&self.parts.password, "new_password", &new, &row.username)?;
        self.replace_password(acting, Operation::UserSetPassword, user, new, must_change, None).await
    }

    /// A new TOTP secret, in base32 and as an `otpauth://` URI. It is not asked for before it is confirmed.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn enroll_totp(
        &self,
        acting: &Acting<'_>,
        password: Password,
    ) -> Result<(Zeroizing<String>, Zeroizing<String>)> {
        let row = self.reauthenticate(acting, Operation::UserEnrollTotp, password).await?;
        let secret = totp::new_secret();
        let encoded = totp::encode(&secret, &row.username)?;
        let sealed = self.parts.keyring.seal(&totp_seal_context(&row), &secret);
        let event = Event::by(acting, Operation::UserEnrollTotp).target(acting.user());
        self.change_user(acting.user(), event, move |row, _| {
            if row.is_totp_enabled {
                return Err(Error::TotpAlreadyEnabled);
            }
            row.totp_secret = Some(sealed.clone());
            Ok(())
        })
        .await?;
        Ok(encoded)
    }

    /// Enables TOTP; returns how many other sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn confirm_totp(&self, acting: &Acting<'_>, code: Zeroizing<String>) -> Result<u64> {
        let row = self.parts.store.user(acting.user()).await?.ok_or(Error::SessionInvalid)?;
        let attempt = self.attempt(&row.username_key, acting.client.remote_addr);
        let now = self.parts.clock.now();
        self.parts.throttle.check(attempt, now)?;
        if row.is_totp_enabled {
            return Err(Error::TotpAlreadyEnabled);
        }
        if row.totp_secret.is_none() {
            return Err(Error::TotpNotEnrolled);
        }
        let event = Event::by(acting, Operation::UserConfirmTotp).target(acting.user());
        let step = matching_totp_step(&self.parts.keyring, &row, &code, now)?;
        let Some(step) = step else {
            self.parts.throttle.record_failure(attempt, now);
            return self.login_failed(event, Reason::WrongTotpCode).await;
        };
        let secret = row.totp_secret;
        self.change_factor(acting, acting.user(), event, move |row| {
            if row.is_totp_enabled {
                return Err(Error::TotpAlreadyEnabled);
            }
            if row.totp_secret != secret {
                return Err(Error::WriteConflict);
            }
            row.is_totp_enabled = true;
            row.totp_last_step = step;
            Ok(())
        })
        .await
    }

    /// Disables TOTP: for oneself with the password, for others as a super-user. Returns how many sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn disable_totp(&self, acting: &Acting<'_>, user: Option<UserId>, password: Password) -> Result<u64> {
        let target = user.unwrap_or(acting.user());
        if target == acting.user() {
            self.reauthenticate(acting, Operation::UserDisableTotp, password).await?;
        } else {
            self.require_super_user(acting, Operation::UserDisableTotp, Some(target), None).await?;
        }
        let event = Event::by(acting, Operation::UserDisableTotp).target(target);
        self.change_factor(acting, target, event, |row| {
            if row.totp_secret.is_none() {
                return Err(Error::TotpNotEnrolled);
            }
            row.totp_secret = None;
            row.is_totp_enabled = false;
            Ok(())
        })
        .await
    }

    /// Re-authenticates the acting user by password.
    async fn reauthenticate(&self, acting: &Acting<'_>, operation: Operation, password: Password) -> Result<UserRow> {
        let row = self.parts.store.user(acting.user()).await?.ok_or(Error::SessionInvalid)?;
        let attempt = self.attempt(&row.username_key, acting.client.remote_addr);
        match self.check_password(attempt, password, Some(&row)).await {
            Ok(_) => Ok(row),
            Err(CheckError::Other(error)) => Err(error),
            Err(CheckError::Refused(reason)) => {
                self.login_failed(Event::by(acting, operation).target(acting.user()), reason).await
            }
        }
    }

    /// `expected`: the stored hash must still be this one (inner `None`: no password).
    #[expect(clippy::option_option, reason = "no expectation, no password, this password")]
    async fn replace_password(
        &self,
        acting: &Acting<'_>,
        operation: Operation,
        user: UserId,
        new: Password,
        must_change: bool,
        expected: Option<Option<String>>,
    ) -> Result<u64> {
        let hash = self.parts.hasher.hash(new).await?;
        let rules = self.parts.password.clone();
        let event = Event::by(acting, operation).target(user);
        let except = Some(acting.session.session_id);
        self.parts.store.flush_activity().await?;
        let changed =
            self.change_user_and_revoke(user, event, Some((RevokeReason::PasswordChanged, except)), move |row, now| {
                if expected.as_ref().is_some_and(|expected| *expected != row.password_hash) {
                    return Err(Error::WriteConflict);
                }
                set_password(row, &hash, must_change, &rules, now);
                Ok(())
            });
        Ok(changed.await?.1)
    }

    async fn change_factor(
        &self,
        acting: &Acting<'_>,
        user: UserId,
        event: Event,
        change: impl Fn(&mut UserRow) -> Result<()> + Send + Sync + 'static,
    ) -> Result<u64> {
        self.parts.store.flush_activity().await?;
        let except = Some(acting.session.session_id);
        let changed =
            self.change_user_and_revoke(user, event, Some((RevokeReason::TotpChanged, except)), move |row, _| {
                change(row)
            });
        Ok(changed.await?.1)
    }
}

/// The time step of a valid, unused code of the user's second factor.
pub(in crate::app) fn matching_totp_step(
    keyring: &Keyring,
    row: &UserRow,
    code: &str,
    now: Time,
) -> Result<Option<i64>> {
    let sealed = row.totp_secret.as_ref().ok_or_else(|| Error::internal("TOTP is on without a secret"))?;
    let secret = keyring.open(&totp_seal_context(row), sealed).map(Zeroizing::new).map_err(Error::internal)?;
    totp::matching_step(&secret, code, row.totp_last_step, now)
}

fn totp_seal_context(row: &UserRow) -> [&[u8]; 3] {
    [b"user", row.user_id.as_bytes(), b"totp_secret"]
}
