//! Logging in through a link: with a credential of a definition, which finds its live session again.
//!
//! A session says of itself whether it is live: what turns off a link, a definition or a user ends its sessions in the same
//! transaction. So a credential that was used before is answered by reads; only one that has no live session goes through
//! the transaction that decides everything, under the locks of the definition and the user, in this order.

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

/// How often a login looks again at what others changed under it.
const ATTEMPTS: u32 = 5;
/// The use of a link is not noted more often than this, so that keys that are used all the time do not write all the time.
const USED_EVERY: Duration = Duration::from_mins(1);

/// A login with a credential that a definition is of.
pub struct ExternalLogin {
    pub credential: ExternalCredential,
    /// Empty: none. Not looked at with basic auth.
    pub totp_code: Zeroizing<String>,
}

impl App {
    /// Logs in the user that the credential's definition is linked to: into the live session of that same credential, in
    /// that app and, where sessions are bound to addresses, from there; or into a new one.
    ///
    /// Their password, its expiry included, does not matter. Basic auth, a credential of machines, asks for no second
    /// factor; a JWT does, if the user has one, when a session begins.
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
                LoginOutcome::Begun(token, row, user) => {
                    let session = Session::from_row(*row, user.is_super_user, self.parts.clock.now());
                    return Ok(NewLogin { ust: token, session, password_expires_soon: None });
                }
                LoginOutcome::Refused(refusal) => return Err(refusal),
                LoginOutcome::Live => proved = transaction.proved_again(),
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

    /// The live session of the credential, if there is one, found without a lock. That it was found counts as activity.
    async fn live_session(&self, client: &Client<'_>, transaction: &LoginTransaction) -> Result<Option<NewLogin>> {
        if !transaction.admission.policy.login {
            return Ok(None);
        }
        for found in self.parts.store.sessions_of_credential(&transaction.hashes).await? {
            let Some(link) = found.link.as_ref().filter(|link| may_use(link, &found.session)) else { continue };
            let token = open_token(&self.parts.keyring, &found.credential)?;
            let Some(active) = self.live_session_of(client, token.expose()).await? else { continue };
            self.note_reuse(transaction, &found.session, link).await?;
            let mut row = found.session;
            extend(&mut row, active.session.last_active_at());
            let session = Session::from_row(row, active.session.is_super_user, self.parts.clock.now());
            return Ok(Some(NewLogin { ust: token, session, password_expires_soon: None }));
        }
        Ok(None)
    }

