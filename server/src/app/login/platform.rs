//! Login with a platform's credential.
//!
//! The platform is called once, before any transaction is open. Then one transaction finds the user, creates the
//! session and stores the platform's credential. If that fails for any reason, the platform's session is logged out:
//! nobody else holds it.

use std::sync::Arc;

use opentelemetry::trace::FutureExt;
use serde_json::json;
use tracing::Instrument;
use zeroize::Zeroizing;

use super::NewLogin;
use super::admission::{Admission, LoginMethod, SecondFactor, second_factor};
use crate::app::audit::Event;
use crate::app::check::CheckError;
use crate::app::client::{Client, ClientInput};
use crate::app::platform::{Platform, ReloginCredential, SealedCredential, SessionOnPlatform};
use crate::app::session::Session;
use crate::app::throttle::Attempt;
use crate::app::user::password::Password;
use crate::app::user::{MAX_USERNAME, UserChange, new_row, username_key};
use crate::app::{App, Context};
use crate::clock::Time;
use crate::config::PlatformUsers;
use crate::crypto::Token;
use crate::error::{Error, Result};
use crate::model::audit::{Operation, Reason};
use crate::model::session::AuthType;
use crate::model::user::ApprovalStatus;
use crate::store::{SessionPlatformRow, SessionRow, Tx, UserRow};
use crate::upstream::{LoggedIn, Problem};

const MAX_PASSWORD: usize = 1024;
const MAX_UNIQUE_NAME: usize = 128;

/// A login with the username and the password of a platform.
pub struct PlatformLogin {
    /// Name or alias.
    pub platform: String,
    pub username: String,
    pub password: Password,
    /// Empty: none.
    pub totp_code: Zeroizing<String>,
    pub unique_name: String,
}

impl PlatformLogin {
    /// Whether to ask the platform at all: other input cannot match an account there.
    fn is_plausible(&self) -> bool {
        (1..=MAX_USERNAME).contains(&self.username.len())
            && (1..=MAX_PASSWORD).contains(&self.password.len())
            && !self.username.chars().any(char::is_control)
    }
}

/// The outcome of the login transaction.
enum LoginOutcome {
    Created(Token, Box<SessionRow>, Box<UserRow>, SessionPlatformRow),
    /// Refused and audited.
    Refused(Error),
}

impl App {
    /// Logs in the user that the platform names after accepting their password. Every login creates a session.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn create_session_on_platform(
        &self,
        context: &Context,
        client: ClientInput<'_>,
        login: PlatformLogin,
    ) -> Result<NewLogin> {
        let outcome = self.log_in_on_platform(context, client, login).await;
        self.parts.login_metrics.count_login(AuthType::Platform, &outcome);
        outcome
    }

    async fn log_in_on_platform(
        &self,
        context: &Context,
        client: ClientInput<'_>,
        login: PlatformLogin,
    ) -> Result<NewLogin> {
        let client = self.client(context, client)?;
        let platform = Arc::clone(self.parts.platforms.find(&login.platform).ok_or(Error::PlatformUnknown)?);
        check_unique_name(&login.unique_name)?;
        let attempt = self.platform_attempt(&platform, &login.username, &client);
        let detail = json!({ "auth_type": AuthType::Platform.name(), "platform": platform.name });
        let event = Event::new(&client, Operation::SessionCreate).detail(detail.clone());
        if let Err(error) = self.parts.throttle.check(attempt, self.parts.clock.now()) {
            return self.audit_refusal(event, error).await;
        }
        let login = Arc::new(login);
        let upstream_login = match authenticate_upstream(&platform, &login).await {
            Ok(upstream_login) => upstream_login,
            Err(Problem::Refused { code }) => {
                self.parts.throttle.record_failure(attempt, self.parts.clock.now());
                let mut detail = detail;
                detail["upstream_code"] = code.into();
                return self.login_failed(event.detail(detail), Reason::PlatformRefused).await;
            }
            Err(Problem::Fault(error)) => return self.audit_refusal(event, error).await,
        };
        let Some(groups) = platform.groups(&upstream_login.roles) else {
            return self.audit_refusal(event, Error::PlatformRoleMissing).await;
        };
        let admission = Admission::new(&client, event).with_policy(platform.capped_policy(client.app.policy));
        self.run_transaction(attempt, LoginTransaction { platform, login, upstream_login, groups, admission }).await
    }

    async fn run_transaction(&self, attempt: Attempt, transaction: LoginTransaction) -> Result<NewLogin> {
        let transaction = Arc::new(transaction);
        let running = Arc::clone(&transaction);
        let done = self.parts.store.write(move |tx| {
            let transaction = Arc::clone(&running);
            Box::pin(async move { transaction.run(tx).await })
        });
        let (outcome, now) = (done.await?, self.parts.clock.now());
        match outcome {
            LoginOutcome::Created(token, row, user, platform) => {
                transaction.upstream_login.credential.keep();
                self.parts.throttle.record_success(attempt, now);
                let session = Session::from_row(*row, user.is_super_user, now);
                let session = Session { platform: Some(SessionOnPlatform::from(platform)), ..session };
                Ok(NewLogin { ust: token, session, password_expires_soon: None })
            }
            LoginOutcome::Refused(refusal) => {
                if matches!(refusal, Error::LoginFailed) {
                    self.parts.throttle.record_failure(attempt, now);
                }
                Err(refusal)
            }
        }
    }

    /// A separate key space: local and platform users of the same name do not share failures.
    fn platform_attempt(&self, platform: &Platform, username: &str, client: &Client<'_>) -> Attempt {
        let name = [platform.name.as_str(), &username_key(username)].join("\0");
        Attempt {
            name: self.parts.keyring.pseudonym("throttle platform", name.as_bytes()),
            address: client.remote_addr,
        }
    }
}

