//! Sessions and their tokens.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::sea_query::{ExprTrait, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, Order, QueryFilter, QueryOrder, QuerySelect,
    Statement, Value,
};

use super::entity::{session, session_platform};
use super::unique::unique;
use super::{SessionRow, Store};
use crate::clock::{Micros, Time};
use crate::config::AddressBinding;
use crate::crypto::TokenHash;
use crate::error::{Error, Result};
use crate::model::id::{SessionId, UserId};
use crate::model::network::parse_list;
use crate::model::session::{AuthType, LatestTime, RevokeReason, SessionEntry};

mod write;

/// A new session.
pub struct NewSession {
    pub row: SessionRow,
    pub token: TokenHash,
    pub key_id: u16,
}

/// Filter of sessions; all fields that are set must match.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    pub user: Option<UserId>,
    pub app: Option<String>,
    pub auth_type: Option<AuthType>,
    /// The definition that the user logged in with.
    pub auth_id: Option<i64>,
    /// The platform that the session is logged in to, and its URL.
    pub platform: Option<String>,
    pub platform_url: Option<String>,
    /// Whether it is revoked.
    pub revoked: Option<bool>,
    /// Whether it is expired at this time.
    pub expired: Option<(bool, Time)>,
}

impl SessionFilter {
    fn condition(&self) -> Condition {
        use session::Column;

        // A user has few sessions and an app most: the cast keeps SQLite from using the app index.
        let by_app = |app: &String| match self.user {
            Some(_) => Column::App.into_expr().cast_as("text").eq(app.as_str()),
            None => Column::App.eq(app.as_str()),
        };
        let revoked = |revoked| if revoked { Column::RevokedAt.is_not_null() } else { Column::RevokedAt.is_null() };
        let expired = |(expired, now): (bool, Time)| {
            if expired { Column::ExpiresAt.lte(now) } else { Column::ExpiresAt.gt(now) }
        };
        Condition::all()
            .add_option(self.user.map(|user| Column::UserId.eq(user)))
            .add_option(self.app.as_ref().map(by_app))
            .add_option(self.auth_type.map(|auth_type| Column::AuthType.eq(auth_type)))
            .add_option(self.auth_id.map(|auth_id| Column::AuthId.eq(auth_id)))
            .add_option(self.on_platform())
            .add_option(self.revoked.map(revoked))
            .add_option(self.expired.map(expired))
    }
}

impl SessionFilter {
    fn on_platform(&self) -> Option<SimpleExpr> {
        use session_platform::Column;

        let platform = self.platform.as_ref()?;
        let sessions = Query::select()
            .column(Column::SessionId)
            .from(session_platform::Entity)
            .and_where(Column::Platform.eq(platform.as_str()))
            .and_where_option(self.platform_url.as_ref().map(|url| Column::Url.eq(url.as_str())))
            .to_owned();
        Some(session::Column::SessionId.in_subquery(sessions))
    }
}

/// Look-up by token; the parameters `$1, $2, ...` follow.
const ENTRY_BY_TOKEN: &str = r#"
SELECT t.token_hash, t.generation AS token_generation, t.grace_until, s.session_id, s.user_id, s.username, s.auth_type, s.app, s.remote_addr,
       s.address_binding, s.idle_micros, s.created_at, s.last_active_at, s.absolute_expires_at, s.revoked_at, s.revoke_reason, s.generation,
       u.username AS current_username, u.is_super_user, u.allowed_networks
FROM session_token t
JOIN session s ON s.session_id = t.session_id
LEFT JOIN "user" u ON u.user_id = s.user_id
WHERE t.token_hash IN "#;

#[derive(FromQueryResult)]
struct EntryRow {
    token_hash: TokenHash,
    token_generation: i32,
    grace_until: Option<Time>,
    session_id: SessionId,
    user_id: UserId,
    username: String,
    auth_type: AuthType,
    app: String,
    remote_addr: Option<String>,
    address_binding: AddressBinding,
    idle_micros: Micros,
    created_at: Time,
    last_active_at: Time,
    absolute_expires_at: Time,
    revoked_at: Option<Time>,
    revoke_reason: Option<RevokeReason>,
    generation: i32,
    current_username: Option<String>,
    is_super_user: Option<bool>,
    allowed_networks: Option<String>,
}

