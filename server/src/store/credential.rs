//! Maps external credentials to the sessions they started, so that the same credential finds its session again.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect,
};

use super::entity::{linked_auth, session, session_credential};
use super::error::is_unique_violation;
use super::session::with_activity;
use super::{LinkedAuthRow, SessionCredentialRow, SessionRow, Store, Tx};
use crate::error::{Error, Result};
use crate::model::id::SessionId;

/// Keyed hash of a credential and of whatever else distinguishes its sessions.
pub type CredentialHash = [u8; 32];

/// The session of a credential, and the link through which it was created, if that still exists.
pub struct CredentialSession {
    pub credential: SessionCredentialRow,
    pub session: SessionRow,
    pub link: Option<LinkedAuthRow>,
}

fn hash_in(hashes: &[CredentialHash]) -> sea_orm::Condition {
    let hashes = hashes.iter().map(|hash| hash.to_vec());
    session_credential::Column::CredentialHash.is_in(hashes).into()
}

impl<C: ConnectionTrait> Store<C> {
    /// The sessions, live or not, of a credential that may have any of these hashes: at most one per hash. Includes
    /// unflushed activity.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn sessions_of_credential(&self, hashes: &[CredentialHash]) -> Result<Vec<CredentialSession>> {
        let _guard = self.activity().begin_read();
        let rows = session_credential::Entity::find()
            .filter(hash_in(hashes))
            .find_also_related(session::Entity)
            .and_also_related(linked_auth::Entity)
            .all(&self.conn)
            .await?;
        let with_session = |(credential, session, link): (_, Option<SessionRow>, _)| {
            let session = session?;
            let unflushed = self.activity().of(session.session_id);
            Some(CredentialSession { credential, session: with_activity(session, unflushed), link })
        };
        Ok(rows.into_iter().filter_map(with_session).collect())
    }
}

impl Tx {
    /// The same, with the sessions locked until the transaction ends.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn lock_sessions_of_credential(&self, hashes: &[CredentialHash]) -> Result<Vec<CredentialSession>> {
        let sessions: Vec<SessionId> = session_credential::Entity::find()
            .select_only()
            .column(session_credential::Column::SessionId)
            .filter(hash_in(hashes))
            .order_by(session_credential::Column::SessionId, Order::Asc)
            .into_tuple()
            .all(&self.conn)
            .await?;
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        for session in sessions {
            self.lock_session(session).await?;
        }
        // Read under the locks: a concurrent rotation may have changed a token.
        self.sessions_of_credential(hashes).await
    }

    /// Maps a credential to its session, and removes the mappings of the hashes in `before`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn map_credential(&self, before: &[CredentialHash], row: SessionCredentialRow) -> Result<()> {
        session_credential::Entity::delete_many().filter(hash_in(before)).exec(&self.conn).await?;
        let row: session_credential::ActiveModel = row.into();
        match session_credential::Entity::insert(row).exec_without_returning(&self.conn).await {
            Ok(_) => Ok(()),
            // A concurrent login with the same credential committed first.
            Err(error) if is_unique_violation(&error) => Err(Error::WriteConflict),
            Err(error) => Err(error.into()),
        }
    }

    /// The credential that started a session, if any and if not replaced since.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn credential_of_session(&self, session: SessionId) -> Result<Option<SessionCredentialRow>> {
        let found = session_credential::Entity::find()
            .filter(session_credential::Column::SessionId.eq(session))
            .one(&self.conn)
            .await;
        found.map_err(Error::from)
    }

    /// Stores the session's current token, sealed.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn set_credential_token(&self, row: &SessionCredentialRow, token: Vec<u8>) -> Result<()> {
        session_credential::Entity::update_many()
            .set(session_credential::ActiveModel { token: Set(token), ..Default::default() })
            .filter(session_credential::Column::CredentialHash.eq(row.credential_hash.clone()))
            .exec(&self.conn)
            .await?;
        Ok(())
    }
}
