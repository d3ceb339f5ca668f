//! Login with a password.

pub(in crate::app) mod admission;
pub mod credential;
pub mod external;
pub mod platform;

use std::sync::Arc;

use zeroize::Zeroizing;

use self::admission::{Admission, LoginMethod, SecondFactor, may_log_in, second_factor};
use super::audit::Event;
use super::check::CheckError;
use super::client::{Client, ClientInput};
use super::session::Session;
use super::user::password::{Password, check_new, expiry_warning};
use super::user::{set_password, username_key};
use super::{App, Context};
use crate::clock::Time;
use crate::config;
use crate::crypto::{PasswordHash, Token};
use crate::error::{Error, Result};
use crate::model::audit::{Operation, Reason};
use crate::model::id::UserId;
use crate::model::session::{AuthType, RevokeReason};
use crate::store::{SessionRow, Tx, UserRow};

/// A login with username and password.
pub struct PasswordLogin {
    pub username: String,
    pub password: Password,
    /// Empty: none.
    pub totp_code: Zeroizing<String>,
    /// Empty: none.
    pub new_password: Password,
}

/// A login that succeeded.
#[derive(Debug)]
pub struct NewLogin {
    pub ust: Token,
    pub session: Session,
    /// When the password expires, if that is soon.
    pub password_expires_soon: Option<Time>,
}

/// What was proved before the transaction and must still hold in it.
struct Proved {
    user: UserRow,
    rehashed: Option<PasswordHash>,
    new_password: Option<PasswordHash>,
    totp_step: Option<i64>,
}

/// The outcome of the login transaction.
enum LoginOutcome {
    Created(Token, Box<SessionRow>, Box<UserRow>),
    /// Refused and audited.
    Refused(Error),
}

/// The audit reason of a refusal that has its own error; `None` for server faults.
const fn refusal(error: &Error) -> Option<Reason> {
    Some(match error {
        Error::LoginThrottled { .. } => Reason::Throttled,
        Error::TotpRequired => Reason::TotpRequired,
        Error::PasswordChangeRequired => Reason::PasswordChangeRequired,
        Error::PasswordRefused { .. } => Reason::NewPasswordRefused,
        Error::PlatformRoleMissing => Reason::PlatformRoleMissing,
        Error::PlatformAccessDenied { .. } => Reason::PlatformAccessDenied,
        _ => return None,
    })
}

impl App {
    /// Logs a user in by password.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn create_session(
        &self,
        context: &Context,
        client: ClientInput<'_>,
        login: PasswordLogin,
    ) -> Result<NewLogin> {
        let outcome = self.log_in_with_password(context, client, login).await;
        self.parts.login_metrics.count_login(AuthType::Password, &outcome);
        outcome
    }

    /// Fails at once if the hashing queue is full. Counts as a refused login.
    pub fn check_hashing_capacity(&self) -> Result<()> {
        let checked = self.parts.hasher.check_capacity();
        if checked.is_err() {
            self.parts.login_metrics.count_login(AuthType::Password, &checked);
        }
        checked
    }

    async fn log_in_with_password(
        &self,
        context: &Context,
        client: ClientInput<'_>,
        login: PasswordLogin,
    ) -> Result<NewLogin> {
        let client = self.client(context, client)?;
        // A flood must not cost queries.
        self.parts.hasher.check_capacity()?;
        let key = username_key(&login.username);
        let attempt = self.attempt(&key, client.remote_addr);
        let user = self.parts.store.user_by_name(&key).await?;
        let event = Event::new(&client, Operation::SessionCreate);
        let event = match &user {
            Some(user) => event.target(user.user_id),
            None => event,
        };
        let checked = self.check_password(attempt, login.password.clone(), user.as_ref()).await;
        let rehashed = match checked {
            Ok(rehashed) => rehashed,
            Err(CheckError::Refused(reason)) => return self.login_failed(event, reason).await,
            Err(CheckError::Other(error)) => return self.audit_refusal(event, error).await,
        };
        let Some(user) = user else { return Err(Error::internal("the password of nobody was right")) };
        if let Err(reason) = may_log_in(&user, client.app.policy, client.remote_addr) {
            self.parts.throttle.record_failure(attempt, self.parts.clock.now());
            return self.login_failed(event, reason).await;
        }
        let now = self.parts.clock.now();
        let totp_step = match second_factor(&self.parts.keyring, &user, &login.totp_code, now)? {
            SecondFactor::NotRequired => None,
            SecondFactor::Valid(step) => Some(step),
            SecondFactor::Missing => return self.audit_refusal(event, Error::TotpRequired).await,
            SecondFactor::Invalid => {
                self.parts.throttle.record_failure(attempt, now);
                return self.login_failed(event, Reason::WrongTotpCode).await;
            }
        };
        let new_password = match self.new_password(&user, &login).await {
            Ok(new_password) => new_password,
            Err(error) => return self.audit_refusal(event, error).await,
        };
        let proved = Proved { user, rehashed, new_password, totp_step };
        let done = self.log_in(&client, proved, event).await?;
        self.parts.throttle.record_success(attempt, self.parts.clock.now());
        Ok(done)
    }

    /// Audits the error if it is a refusal, and returns it.
    pub(in crate::app) async fn audit_refusal<T>(&self, event: Event, error: Error) -> Result<T> {
        match refusal(&error) {
            // Throttled logins come in floods: counted, they do not delay other writers.
            Some(Reason::Throttled) => self.audit_throttled_login(event).await,
            Some(reason) => self.write_event(event.refused(reason)).await?,
            None => {}
        }
        Err(error)
    }

    /// The hash of the new password, if sent. Fails if one is required and missing.
    async fn new_password(&self, user: &UserRow, login: &PasswordLogin) -> Result<Option<PasswordHash>> {
        let now = self.parts.clock.now();
        let has_expired = user.password_expires_at.is_some_and(|expires_at| expires_at <= now);
        if login.new_password.is_empty() {
            return if has_expired || user.password_must_change {
                Err(Error::PasswordChangeRequired)
            } else {
                Ok(None)
            };
        }
        check_new(&self.parts.password, "password.new_password", &login.new_password, &user.username)?;
        if login.new_password == login.password {
            let problem = "must not be the old password".to_owned();
            return Err(Error::PasswordRefused { field: "password.new_password", problem });
        }
        self.parts.hasher.hash(login.new_password.clone()).await.map(Some)
    }

    async fn log_in(&self, client: &Client<'_>, proved: Proved, event: Event) -> Result<NewLogin> {
        let admission = Admission::new(client, event);
        let transaction = Arc::new(LoginTransaction { proved, admission, rules: self.parts.password.clone() });
        let done = self.parts.store.write(move |tx| {
            let transaction = Arc::clone(&transaction);
            Box::pin(async move { transaction.run(tx).await })
        });
        match done.await? {
            LoginOutcome::Created(ust, row, user) => {
                let now = self.parts.clock.now();
                Ok(NewLogin {
                    ust,
                    session: Session::from_row(*row, user.is_super_user, now),
                    password_expires_soon: expiry_warning(&self.parts.password, user.password_expires_at, now),
                })
            }
            LoginOutcome::Refused(refusal) => Err(refusal),
        }
    }
}

