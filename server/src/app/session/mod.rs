//! Sessions: get, list and renew. `login` creates, `revoke` ends and `verify` verifies them.

pub(in crate::app) mod credential;
pub mod revoke;
pub mod verify;

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use self::credential::update_sealed_token;
use super::App;
use super::audit::Event;
use super::client::{Acting, may_relay};
use super::page::{Page, PageRequest, Query};
use super::platform::SessionOnPlatform;
use crate::clock::Time;
use crate::config::AddressBinding;
use crate::crypto::{Token, TokenHash, TokenKind};
use crate::error::{Error, Result};
use crate::model::audit::{Operation, Reason};
use crate::model::id::{SessionId, UserId};
use crate::model::session::{AuthType, RevokeReason, SessionState};
use crate::model::verdict::{Inactive, evaluate};
use crate::store::{SessionFilter, SessionRow, SessionTokenRow, Tx};

/// A session without its token.
#[derive(Clone, Debug)]
pub struct Session {
    pub session_id: SessionId,
    pub user_id: UserId,
    pub username: String,
    pub is_super_user: bool,
    pub auth_type: AuthType,
    pub state: SessionState,
    pub revoke_reason: Option<RevokeReason>,
    pub app: String,
    pub remote_addr: String,
    pub user_agent: String,
    pub created_at: Time,
    pub last_active_at: Time,
    pub expires_at: Time,
    pub absolute_expires_at: Time,
    pub revoked_at: Option<Time>,
    pub rotation_count: u32,
    /// The definition that the user logged in with; `None` for passwords and platforms.
    pub auth_id: Option<i64>,
    /// Username of that definition; empty if there is none.
    pub auth_principal: String,
    /// The platform it is logged in to.
    pub platform: Option<SessionOnPlatform>,
}

impl Session {
    pub(in crate::app) fn from_row(row: SessionRow, is_super_user: bool, now: Time) -> Self {
        let state = match row.revoked_at {
            Some(_) => SessionState::Revoked,
            None if row.expires_at <= now => SessionState::Expired,
            None => SessionState::Active,
        };
        Self {
            session_id: row.session_id,
            user_id: row.user_id,
            username: row.username,
            is_super_user,
            auth_type: row.auth_type,
            state,
            revoke_reason: row.revoke_reason,
            app: row.app,
            remote_addr: if row.address_binding == AddressBinding::Off {
                String::new()
            } else {
                row.remote_addr.unwrap_or_default()
            },
            user_agent: row.user_agent,
            created_at: row.created_at,
            last_active_at: row.last_active_at,
            expires_at: row.expires_at,
            absolute_expires_at: row.absolute_expires_at,
            revoked_at: row.revoked_at,
            rotation_count: u32::try_from(row.generation).unwrap_or(0),
            auth_id: row.auth_id,
            auth_principal: row.auth_principal,
            platform: None,
        }
    }