    async fn note_reuse(
        &self,
        transaction: &LoginTransaction,
        session: &SessionRow,
        link: &LinkedAuthRow,
    ) -> Result<()> {
        let now = self.parts.clock.now();
        let (user, session) = (session.user_id, session.session_id);
        let event = transaction.admission.event.clone().target(user).subject(user).session(session);
        let event = event.detail(transaction.detail(true));
        let is_due = link.last_used_at.is_none_or(|used| now.since(used) >= USED_EVERY);
        let link: Option<LinkId> = is_due.then_some(link.link_id);
        self.parts
            .store
            .write(move |tx| {
                tx.audit(event.clone());
                Box::pin(async move {
                    match link {
                        Some(link) => tx.touch_link(link, now).await,
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
            SecondFactor::Right(_) => self.parts.throttle.succeeded(attempt, self.parts.clock.now()),
            SecondFactor::Wrong => self.parts.throttle.failed(attempt, self.parts.clock.now()),
            SecondFactor::NotAsked | SecondFactor::Missing => {}
        }
        Ok(outcome)
    }

    /// Codes are guessed at by who has the token: their failures are counted apart from those of the token.
    fn totp_attempt(&self, transaction: &LoginTransaction) -> Attempt {
        self.attempt(&format!("\0totp\0{}", transaction.proved.definition.auth_id), transaction.admission.remote_addr)
    }
}

/// The link still leads to the user whose session it is, and is on.
fn may_use(link: &LinkedAuthRow, session: &SessionRow) -> bool {
    link.is_active && link.user_id == session.user_id
}

/// What came of the transaction.
enum LoginOutcome {
    Begun(Token, Box<SessionRow>, Box<UserRow>),
    /// Somebody else began the session of the credential meanwhile.
    Live,
    /// The definition changed since the credential was looked at.
    Changed,
    /// Audited.
    Refused(Error),
}

/// The transaction of a login.
struct LoginTransaction {
    proved: ProvedExternal,
    admission: Admission,
    /// Which the credential may have, the one for a new session first.
    hashes: Vec<CredentialHash>,
    totp_code: Zeroizing<String>,
}

impl LoginTransaction {
    fn new(keyring: &Keyring, client: &Client<'_>, proved: ProvedExternal, totp_code: Zeroizing<String>) -> Self {
        let admission = Admission::new(client, Event::new(client, Operation::SessionCreate));
        let hashes = keyring.pseudonyms("session_credential", &credential(&proved, client));
        Self { proved, admission, hashes, totp_code }
    }

    fn proved_again(&self) -> ProvedExternal {
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
        let (event, unproved) = (self.event(), SecondFactor::NotAsked);
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
            SecondFactor::NotAsked => None,
            SecondFactor::Right(step) => Some(step),
            SecondFactor::Missing => return Ok((refuse(event, Reason::TotpRequired, Error::TotpRequired), factor)),
            SecondFactor::Wrong => return Ok((refuse(event, Reason::WrongTotpCode, Error::LoginFailed), factor)),
        };
        if let Some(limit) = self.admission.make_room(tx, user.user_id, now).await? {
            return Ok((refuse(event, Reason::Quota, Error::SessionQuotaReached { limit }), factor));
        }
        let (token, row) = self.begin(tx, definition, &link, &user, now).await?;
        tx.audit(event.subject(user.user_id).session(row.session_id));
        if let Some(step) = step {
            tx.update_user(UserRow { totp_last_step: step, ..user.clone() }).await?;
        }
        Ok((LoginOutcome::Begun(token, Box::new(row), Box::new(user)), factor))
    }

    /// The link of the definition, which is on, and its user, who is locked until the transaction ends.
    async fn linked_user(&self, tx: &Tx, definition: &DefinitionRow) -> Result<(LinkedAuthRow, UserRow), CheckError> {
        // It cannot change while its definition is locked, but it goes with its user.
        let link = tx.link_of_definition(definition.auth_id).await?.ok_or(Reason::NotLinked)?;
        if !link.is_active {
            return Err(Reason::LinkInactive.into());
        }
        let user = tx.lock_user(link.user_id).await?.ok_or(Reason::UserDeletedMeanwhile)?;
        Ok((link, user))
    }

    /// Looked at again now that no other login with the credential is under way. One that is not live here any more ends for
    /// good: there may have been activity that is not known here.
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
        if !may_use(link, &found.session) {
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

    /// Only a JWT takes a second factor.
    fn second_factor(&self, tx: &Tx, user: &UserRow, now: Time) -> Result<SecondFactor> {
        if self.auth_type() != AuthType::Jwt {
            return Ok(SecondFactor::NotAsked);
        }
        second_factor(tx.keyring(), user, &self.totp_code, now)
    }

    async fn begin(
        &self,
        tx: &Tx,
        definition: DefinitionRow,
        link: &LinkedAuthRow,
        user: &UserRow,
        now: Time,
    ) -> Result<(Token, SessionRow)> {
        let definition = Some((definition.auth_id, definition.username));
        let method = LoginMethod { auth_type: self.auth_type(), definition };
        let (token, row) = self.admission.begin(tx, user, method, now).await?;
        let hash = self.hashes.first().ok_or_else(|| Error::internal("a key ring without a seal key"))?;
        let credential = SessionCredentialRow {
            credential_hash: hash.to_vec(),
            session_id: row.session_id,
            token: seal_token(tx.keyring(), hash, &token),
        };
        tx.put_credential(&self.hashes, credential).await?;
        tx.touch_link(link.link_id, now).await?;
        Ok((token, row))
    }
}

/// What tells the sessions of one credential from those of others: the definition, the token if it is one, the app and,
/// where it binds its sessions to addresses, the address. Each part has a length of its own, or an end.
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