struct LoginTransaction {
    proved: Proved,
    admission: Admission,
    rules: config::Password,
}

impl LoginTransaction {
    async fn run(&self, tx: &Tx) -> Result<LoginOutcome> {
        let refuse = |reason: Reason, error: Error| {
            tx.audit(self.admission.event.clone().refused(reason));
            Ok(LoginOutcome::Refused(error))
        };
        let user_id: UserId = self.proved.user.user_id;
        let now = tx.clock().now();
        let found = self.admission.lock_user(tx, user_id, now).await?;
        let recheck = |(user, sessions)| self.recheck(user).map(|user| (user, sessions));
        let (mut user, sessions) = match found.ok_or(Reason::DeletedMeanwhile).and_then(recheck) {
            Ok(found) => found,
            Err(reason) => return refuse(reason, Error::LoginFailed),
        };
        if let Some(limit) = self.admission.enforce_quota_with_count(tx, user_id, sessions, now).await? {
            return refuse(Reason::Quota, Error::SessionQuotaReached { limit });
        }
        self.update_user(tx, &mut user, now).await?;
        let (token, row) = self.admission.create_session(tx, &user, LoginMethod::password(), now).await?;
        let event = self.admission.event.clone().subject(user_id).session(row.session_id);
        tx.audit(event.detail(serde_json::json!({ "auth_type": "password" })));
        Ok(LoginOutcome::Created(token, Box::new(row), Box::new(user)))
    }

    /// Checks the proof against the locked row, which nobody else can change now.
    fn recheck(&self, user: UserRow) -> Result<UserRow, Reason> {
        self.admission.admits(&user)?;
        // A concurrent login may have rehashed the same password, which keeps the version; a new one increments it.
        let is_new_hash = user.password_hash != self.proved.user.password_hash;
        if is_new_hash && user.version != self.proved.user.version {
            return Err(Reason::PasswordChangedMeanwhile);
        }
        match self.proved.totp_step {
            Some(step) if step <= user.totp_last_step => Err(Reason::TotpCodeUsed),
            None if user.is_totp_enabled => Err(Reason::TotpEnabledMeanwhile),
            _ => Ok(user),
        }
    }

    async fn update_user(&self, tx: &Tx, user: &mut UserRow, now: Time) -> Result<()> {
        if let Some(step) = self.proved.totp_step {
            user.totp_last_step = step;
        }
        if let Some(hash) = &self.proved.new_password {
            set_password(user, hash, false, &self.rules, now);
            let user_id = user.user_id;
            let ended = tx.revoke_sessions_of_user(user_id, None, RevokeReason::PasswordChanged, now).await?;
            let event = self.admission.event.clone().operation(Operation::UserChangePassword).subject(user_id);
            tx.audit(event.detail(serde_json::json!({ "revoked": ended })));
        } else if let Some(hash) = &self.proved.rehashed {
            user.password_hash = Some(hash.0.clone());
        }
        let changed =
            self.proved.totp_step.is_some() || self.proved.new_password.is_some() || self.proved.rehashed.is_some();
        if changed { tx.update_user(user.clone()).await } else { Ok(()) }
    }
}