    /// `username:short hash of session_id`, for log lines (Gateway's `UserSession.logger_context`).
    pub fn logger_context(&self) -> String {
        let hash = Sha256::digest(self.session_id.as_bytes());
        let escaped: String = self.username.chars().flat_map(escape_control).collect();
        format!("{escaped}:{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3])
    }
}

fn escape_control(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

/// Filters of a session list.
#[derive(Clone, Debug, Default)]
pub struct ListSessions {
    pub user: Option<UserId>,
    pub all_users: bool,
    pub state: Option<SessionState>,
    pub app: Option<String>,
    pub auth_type: Option<AuthType>,
    /// The name of a platform.
    pub platform: Option<String>,
}

/// A renewed session.
#[derive(Debug)]
pub struct Renewed {
    pub session: Session,
    /// The new token, and until when the old one is accepted.
    pub replaced: Option<(Token, Time)>,
}

impl App {
    /// The acting user's own session or, for super-users, any.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn get_session(&self, acting: &Acting<'_>, session: Option<SessionId>) -> Result<Session> {
        let own = acting.session.session_id;
        let wanted = session.unwrap_or(own);
        if wanted != own {
            self.require_super_user(acting, Operation::SessionGet, None, Some(wanted)).await?;
        }
        self.parts.store.flush_activity().await?;
        let row = self.parts.store.session(wanted).await?.ok_or(Error::SessionNotFound)?;
        let user = row.user_id;
        if user == acting.user() {
            self.audit_own_read(acting, Operation::SessionGet, Some(wanted)).await?;
        } else {
            self.audit_read(acting, Operation::SessionGet, Some(user), Some(wanted)).await?;
        }
        self.show_session(row).await
    }

    /// One page of sessions, newest first.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn list_sessions(
        &self,
        acting: &Acting<'_>,
        list: ListSessions,
        page: PageRequest<'_>,
    ) -> Result<Page<Session>> {
        if list.all_users && list.user.is_some() {
            return Err(Error::invalid("user_id", "must be empty where `all_users` is set"));
        }
        let user = list.user.unwrap_or(acting.user());
        let others = list.all_users || user != acting.user();
        if others {
            let target = (!list.all_users).then_some(user);
            self.require_super_user(acting, Operation::SessionList, target, None).await?;
        }
        let query = Query::new("sessions", acting.user(), &format!("{list:?}"));
        let after = page.cursor(&self.parts.keyring, &query, self.parts.clock.now())?;
        let after =
            after.map(|bytes| SessionId::from_slice(&bytes).map_err(|_| Error::PageTokenInvalid)).transpose()?;
        // Idle expiry depends on activity in memory.
        self.parts.store.flush_activity().await?;
        let now = self.parts.clock.now();
        let filter = SessionFilter {
            user: (!list.all_users).then_some(user),
            app: list.app.clone(),
            auth_type: list.auth_type,
            auth_id: None,
            platform: list.platform.clone(),
            platform_url: None,
            revoked: list.state.map(|state| state == SessionState::Revoked),
            expired: list
                .state
                .filter(|state| *state != SessionState::Revoked)
                .map(|state| (state == SessionState::Expired, now)),
        };
        let rows = self.parts.store.sessions(&filter, after, page.limit() + 1).await?;
        if others {
            if rows.is_empty() && !list.all_users && self.parts.store.user(user).await?.is_none() {
                return Err(Error::UserNotFound);
            }
            self.audit_read(acting, Operation::SessionList, (!list.all_users).then_some(user), None).await?;
        } else {
            self.audit_own_read(acting, Operation::SessionList, None).await?;
        }
        let page = page.take(rows, |row| row.session_id.as_bytes().to_vec(), &self.parts.keyring, &query, now);
        let owners: std::collections::BTreeSet<UserId> = page.items.iter().map(|row| row.user_id).collect();
        let super_users = self.parts.store.super_users_among(owners).await?;
        let mut platforms = self.platforms_of_sessions(&page.items).await?;
        let show = |row: SessionRow| {
            let is_super_user = super_users.contains(&row.user_id);
            let platform = platforms.remove(&row.session_id);
            Session { platform, ..Session::from_row(row, is_super_user, now) }
        };
        let shown = page.items.into_iter().map(show).collect();
        Ok(Page { items: shown, next_page_token: page.next_page_token })
    }

    pub(in crate::app) async fn show_session(&self, row: SessionRow) -> Result<Session> {
        let user = self.parts.store.user(row.user_id).await?;
        let is_super_user = user.is_some_and(|user| user.is_super_user);
        self.with_platform(Session::from_row(row, is_super_user, self.parts.clock.now())).await
    }

    async fn with_platform(&self, session: Session) -> Result<Session> {
        if session.auth_type != AuthType::Platform {
            return Ok(session);
        }
        let platform = self.platform_of_session(session.session_id).await?;
        Ok(Session { platform, ..session })
    }

    async fn platforms_of_sessions(&self, sessions: &[SessionRow]) -> Result<HashMap<SessionId, SessionOnPlatform>> {
        let on_platform = sessions.iter().filter(|row| row.auth_type == AuthType::Platform);
        let found = self.parts.store.session_platforms(on_platform.map(|row| row.session_id).collect()).await?;
        Ok(found.into_iter().map(|row| (row.session_id, SessionOnPlatform::from(row))).collect())
    }