/// Finishes even if the call is cancelled, so that no orphaned session is left on the platform.
async fn authenticate_upstream(platform: &Arc<Platform>, login: &Arc<PlatformLogin>) -> Result<LoggedIn, Problem> {
    if !login.is_plausible() {
        return Err(Problem::Refused { code: None });
    }
    let (platform, login) = (Arc::clone(platform), Arc::clone(login));
    let request = async move { platform.micetro.log_in(&login.username, &login.password).await };
    let task = tokio::spawn(request.in_current_span().with_current_context());
    task.await.unwrap_or_else(|error| Err(Problem::Fault(Error::internal(error))))
}

fn check_unique_name(name: &str) -> Result<()> {
    if name.len() > MAX_UNIQUE_NAME {
        return Err(Error::invalid("platform.unique_name", "is longer than 128 bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::invalid("platform.unique_name", "must not contain control characters"));
    }
    Ok(())
}

struct LoginTransaction {
    platform: Arc<Platform>,
    login: Arc<PlatformLogin>,
    upstream_login: LoggedIn,
    groups: Vec<String>,
    admission: Admission,
}

impl LoginTransaction {
    async fn run(&self, tx: &Tx) -> Result<LoginOutcome> {
        let (event, now) = (self.admission.event.clone(), tx.clock().now());
        let refuse = |event: Event, reason: Reason, error: Error| {
            tx.audit(event.refused(reason));
            Ok(LoginOutcome::Refused(error))
        };
        let user = match self.user(tx, now).await {
            Ok(user) => user,
            Err(CheckError::Other(error)) => return Err(error),
            Err(CheckError::Refused(reason)) => return refuse(event, reason, Error::LoginFailed),
        };
        let user_id = user.user_id;
        let event = event.target(user_id);
        if user.is_super_user && !self.platform.config.super_users {
            return refuse(event, Reason::SuperUser, Error::LoginFailed);
        }
        if let Err(reason) = self.admission.admits(&user) {
            return refuse(event, reason, Error::LoginFailed);
        }
        let step = match second_factor(tx.keyring(), &user, &self.login.totp_code, now)? {
            SecondFactor::NotRequired => None,
            SecondFactor::Valid(step) => Some(step),
            SecondFactor::Missing => return refuse(event, Reason::TotpRequired, Error::TotpRequired),
            SecondFactor::Invalid => return refuse(event, Reason::WrongTotpCode, Error::LoginFailed),
        };
        if let Some(limit) = self.admission.enforce_quota(tx, user_id, now).await? {
            return refuse(event, Reason::Quota, Error::SessionQuotaReached { limit });
        }
        let method = LoginMethod { auth_type: AuthType::Platform, definition: None };
        let (token, row) = self.admission.create_session(tx, &user, method, now).await?;
        let platform = self.store_platform(tx, &row).await?;
        if let Some(step) = step {
            tx.update_user(UserRow { totp_last_step: step, ..user.clone() }).await?;
        }
        tx.audit(event.subject(user_id).session(row.session_id));
        Ok(LoginOutcome::Created(token, Box::new(row), Box::new(user), platform))
    }

    /// The user of the name that the platform returned, locked; created if the configuration says so.
    async fn user(&self, tx: &Tx, now: Time) -> Result<UserRow, CheckError> {
        let name = &self.upstream_login.username;
        if let Some(found) = tx.user_by_name(&username_key(name)).await? {
            return Ok(tx.lock_user(found.user_id).await?.ok_or(Reason::UserDeletedMeanwhile)?);
        }
        if self.platform.config.users == PlatformUsers::MustExist {
            return Err(Reason::UnknownUser.into());
        }
        let Ok(row) = new_row(&[UserChange::Username(name.clone())], ApprovalStatus::Approved, now) else {
            return Err(Reason::UsernameNotAllowed.into());
        };
        match tx.insert_user(row.clone()).await {
            Ok(()) => {}
            // Created concurrently: retry the transaction.
            Err(Error::UsernameTaken) => return Err(Error::WriteConflict.into()),
            Err(error) => return Err(error.into()),
        }
        let event = self.admission.event.clone().operation(Operation::UserCreate).target(row.user_id);
        tx.audit(event.detail(json!({ "is_super_user": false, "platform": self.platform.name })));
        Ok(row)
    }

    async fn store_platform(&self, tx: &Tx, session: &SessionRow) -> Result<SessionPlatformRow> {
        let platform = SessionPlatformRow {
            session_id: session.session_id,
            platform: self.platform.name.clone(),
            url: self.platform.url.clone(),
            version: self.upstream_login.version.clone(),
            unique_name: self.login.unique_name.clone(),
            groups: serde_json::to_string(&self.groups).map_err(Error::internal)?,
        };
        let relogin = self.platform.keeps_password().then(|| ReloginCredential {
            username: self.login.username.clone(),
            password: self.login.password.clone(),
        });
        let authorization = self.upstream_login.credential.expose().to_owned().into();
        let credential = SealedCredential { authorization, relogin }.seal(tx.keyring(), &platform, 0)?;
        tx.insert_platform(platform.clone(), credential).await?;
        Ok(platform)
    }
}
