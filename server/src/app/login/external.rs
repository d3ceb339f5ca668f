//! Login with an external credential, through the link of its definition. A repeated login returns the live session.
//!
//! Turning off a link, a definition or a user ends its sessions in the same transaction, so a session row alone tells
//! whether the session is live. A repeated login is therefore answered by reads. Only a credential without a live
//! session enters the login transaction, which locks the definition, then the user, and decides everything.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use zeroize::Zeroizing;

use super::NewLogin;
use super::admission::{Admission, LoginMethod, SecondFactor, second_factor};
use super::credential::{ExternalCredential, ProvedExternal};
use crate::app::audit::Event;
use crate::app::check::CheckError;
use crate::app::client::{Client, ClientInput};
use crate::app::session::credential::{open_token, seal_token};
use crate::app::session::{Session, extend};
use crate::app::throttle::Attempt;
use crate::app::{App, Context};
use crate::clock::Time;
use crate::config::AddressBinding;
use crate::crypto::{Keyring, Token};
use crate::error::{Error, Result};
use crate::model::audit::{Operation, Reason};
use crate::model::id::LinkId;
use crate::model::network::prefix_of;
use crate::model::session::{AuthType, RevokeReason};
use crate::model::verdict::evaluate;
use crate::store::{
    CredentialHash, CredentialSession, DefinitionRow, LinkedAuthRow, SessionCredentialRow, SessionRow, Tx, UserRow,
};

/// Maximum attempts of a login while others change its definition or session.
const ATTEMPTS: u32 = 5;
/// Minimum interval between updates of a link's last use: frequent logins must not cause a write each.
const LINK_USE_INTERVAL: Duration = Duration::from_mins(1);

/// A login with an external credential.
pub struct ExternalLogin {
    pub credential: ExternalCredential,
    /// Empty: none. Ignored with basic auth.
    pub totp_code: Zeroizing<String>,
}

impl App {
    /// Logs in the user that the credential's definition is linked to. Returns the live session of the same credential
    /// in this app (and, where sessions are bound to addresses, from this address), or creates one.
    ///
    /// The user's password and its expiry do not matter. Basic auth is for machines and needs no second factor. A JWT
    /// needs it when a session is created, if the user has one.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn create_session_externally(
        &self,
        context: &Context,
        client: ClientInput<'_>,
        login: ExternalLogin,
    ) -> Result<NewLogin> {
        let auth_type = login.credential.auth_type();
        let outcome = self.log_in_externally(context, client, login).await;
        self.parts.login_metrics.count_login(auth_type, &outcome);
        outcome
    }

    async fn log_in_externally(
        &self,
        context: &Context,
        client: ClientInput<'_>,
        login: ExternalLogin,
    ) -> Result<NewLogin> {
        let client = self.client(context, client)?;
        let mut proved = self.prove(&client, &login.credential).await?;
        for _ in 0..ATTEMPTS {
            let transaction =
                Arc::new(LoginTransaction::new(&self.parts.keyring, &client, proved, login.totp_code.clone()));
            if let Some(done) = self.live_session(&client, &transaction).await? {
                return Ok(done);
            }
            match self.begin_session(&transaction).await? {
                LoginOutcome::Created(token, row, user) => {
                    let session = Session::from_row(*row, user.is_super_user, self.parts.clock.now());
                    return Ok(NewLogin { ust: token, session, password_expires_soon: None });
                }
                LoginOutcome::Refused(refusal) => return Err(refusal),
                LoginOutcome::Live => proved = transaction.clone_proof(),
                LoginOutcome::Changed => proved = self.prove(&client, &login.credential).await?,
            }
        }
        Err(Error::WriteConflict)
    }

    async fn prove(&self, client: &Client<'_>, credential: &ExternalCredential) -> Result<ProvedExternal> {
        let auth_type = credential.auth_type();
        let event = Event::new(client, Operation::SessionCreate).detail(json!({ "auth_type": auth_type.name() }));
        match self.check_external(credential, client.remote_addr).await {
            Ok(proved) => Ok(proved),
            Err(CheckError::Refused(reason)) => self.login_failed(event, reason).await,
            Err(CheckError::Other(error)) => self.audit_refusal(event, error).await,
        }
    }

    /// The live session of the credential, read without locks. Counts as activity.
    async fn live_session(&self, client: &Client<'_>, transaction: &LoginTransaction) -> Result<Option<NewLogin>> {
        if !transaction.admission.policy.login {
            return Ok(None);
        }
        for found in self.parts.store.sessions_of_credential(&transaction.hashes).await? {
            let Some(link) = found.link.as_ref().filter(|link| is_link_valid(link, &found.session)) else { continue };
            let token = open_token(&self.parts.keyring, &found.credential)?;
            let Some(active) = self.live_session_of(client, token.expose()).await? else { continue };
            self.record_reuse(transaction, &found.session, link).await?;
            let mut row = found.session;
            extend(&mut row, active.session.last_active_at());
            let session = Session::from_row(row, active.session.is_super_user, self.parts.clock.now());
            return Ok(Some(NewLogin { ust: token, session, password_expires_soon: None }));
        }
        Ok(None)
    }

    async fn record_reuse(
        &self,
        transaction: &LoginTransaction,
        session: &SessionRow,
        link: &LinkedAuthRow,
    ) -> Result<()> {
        let now = self.parts.clock.now();
        let (user, session) = (session.user_id, session.session_id);
        let event = transaction.admission.event.clone().target(user).subject(user).session(session);
        let event = event.detail(transaction.detail(true));
        let is_due = link.last_used_at.is_none_or(|used| now.since(used) >= LINK_USE_INTERVAL);
        let link: Option<LinkId> = is_due.then_some(link.link_id);
        self.parts
            .store
            .write(move |tx| {
                tx.audit(event.clone());
                Box::pin(async move {
                    match link {
                        Some(link) => tx.record_link_use(link, now).await,
                        None => Ok(()),
                    }
                })
            })
            .await
    }

    async fn begin_session(&self, transaction: &Arc<LoginTransaction>) -> Result<LoginOutcome> {
        let attempt = self.totp_attempt(transaction);
        if !transaction.totp_code.is_empty()
            && let Err(error) = self.parts.throttle.check(attempt, self.parts.clock.now())
        {
            return self.audit_refusal(transaction.event(), error).await;
        }
        let running = Arc::clone(transaction);
        let done = self.parts.store.write(move |tx| {
            let transaction = Arc::clone(&running);
            Box::pin(async move { transaction.run(tx).await })
        });
        let (outcome, factor) = done.await?;
        match factor {
            SecondFactor::Valid(_) => self.parts.throttle.record_success(attempt, self.parts.clock.now()),
            SecondFactor::Invalid => self.parts.throttle.record_failure(attempt, self.parts.clock.now()),
            SecondFactor::NotRequired | SecondFactor::Missing => {}
        }
        Ok(outcome)
    }

    /// Whoever guesses codes already has the token, so failures of codes are counted separately.
    fn totp_attempt(&self, transaction: &LoginTransaction) -> Attempt {
        self.attempt(&format!("\0totp\0{}", transaction.proved.definition.auth_id), transaction.admission.remote_addr)
    }
}

