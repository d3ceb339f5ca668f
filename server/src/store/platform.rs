//! The platforms that sessions are logged in to, and their sealed credentials, which are deleted when the session ends.

use std::time::Duration;

use parking_lot::Mutex;
use sea_orm::sea_query::{IntoCondition, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, JoinType, Order, QueryFilter, QueryOrder,
    QuerySelect, RelationTrait,
};
use tokio::sync::mpsc;

use super::entity::{platform_credential, session, session_platform};
use super::{PlatformCredentialRow, SessionPlatformRow, Store, Tx};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::model::id::SessionId;

/// Capacity of the logout queue, and credentials that one transaction can queue. Overflow is dropped.
const MAX_QUEUED: usize = 1024;
/// A session that expired this long ago has no unflushed activity left at another replica.
const MAX_FLUSH_DELAY: Duration = Duration::from_mins(15);

/// A credential and its platform.
#[derive(Clone)]
pub struct StoredCredential {
    pub credential: PlatformCredentialRow,
    pub platform: SessionPlatformRow,
}

/// The logout queue: credentials deleted from the database, to be logged out of their platform.
pub(super) struct LogoutQueue {
    sender: mpsc::Sender<StoredCredential>,
    receiver: Mutex<Option<mpsc::Receiver<StoredCredential>>>,
}

impl Default for LogoutQueue {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl LogoutQueue {
    /// Queues credentials while there is room.
    pub(super) fn enqueue(&self, logouts: impl IntoIterator<Item = StoredCredential>) {
        for credential in logouts {
            if self.sender.try_send(credential).is_err() {
                return;
            }
        }
    }
}

fn of_session(session: SessionId) -> Condition {
    Condition::all().add(platform_credential::Column::SessionId.eq(session))
}

impl<C: ConnectionTrait> Store<C> {
    /// The platform that a session is logged in to.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn session_platform(&self, session: SessionId) -> Result<Option<SessionPlatformRow>> {
        session_platform::Entity::find_by_id(session).one(&self.conn).await.map_err(Error::from)
    }

    /// The same for at most a few hundred sessions; those without a platform are left out.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn session_platforms(&self, sessions: Vec<SessionId>) -> Result<Vec<SessionPlatformRow>> {
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        let found = session_platform::Entity::find().filter(session_platform::Column::SessionId.is_in(sessions));
        found.all(&self.conn).await.map_err(Error::from)
    }

    /// The credential of a session that is logged in to a platform and has not ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn platform_credential(&self, session: SessionId) -> Result<Option<StoredCredential>> {
        Ok(self.stored_credentials(of_session(session), 1).await?.pop())
    }

    /// Credentials that are sealed under an older key than `key_id`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn platform_credentials_before_key(&self, key_id: u16, limit: u64) -> Result<Vec<StoredCredential>> {
        self.stored_credentials(platform_credential::Column::KeyId.lt(i32::from(key_id)).into(), limit).await
    }

    /// The names and URLs of the platforms of all sessions that have not ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn platforms_in_use(&self) -> Result<Vec<(String, String)>> {
        use session_platform::Column;

        let found = platform_credential::Entity::find()
            .select_only()
            .column(Column::Platform)
            .column(Column::Url)
            .join(JoinType::InnerJoin, platform_credential::Relation::SessionPlatform.def())
            .distinct();
        found.into_tuple().all(&self.conn).await.map_err(Error::from)
    }

    async fn stored_credentials(&self, condition: Condition, limit: u64) -> Result<Vec<StoredCredential>> {
        let found = platform_credential::Entity::find()
            .filter(condition)
            .find_also_related(session_platform::Entity)
            .order_by(platform_credential::Column::SessionId, Order::Asc)
            .limit(limit)
            .all(&self.conn)
            .await?;
        let stored =
            |(credential, platform): (_, Option<_>)| Some(StoredCredential { credential, platform: platform? });
        Ok(found.into_iter().filter_map(stored).collect())
    }
}

impl Store {
    /// Receives the credentials deleted from now on. `None`: there is a receiver already.
    pub fn logouts(&self) -> Option<mpsc::Receiver<StoredCredential>> {
        self.shared.logouts.receiver.lock().take()
    }

    /// Deletes credentials of sessions that expired.
    pub(super) async fn purge_platform_credentials(&self, now: Time, batch: u64) -> Result<u64> {
        let expired = platform_credential::Entity::find()
            .select_only()
            .column(platform_credential::Column::SessionId)
            .join(JoinType::InnerJoin, platform_credential::Relation::Session.def())
            .filter(session::Column::ExpiresAt.lt(now - MAX_FLUSH_DELAY))
            .limit(batch);
        let expired: Vec<SessionId> = expired.into_tuple().all(self.shared.writer.conn()).await?;
        if expired.is_empty() {
            return Ok(0);
        }
        let deleted = self
            .stored_credentials(platform_credential::Column::SessionId.is_in(expired.clone()).into(), batch)
            .await?;
        let delete = platform_credential::Entity::delete_many()
            .filter(platform_credential::Column::SessionId.is_in(expired))
            .exec(self.shared.writer.conn());
        let done = delete.await?.rows_affected;
        self.shared.logouts.enqueue(deleted);
        Ok(done)
    }
}

impl Tx {
    /// Stores the platform and the credential of a new session.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn insert_platform(&self, platform: SessionPlatformRow, credential: PlatformCredentialRow) -> Result<()> {
        let platform: session_platform::ActiveModel = platform.into();
        session_platform::Entity::insert(platform).exec_without_returning(&self.conn).await?;
        let credential: platform_credential::ActiveModel = credential.into();
        platform_credential::Entity::insert(credential).exec_without_returning(&self.conn).await?;
        Ok(())
    }

    /// Replaces the credential `before`; false if it is no longer stored.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn replace_platform_credential(
        &self,
        before: &PlatformCredentialRow,
        after: PlatformCredentialRow,
    ) -> Result<bool> {
        use platform_credential::Column;

        let done = platform_credential::Entity::update_many()
            .set(platform_credential::ActiveModel {
                key_id: Set(after.key_id),
                generation: Set(after.generation),
                sealed: Set(after.sealed),
                ..Default::default()
            })
            .filter(Column::SessionId.eq(before.session_id))
            .filter(Column::KeyId.eq(before.key_id))
            .filter(Column::Generation.eq(before.generation))
            .exec(&self.conn)
            .await?;
        Ok(done.rows_affected == 1)
    }

    /// Deletes the credential of a session that this transaction revoked.
    pub(super) async fn delete_platform_credential(&self, session: SessionId) -> Result<()> {
        self.delete_platform_credentials(of_session(session)).await
    }

    /// The same for all sessions that this transaction revoked, found by `revoked_at`.
    pub(super) async fn delete_platform_credentials_of_revoked(&self, revoked_at: Time) -> Result<()> {
        let revoked = Query::select()
            .column(session::Column::SessionId)
            .from(session::Entity)
            .and_where(session::Column::RevokedAt.eq(revoked_at))
            .to_owned();
        let condition = platform_credential::Column::SessionId.in_subquery(revoked);
        self.delete_platform_credentials(condition.into_condition()).await
    }

    async fn delete_platform_credentials(&self, condition: Condition) -> Result<()> {
        let deleted = self.stored_credentials(condition.clone(), MAX_QUEUED as u64).await?;
        if deleted.is_empty() {
            return Ok(());
        }
        platform_credential::Entity::delete_many().filter(condition).exec(&self.conn).await?;
        self.logouts.lock().extend(deleted);
        Ok(())
    }
}
