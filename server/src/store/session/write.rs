//! Changes of sessions and tokens, which also invalidate them in the cache.

use sea_orm::sea_query::{Expr, ExprTrait, IntoCondition, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, Order, QueryFilter,
    QueryOrder, QuerySelect, QueryTrait, Select,
};

use super::{NewSession, SessionFilter, with_activity};
use crate::clock::Time;
use crate::crypto::TokenHash;
use crate::error::Result;
use crate::model::id::{SessionId, UserId};
use crate::model::session::{RevokeReason, SessionEntry};
use crate::store::change::ChangeKind;
use crate::store::entity::{attribute, session, session_token, user};
use crate::store::unique::unique;
use crate::store::{SessionRow, SessionTokenRow, Tx, UserRow};

/// A user's sessions in an app that are not revoked and have not reached their absolute limit.
fn not_ended(user: UserId, app: &str, now: Time) -> Condition {
    let filter =
        SessionFilter { user: Some(user), app: Some(app.to_owned()), revoked: Some(false), ..SessionFilter::default() };
    filter.condition().add(session::Column::AbsoluteExpiresAt.gt(now))
}

fn count_not_ended(user: UserId, app: &str, now: Time) -> Select<session::Entity> {
    let sessions = session::Entity::find().select_only().expr(session::Column::SessionId.count());
    sessions.filter(not_ended(user, app, now))
}