/// Whether the link is active and still belongs to the user of the session.
fn is_link_valid(link: &LinkedAuthRow, session: &SessionRow) -> bool {
    link.is_active && link.user_id == session.user_id
}

/// The outcome of the login transaction.
enum LoginOutcome {
    Created(Token, Box<SessionRow>, Box<UserRow>),
    /// A concurrent login created the session first.
    Live,
    /// The definition changed after the credential was verified.
    Changed,
    /// Refused and audited.
    Refused(Error),
}

struct LoginTransaction {
    proved: ProvedExternal,
    admission: Admission,
    /// The hashes that the credential may be stored under; new sessions use the first.
    hashes: Vec<CredentialHash>,
    totp_code: Zeroizing<String>,
}

impl LoginTransaction {
    fn new(keyring: &Keyring, client: &Client<'_>, proved: ProvedExternal, totp_code: Zeroizing<String>) -> Self {
        let admission = Admission::new(client, Event::new(client, Operation::SessionCreate));
        let hashes = keyring.pseudonyms("session_credential", &credential(&proved, client));
        Self { proved, admission, hashes, totp_code }
    }

    fn clone_proof(&self) -> ProvedExternal {
        ProvedExternal { definition: self.proved.definition.clone(), token_hash: self.proved.token_hash }
    }

    fn auth_type(&self) -> AuthType {
        self.proved.definition.auth_type
    }

    fn detail(&self, reused: bool) -> serde_json::Value {
        let definition = &self.proved.definition;
        json!({
            "auth_type": self.auth_type().name(),
            "auth_id": definition.auth_id,
            "auth_principal": definition.username,
            "reused": reused,
        })
    }

    fn event(&self) -> Event {
        self.admission.event.clone().detail(self.detail(false))
    }

    async fn run(&self, tx: &Tx) -> Result<(LoginOutcome, SecondFactor)> {
        let refuse = |event: Event, reason: Reason, error: Error| {
            tx.audit(event.refused(reason));
            LoginOutcome::Refused(error)
        };
        let (event, unproved) = (self.event(), SecondFactor::NotRequired);
        let Some(definition) = tx.lock_definition(self.proved.definition.auth_id).await? else {
            return Ok((refuse(event, Reason::DefinitionDeletedMeanwhile, Error::LoginFailed), unproved));
        };
        if definition.version != self.proved.definition.version || !definition.is_active {
            return Ok((LoginOutcome::Changed, unproved));
        }
        let (link, user) = match self.linked_user(tx, &definition).await {
            Ok(found) => found,
            Err(CheckError::Other(error)) => return Err(error),
            Err(CheckError::Refused(reason)) => return Ok((refuse(event, reason, Error::LoginFailed), unproved)),
        };
        let event = event.target(user.user_id);
        if let Err(reason) = self.admission.admits(&user) {
            return Ok((refuse(event, reason, Error::LoginFailed), unproved));
        }
        let now = tx.clock().now();
        if self.has_live_session(tx, &link, now).await? {
            return Ok((LoginOutcome::Live, unproved));
        }
        let factor = self.second_factor(tx, &user, now)?;
        let step = match factor {
            SecondFactor::NotRequired => None,
            SecondFactor::Valid(step) => Some(step),
            SecondFactor::Missing => return Ok((refuse(event, Reason::TotpRequired, Error::TotpRequired), factor)),
            SecondFactor::Invalid => return Ok((refuse(event, Reason::WrongTotpCode, Error::LoginFailed), factor)),
        };
        if let Some(limit) = self.admission.enforce_quota(tx, user.user_id, now).await? {
            return Ok((refuse(event, Reason::Quota, Error::SessionQuotaReached { limit }), factor));
        }
        let (token, row) = self.create_session(tx, definition, &link, &user, now).await?;
        tx.audit(event.subject(user.user_id).session(row.session_id));
        if let Some(step) = step {
            tx.update_user(UserRow { totp_last_step: step, ..user.clone() }).await?;
        }
        Ok((LoginOutcome::Created(token, Box::new(row), Box::new(user)), factor))
    }