    /// Extends a session. `rotate` also replaces its token; a repeated rotation returns the same new token.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn renew_session(
        &self,
        context: &super::Context,
        input: super::client::ActingInput<'_>,
        rotate: bool,
    ) -> Result<Renewed> {
        let client = self.client(context, input.client)?;
        let hashes: Vec<TokenHash> = self.token_hashes(input.ust).ok_or(Error::SessionInvalid)?.collect();
        let (policy, address, grace) = (client.app.policy, client.remote_addr, self.parts.session.rotation_grace);
        let event = Event::new(&client, Operation::SessionRenew);
        let context = context.clone();
        let renewed = self.parts.store.write(move |tx| {
            let (hashes, event, context) = (hashes.clone(), event.clone(), context.clone());
            Box::pin(async move {
                let Some((token, mut row)) = find(tx, &hashes).await? else { return Ok(RenewOutcome::Inactive) };
                let event = event.session(row.session_id).subject(row.user_id);
                let entry = tx.session_entry(&token).await?.ok_or(Error::SessionInvalid)?;
                let now = tx.clock().now();
                match evaluate(&entry, now, &policy, address) {
                    Ok(_) => {}
                    Err(Inactive::Rotated { .. }) => {
                        tx.revoke_session(&row, RevokeReason::TokenReused, now).await?;
                        tx.audit(event.refused(Reason::TokenReused));
                        return Ok(RenewOutcome::Reused);
                    }
                    Err(_) => return Ok(RenewOutcome::Inactive),
                }
                may_relay(&context, entry.is_super_user)?;
                extend(&mut row, now);
                let replaced = match &token.successor {
                    Some(sealed) => Some((open_successor(tx, &token, sealed)?, entry.grace_until.unwrap_or(now))),
                    None if rotate => Some(rotate_token(tx, &token, &mut row, now + grace).await?),
                    None => None,
                };
                tx.renew_session(&row).await?;
                tx.audit(event.detail(serde_json::json!({ "rotated": token.successor.is_none() && rotate })));
                let session = Session::from_row(row, entry.is_super_user, now);
                Ok(RenewOutcome::Renewed(Box::new(Renewed { session, replaced })))
            })
        });
        match renewed.await? {
            RenewOutcome::Renewed(renewed) => {
                Ok(Renewed { session: self.with_platform(renewed.session).await?, ..*renewed })
            }
            RenewOutcome::Reused => {
                self.parts.login_metrics.count_token_reuse();
                Err(Error::SessionInvalid)
            }
            RenewOutcome::Inactive => Err(Error::SessionInvalid),
        }
    }
}

/// The outcome of the transaction of a renewal.
enum RenewOutcome {
    Renewed(Box<Renewed>),
    /// A rotated token was presented again: the session was revoked.
    Reused,
    Inactive,
}

async fn find(tx: &Tx, hashes: &[TokenHash]) -> Result<Option<(SessionTokenRow, SessionRow)>> {
    for hash in hashes {
        if let Some(found) = tx.lock_session_by_token(hash).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Restarts the idle limit at `now`, within the absolute limit.
pub(in crate::app) fn extend(row: &mut SessionRow, now: Time) {
    row.last_active_at = row.last_active_at.max(now);
    row.expires_at = (row.last_active_at + row.idle_micros).min(row.absolute_expires_at);
}

async fn rotate_token(
    tx: &Tx,
    old: &SessionTokenRow,
    row: &mut SessionRow,
    grace_until: Time,
) -> Result<(Token, Time)> {
    let new = Token::generate(TokenKind::Ust);
    let (hash, key_id) = tx.keyring().hash_token(new.as_ref());
    row.generation += 1;
    let sealed = tx.keyring().seal(&successor_seal_context(old), new.expose().as_bytes());
    tx.replace_token(old, grace_until, sealed).await?;
    tx.insert_token(SessionTokenRow {
        token_hash: hash,
        key_id: i32::from(key_id),
        session_id: row.session_id,
        generation: row.generation,
        grace_until: None,
        successor: None,
    })
    .await?;
    update_sealed_token(tx, row, &new).await?;
    Ok((new, grace_until))
}

fn open_successor(tx: &Tx, old: &SessionTokenRow, sealed: &[u8]) -> Result<Token> {
    let text =
        zeroize::Zeroizing::new(tx.keyring().open(&successor_seal_context(old), sealed).map_err(Error::internal)?);
    let text = std::str::from_utf8(&text).map_err(Error::internal)?;
    Token::from_text(TokenKind::Ust, text).ok_or_else(|| Error::internal("a sealed successor is no token"))
}

fn successor_seal_context(old: &SessionTokenRow) -> [&[u8]; 4] {
    [b"session_token", old.session_id.as_bytes(), &old.token_hash.0, b"successor"]
}
