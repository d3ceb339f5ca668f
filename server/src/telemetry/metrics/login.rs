//! Outcomes of logins, and reuse of tokens.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use strum::IntoStaticStr;

use crate::error::{Error, Result};
use crate::model::session::AuthType;

/// The outcome of a login, no more exact than callers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
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

/// Counters since the start, shared by clones.
#[derive(Clone, Default)]
pub struct LoginMetrics {
    logins: Family<[(&'static str, &'static str); 2], Counter>,
    token_reuse: Counter,
}

impl LoginMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        to.register("logins", "Logins, by what with and what came of them", self.logins.clone());
        let help = "Sessions ended because a token from before the last rotation was used";
        to.register("token_reuse", help, self.token_reuse.clone());
    }

    pub(crate) fn count_login<T>(&self, auth_type: AuthType, outcome: &Result<T>) {
        let labels = [("auth_type", auth_type.name()), ("outcome", LoginOutcome::of(outcome).into())];
        self.logins.get_or_create(&labels).inc();
    }

    pub(crate) fn count_token_reuse(&self) {
        self.token_reuse.inc();
    }

    /// Number of logins by type of credential and outcome.
    pub fn logins(&self, auth_type: AuthType, outcome: LoginOutcome) -> u64 {
        let labels = [("auth_type", auth_type.name()), ("outcome", outcome.into())];
        self.logins.get(&labels).map_or(0, |count| count.get())
    }

    /// Sessions that ended because a token from before the last rotation was used.
    pub fn token_reuse(&self) -> u64 {
        self.token_reuse.get()
    }
}