    /// The active link of the definition and its user, who stays locked until the transaction ends.
    async fn linked_user(&self, tx: &Tx, definition: &DefinitionRow) -> Result<(LinkedAuthRow, UserRow), CheckError> {
        // The definition's lock protects the link, but not from the deletion of its user.
        let link = tx.link_of_definition(definition.auth_id).await?.ok_or(Reason::NotLinked)?;
        if !link.is_active {
            return Err(Reason::LinkInactive.into());
        }
        let user = tx.lock_user(link.user_id).await?.ok_or(Reason::UserDeletedMeanwhile)?;
        Ok((link, user))
    }

    /// Checks again under the locks, which exclude concurrent logins with this credential. Sessions that are not live
    /// are revoked: another server may hold activity that would revive them.
    async fn has_live_session(&self, tx: &Tx, link: &LinkedAuthRow, now: Time) -> Result<bool> {
        for found in tx.lock_sessions_of_credential(&self.hashes).await? {
            if self.is_live(tx, &found, link, now).await? {
                return Ok(true);
            }
            if found.session.revoked_at.is_none() {
                tx.revoke_session(&found.session, RevokeReason::Quota, now).await?;
            }
        }
        Ok(false)
    }

    async fn is_live(&self, tx: &Tx, found: &CredentialSession, link: &LinkedAuthRow, now: Time) -> Result<bool> {
        if !is_link_valid(link, &found.session) {
            return Ok(false);
        }
        let token = open_token(tx.keyring(), &found.credential)?;
        for hash in tx.keyring().token_hashes(token.as_ref()) {
            let Some((token, _)) = tx.lock_session_by_token(&hash).await? else { continue };
            let Some(entry) = tx.session_entry(&token).await? else { continue };
            return Ok(evaluate(&entry, now, &self.admission.policy, self.admission.remote_addr).is_ok());
        }
        Ok(false)
    }

    fn second_factor(&self, tx: &Tx, user: &UserRow, now: Time) -> Result<SecondFactor> {
        if self.auth_type() != AuthType::Jwt {
            return Ok(SecondFactor::NotRequired);
        }
        second_factor(tx.keyring(), user, &self.totp_code, now)
    }

    async fn create_session(
        &self,
        tx: &Tx,
        definition: DefinitionRow,
        link: &LinkedAuthRow,
        user: &UserRow,
        now: Time,
    ) -> Result<(Token, SessionRow)> {
        let definition = Some((definition.auth_id, definition.username));
        let method = LoginMethod { auth_type: self.auth_type(), definition };
        let (token, row) = self.admission.create_session(tx, user, method, now).await?;
        let hash = self.hashes.first().ok_or_else(|| Error::internal("a key ring without a seal key"))?;
        let credential = SessionCredentialRow {
            credential_hash: hash.to_vec(),
            session_id: row.session_id,
            token: seal_token(tx.keyring(), hash, &token),
        };
        tx.map_credential(&self.hashes, credential).await?;
        tx.record_link_use(link.link_id, now).await?;
        Ok((token, row))
    }
}

/// The identity of a credential's session: definition, token (JWT only), app and, where the policy binds sessions to
/// addresses, the address. Each part has a fixed length or a terminator, so the encoding is unambiguous.
fn credential(proved: &ProvedExternal, client: &Client<'_>) -> Vec<u8> {
    let network = match client.app.policy.address_binding {
        AddressBinding::Off | AddressBinding::Record => String::new(),
        AddressBinding::Prefix => prefix_of(client.remote_addr).to_string(),
        AddressBinding::Exact => client.remote_addr.to_string(),
    };
    let mut parts = proved.definition.auth_id.to_be_bytes().to_vec();
    parts.push(u8::from(proved.token_hash.is_some()));
    parts.extend_from_slice(&proved.token_hash.unwrap_or_default());
    parts.extend_from_slice(network.as_bytes());
    parts.push(0);
    parts.extend_from_slice(client.app.name.as_bytes());
    parts
}