impl Tx {
    /// The session of a token as verification sees it, read in this transaction.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn session_entry(&self, token: &SessionTokenRow) -> Result<Option<SessionEntry>> {
        Ok(self.read_entries(&[token.token_hash]).await?.pop().map(|(_, entry)| entry))
    }

    /// The token, and its session, which is locked until the transaction ends.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn lock_session_by_token(&self, hash: &TokenHash) -> Result<Option<(SessionTokenRow, SessionRow)>> {
        let token = session_token::Entity::find_by_id(*hash).one(&self.conn).await?;
        let Some(token) = token else { return Ok(None) };
        let session = self.lock_session(token.session_id).await?;
        // Read again under the lock: a concurrent rotation may have changed it.
        let token = session_token::Entity::find_by_id(*hash).one(&self.conn).await?;
        Ok(token.zip(session))
    }

    /// Locks the session until the transaction ends. Includes unflushed activity.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn lock_session(&self, session: SessionId) -> Result<Option<SessionRow>> {
        let _guard = self.activity().begin_read();
        let row = unique(session::Entity::find_by_id(session).lock_exclusive(), &self.conn).await?;
        let unflushed = self.activity().of(session);
        Ok(row.map(|row| with_activity(row, unflushed)))
    }

    /// Number of sessions of a user in an app that are neither revoked nor past their absolute limit. Cheaper to
    /// compute than the number of live ones, of which it is an upper bound.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn count_unended_sessions(&self, user: UserId, app: &str, now: Time) -> Result<u64> {
        // `one` would add a limit; see `unique`.
        let count = count_not_ended(user, app, now).build(self.shared.backend);
        let row = self.conn.query_one_raw(count).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Locks the user as [`Self::lock_user`] does, and returns their [`Self::count_unended_sessions`] too.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn lock_user_and_count_sessions(
        &self,
        user: UserId,
        app: &str,
        now: Time,
    ) -> Result<Option<(UserRow, u64)>> {
        const COUNT: &str = "sessions_not_ended";

        if self.is_postgres() {
            // Counted under the lock, so in a second statement.
            let Some(row) = self.lock_user(user).await? else { return Ok(None) };
            return Ok(Some((row, self.count_unended_sessions(user, app, now).await?)));
        }
        let count = count_not_ended(user, app, now).into_query();
        let found = user::Entity::find_by_id(user).expr_as(count, COUNT).build(self.shared.backend);
        let Some(row) = self.conn.query_one_raw(found).await? else { return Ok(None) };
        let count: i64 = row.try_get("", COUNT)?;
        let user = UserRow::from_query_result(&row, "")?;
        Ok(Some((user, u64::try_from(count).unwrap_or(0))))
    }

    /// A user's live sessions in an app, oldest first.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn live_sessions(&self, user: UserId, app: &str, now: Time) -> Result<Vec<SessionRow>> {
        let _guard = self.activity().begin_read();
        let rows = session::Entity::find()
            .filter(not_ended(user, app, now))
            .order_by(session::Column::SessionId, Order::Asc)
            .all(&self.conn)
            .await?;
        // Idle expiry depends on unflushed activity.
        let rows = rows.into_iter().map(|row| {
            let unflushed = self.activity().of(row.session_id);
            with_activity(row, unflushed)
        });
        Ok(rows.filter(|row| row.expires_at > now).collect())
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn insert_session(&self, new: NewSession) -> Result<()> {
        let (session, user) = (new.row.session_id, new.row.user_id);
        let token = session_token::Model {
            token_hash: new.token,
            key_id: i32::from(new.key_id),
            session_id: new.row.session_id,
            generation: new.row.generation,
            grace_until: None,
            successor: None,
        };
        let row: session::ActiveModel = new.row.into();
        let token: session_token::ActiveModel = token.into();
        session::Entity::insert(row).exec_without_returning(&self.conn).await?;
        session_token::Entity::insert(token).exec_without_returning(&self.conn).await?;
        self.feed(ChangeKind::SessionCreated, Some(user), Some(session));
        Ok(())
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn insert_token(&self, token: SessionTokenRow) -> Result<()> {
        let row: session_token::ActiveModel = token.into();
        session_token::Entity::insert(row).exec_without_returning(&self.conn).await?;
        Ok(())
    }

    /// Stores the end of the grace period and the sealed successor of a replaced token.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn replace_token(&self, token: &SessionTokenRow, grace_until: Time, successor: Vec<u8>) -> Result<()> {
        session_token::Entity::update_many()
            .set(session_token::ActiveModel {
                grace_until: Set(Some(grace_until)),
                successor: Set(Some(successor)),
                ..Default::default()
            })
            .filter(session_token::Column::TokenHash.eq(token.token_hash))
            .exec(&self.conn)
            .await?;
        // The grace period of earlier tokens is over.
        session_token::Entity::update_many()
            .set(session_token::ActiveModel { successor: Set(None), ..Default::default() })
            .filter(session_token::Column::SessionId.eq(token.session_id))
            .filter(session_token::Column::Generation.lt(token.generation))
            .filter(session_token::Column::Successor.is_not_null())
            .exec(&self.conn)
            .await?;
        Ok(())
    }

    /// Stores the new times and the generation of a renewed session.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn renew_session(&self, row: &SessionRow) -> Result<()> {
        session::Entity::update_many()
            .set(session::ActiveModel {
                last_active_at: Set(row.last_active_at),
                expires_at: Set(row.expires_at),
                generation: Set(row.generation),
                ..Default::default()
            })
            .filter(session::Column::SessionId.eq(row.session_id))
            .exec(&self.conn)
            .await?;
        let (session, user) = (row.session_id, row.user_id);
        self.invalidate_session(session).await?;
        self.feed(ChangeKind::SessionRenewed, Some(user), Some(session));
        Ok(())
    }

    /// Revokes a session that is not revoked yet.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn revoke_session(&self, row: &SessionRow, reason: RevokeReason, now: Time) -> Result<()> {
        let session = row.session_id;
        self.revoke_where(Condition::all().add(session::Column::SessionId.eq(row.session_id)), reason, now).await?;
        self.delete_platform_credential(session).await?;
        self.invalidate_session(session).await?;
        self.feed(ChangeKind::SessionRevoked, Some(row.user_id), Some(session));
        Ok(())
    }

    /// Revokes all unrevoked sessions of a user, except `except`; returns how many were live.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn revoke_sessions_of_user(
        &self,
        user: UserId,
        except: Option<SessionId>,
        reason: RevokeReason,
        now: Time,
    ) -> Result<u64> {
        let filter = SessionFilter { user: Some(user), ..SessionFilter::default() };
        self.invalidate_user(user).await?;
        let ended = self.revoke_all(&filter, except, reason, now).await?;
        self.feed(ChangeKind::SessionsRevoked, Some(user), None);
        Ok(ended)
    }

    /// Revokes all unrevoked sessions of an app (`None`: of all apps), except `except`; returns how many were live.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn revoke_sessions_of_app(
        &self,
        app: Option<&str>,
        except: Option<SessionId>,
        reason: RevokeReason,
        now: Time,
    ) -> Result<u64> {
        let filter = SessionFilter { app: app.map(str::to_owned), ..SessionFilter::default() };
        self.invalidated.lock().sessions.add_everything();
        let ended = self.revoke_all(&filter, except, reason, now).await?;
        self.feed(ChangeKind::SessionsRevoked, None, None);
        Ok(ended)
    }

    /// Revokes all unrevoked sessions that a definition started; returns how many were live.
    pub async fn revoke_sessions_of_definition(&self, auth_id: i64, reason: RevokeReason, now: Time) -> Result<u64> {
        self.revoke_other_sessions_of_definition(auth_id, None, reason, now).await
    }

    /// The same, except `except`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn revoke_other_sessions_of_definition(
        &self,
        auth_id: i64,
        except: Option<SessionId>,
        reason: RevokeReason,
        now: Time,
    ) -> Result<u64> {
        let filter = SessionFilter { auth_id: Some(auth_id), ..SessionFilter::default() };
        self.invalidate_sessions(session::Column::AuthId.eq(auth_id)).await?;
        let ended = self.revoke_all(&filter, except, reason, now).await?;
        self.feed(ChangeKind::SessionsRevoked, None, None);
        Ok(ended)
    }

    /// Revokes all unrevoked sessions on a platform, at this URL (`None`: any), except `except`; returns how many were
    /// live.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn revoke_sessions_of_platform(
        &self,
        platform: &str,
        url: Option<&str>,
        except: Option<SessionId>,
        reason: RevokeReason,
        now: Time,
    ) -> Result<u64> {
        let filter = SessionFilter {
            platform: Some(platform.to_owned()),
            platform_url: url.map(str::to_owned),
            ..SessionFilter::default()
        };
        self.invalidate_sessions(filter.condition()).await?;
        let ended = self.revoke_all(&filter, except, reason, now).await?;
        self.feed(ChangeKind::SessionsRevoked, None, None);
        Ok(ended)
    }

    /// Also revokes expired sessions, because a concurrent verification may know of unflushed activity, but does not
    /// count them.
    async fn revoke_all(
        &self,
        filter: &SessionFilter,
        except: Option<SessionId>,
        reason: RevokeReason,
        now: Time,
    ) -> Result<u64> {
        let others = except.map(|except| session::Column::SessionId.ne(except));
        let condition = filter.condition().add_option(others);
        let live = condition.clone().add(session::Column::ExpiresAt.gt(now));
        let ended = self.revoke_where(live, reason, now).await?;
        self.revoke_where(condition, reason, now).await?;
        self.delete_platform_credentials_of_revoked(now).await?;
        Ok(ended)
    }

    async fn revoke_where(&self, condition: Condition, reason: RevokeReason, now: Time) -> Result<u64> {
        let done = session::Entity::update_many()
            .set(session::ActiveModel {
                revoked_at: Set(Some(now)),
                revoke_reason: Set(Some(reason)),
                ..Default::default()
            })
            .filter(condition.add(session::Column::RevokedAt.is_null()))
            .exec(&self.conn)
            .await?;
        Ok(done.rows_affected)
    }

    /// Deletes the attributes of all sessions of a user.
    pub(in crate::store) async fn delete_session_attributes_of_user(&self, user: UserId) -> Result<()> {
        let sessions = Query::select()
            .column(session::Column::SessionId)
            .from(session::Entity)
            .and_where(Expr::col(session::Column::UserId).eq(user))
            .to_owned();
        attribute::Entity::delete_many()
            .filter(attribute::Column::OwnerId.in_subquery(sessions))
            .exec(&self.conn)
            .await?;
        Ok(())
    }

    /// Invalidates a session when this transaction ends. Its row must be locked, or a concurrent rotation could add a
    /// token that is missed here.
    async fn invalidate_session(&self, session: SessionId) -> Result<()> {
        let condition = Condition::all().add(session_token::Column::SessionId.eq(session));
        self.invalidate_tokens(condition).await
    }

    /// Invalidates all unrevoked sessions of a user when this transaction ends.
    pub(in crate::store) async fn invalidate_user(&self, user: UserId) -> Result<()> {
        self.invalidate_sessions(session::Column::UserId.eq(user)).await
    }

    /// The same for all sessions that match a condition.
    async fn invalidate_sessions(&self, condition: impl IntoCondition) -> Result<()> {
        use session::Column;

        let live = condition.into_condition().add(Column::RevokedAt.is_null());
        // Locked first, so that tokens of concurrent rotations are seen.
        let locked: Vec<SessionId> = session::Entity::find()
            .select_only()
            .column(Column::SessionId)
            .filter(live.clone())
            .order_by(Column::SessionId, Order::Asc)
            .lock_exclusive()
            .into_tuple()
            .all(&self.conn)
            .await?;
        if locked.is_empty() {
            return Ok(());
        }
        let sessions = Query::select().column(Column::SessionId).from(session::Entity).cond_where(live).to_owned();
        self.invalidate_tokens(Condition::all().add(session_token::Column::SessionId.in_subquery(sessions))).await
    }

    async fn invalidate_tokens(&self, condition: Condition) -> Result<()> {
        let hashes: Vec<TokenHash> = session_token::Entity::find()
            .select_only()
            .column(session_token::Column::TokenHash)
            .filter(condition)
            .into_tuple()
            .all(&self.conn)
            .await?;
        self.invalidated.lock().sessions.add(hashes);
        Ok(())
    }
}
