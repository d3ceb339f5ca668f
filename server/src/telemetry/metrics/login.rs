//! What came of logins and tokens, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::model::session::AuthType;

/// What came of a login, as far as callers and dashboards may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    Succeeded,
    Failed,
    Throttled,
    TotpRequired,
    PasswordChangeRequired,
    Refused,
    Unavailable,
}

impl LoginOutcome {
    const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Failed,
        Self::Throttled,
        Self::TotpRequired,
        Self::PasswordChangeRequired,
        Self::Refused,
        Self::Unavailable,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Throttled => "throttled",
            Self::TotpRequired => "totp_required",
            Self::PasswordChangeRequired => "password_change_required",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }

    const fn of<T>(outcome: &Result<T>) -> Self {
        let Err(error) = outcome else { return Self::Succeeded };
        match error {
            Error::LoginFailed => Self::Failed,
            Error::LoginThrottled { .. } => Self::Throttled,
            Error::TotpRequired => Self::TotpRequired,
            Error::PasswordChangeRequired => Self::PasswordChangeRequired,
            Error::Overloaded { .. }
            | Error::StoreUnavailable { .. }
            | Error::WriteConflict
            | Error::KeysUnavailable { .. }
            | Error::PlatformUnavailable { .. }
            | Error::PlatformBusy { .. }
            | Error::PlatformAnswerInvalid { .. }
            | Error::ShuttingDown
            | Error::DeadlineExceeded
            | Error::Internal { .. } => Self::Unavailable,
            _ => Self::Refused,
        }
    }
}

const AUTH_TYPES: [AuthType; 4] = [AuthType::Password, AuthType::BasicAuth, AuthType::Jwt, AuthType::Platform];

/// Counted since the start.
#[derive(Default)]
pub struct LoginMetrics {
    /// A row for each of `AUTH_TYPES`, a column for each outcome.
    logins: [[AtomicU64; LoginOutcome::ALL.len()]; AUTH_TYPES.len()],
    token_reuse: AtomicU64,
}

impl LoginMetrics {
    pub(crate) fn count_login<T>(&self, auth_type: AuthType, outcome: &Result<T>) {
        let row = AUTH_TYPES.iter().position(|other| *other == auth_type);
        if let Some(row) = row {
            self.logins[row][LoginOutcome::of(outcome) as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count_token_reuse(&self) {
        self.token_reuse.fetch_add(1, Ordering::Relaxed);
    }

    /// How many logins with what came to what, where there were any.
    pub fn logins(&self) -> impl Iterator<Item = (AuthType, LoginOutcome, u64)> {
        let rows = AUTH_TYPES.into_iter().zip(&self.logins);
        let cells = rows
            .flat_map(|(auth_type, row)| LoginOutcome::ALL.into_iter().zip(row).map(move |(o, n)| (auth_type, o, n)));
        cells
            .map(|(auth_type, outcome, count)| (auth_type, outcome, count.load(Ordering::Relaxed)))
            .filter(|(.., n)| *n > 0)
    }

    /// Sessions that ended because a token from before the last rotation was used.
    pub fn token_reuse(&self) -> u64 {
        self.token_reuse.load(Ordering::Relaxed)
    }
}