impl EntryRow {
    fn into_entry(self, unflushed: Option<Time>) -> Result<SessionEntry> {
        Ok(SessionEntry {
            session_id: self.session_id,
            user_id: self.user_id,
            username: self.current_username.unwrap_or(self.username).into(),
            app: intern(&self.app),
            allowed_networks: parse_list(self.allowed_networks.as_deref().unwrap_or_default())
                .map_err(|_| Error::internal("a stored network is unreadable"))?,
            remote_addr: self.remote_addr.and_then(|address| address.parse().ok()),
            created_at: self.created_at,
            absolute_expires_at: self.absolute_expires_at,
            idle_micros: self.idle_micros,
            last_active: LatestTime::new(
                unflushed.map_or(self.last_active_at, |unflushed| std::cmp::max(unflushed, self.last_active_at)),
            ),
            revoked_at: self.revoked_at,
            grace_until: self.grace_until,
            generations_behind: u32::try_from(self.generation - self.token_generation).unwrap_or(0),
            revoke_reason: self.revoke_reason.unwrap_or(RevokeReason::Unknown),
            auth_type: self.auth_type,
            address_binding: self.address_binding,
            is_super_user: self.is_super_user.unwrap_or(false),
        })
    }
}

/// Interns app names: there are few apps and many sessions.
fn intern(app: &str) -> Arc<str> {
    static NAMES: parking_lot::Mutex<Vec<Arc<str>>> = parking_lot::Mutex::new(Vec::new());
    let mut names = NAMES.lock();
    if let Some(known) = names.iter().find(|known| known.as_ref() == app) {
        return Arc::clone(known);
    }
    names.push(app.into());
    Arc::clone(&names[names.len() - 1])
}

impl<C: ConnectionTrait> Store<C> {
    /// Sessions by token hash, at most a few hundred, in any order; unknown hashes are left out.
    async fn read_entries(&self, hashes: &[TokenHash]) -> Result<Vec<(TokenHash, SessionEntry)>> {
        // Padded to a power of two, so that prepared statements are reused.
        let count = hashes.len().next_power_of_two();
        let last = hashes.last().into_iter().cycle();
        let values = hashes.iter().chain(last).take(count).map(|hash| Value::from(*hash));
        let parameters: Vec<String> = (1..=count).map(|position| format!("${position}")).collect();
        let sql = format!("{ENTRY_BY_TOKEN}({})", parameters.join(", "));
        let statement = Statement::from_sql_and_values(self.shared.backend, sql, values);
        let _guard = self.activity().begin_read();
        let rows = EntryRow::find_by_statement(statement).all(&self.conn).await?;
        rows.into_iter()
            .map(|row| {
                let unflushed = self.activity().of(row.session_id);
                Ok((row.token_hash, row.into_entry(unflushed)?))
            })
            .collect()
    }

    /// A session, including unflushed activity.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn session(&self, session: SessionId) -> Result<Option<SessionRow>> {
        let _guard = self.activity().begin_read();
        let row = unique(session::Entity::find_by_id(session), &self.conn).await?;
        let unflushed = self.activity().of(session);
        Ok(row.map(|row| with_activity(row, unflushed)))
    }

    /// Sessions that match, newest first, older than `after`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn sessions(
        &self,
        filter: &SessionFilter,
        after: Option<SessionId>,
        limit: u64,
    ) -> Result<Vec<SessionRow>> {
        session::Entity::find()
            .filter(filter.condition().add_option(after.map(|after| session::Column::SessionId.lt(after))))
            .order_by(session::Column::SessionId, Order::Desc)
            .limit(limit)
            .all(&self.conn)
            .await
            .map_err(Error::from)
    }
}

impl Store {
    /// The cached session of a token.
    pub fn cached_session(&self, hash: &TokenHash) -> Option<Arc<SessionEntry>> {
        self.shared.cache.sessions.get(hash)
    }

    /// Invalidates the cached session of a token, so that the next read sees all activity.
    pub fn invalidate_session(&self, hash: &TokenHash) {
        self.shared.cache.sessions.invalidate_keys(std::slice::from_ref(hash));
    }

    /// The session of a token, from the cache or the database.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn session_by_token(&self, hash: &TokenHash) -> Result<Option<Arc<SessionEntry>>> {
        let read = async { Ok(self.read_entries(std::slice::from_ref(hash)).await?.pop().map(|(_, entry)| entry)) };
        self.shared.cache.sessions.get_or_read(hash, read).await
    }

    /// The sessions of many tokens that are not cached.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn sessions_by_token(&self, hashes: &[TokenHash]) -> Result<HashMap<TokenHash, Arc<SessionEntry>>> {
        let mut found = HashMap::with_capacity(hashes.len());
        if !hashes.is_empty() {
            found.extend(self.shared.cache.sessions.fill_many(hashes, || self.read_entries(hashes)).await?);
        }
        Ok(found)
    }
}

/// The row with unflushed activity applied.
pub(super) fn with_activity(mut row: SessionRow, unflushed: Option<Time>) -> SessionRow {
    if let Some(unflushed) = unflushed.filter(|unflushed| *unflushed > row.last_active_at) {
        row.last_active_at = unflushed;
        row.expires_at = std::cmp::min(unflushed + row.idle_micros, row.absolute_expires_at);
    }
    row
}
