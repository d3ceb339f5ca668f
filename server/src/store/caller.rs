//! Callers: the services that call Lanyard, and their API keys.

use sea_orm::sea_query::ExprTrait;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, Order, QueryFilter, QueryOrder,
};

use super::change::ChangeKind;
use super::entity::{caller, caller_key};
use super::error::is_unique_violation;
use super::{CallerRow, Store, Tx};
use crate::clock::Time;
use crate::crypto::TokenHash;
use crate::error::{Error, Result};
use crate::model::id::CallerId;

/// The hash of a key, and when the key expires.
pub(super) type KeyHash = (TokenHash, Time);

/// A caller's key as stored.
#[derive(Clone, Copy)]
pub struct NewCallerKey {
    pub hash: TokenHash,
    pub key_id: u16,
    pub created_at: Time,
    pub expires_at: Time,
}

impl<C: ConnectionTrait> Store<C> {
    /// The caller with this key, and when the key expires.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn caller_by_key(&self, hash: &TokenHash) -> Result<Option<(CallerRow, Time)>> {
        let key = caller_key::Entity::find_by_id(*hash).one(&self.conn).await?;
        let Some(key) = key else { return Ok(None) };
        let caller = self.caller(key.caller_id).await?;
        Ok(caller.map(|caller| (caller, key.expires_at)))
    }

    /// All callers that are not revoked, each with its keys and their expiry times.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn live_callers(&self) -> Result<Vec<(CallerRow, Vec<KeyHash>)>> {
        let callers = caller::Entity::find()
            .filter(caller::Column::RevokedAt.is_null())
            .find_with_related(caller_key::Entity)
            .all(&self.conn)
            .await?;
        let key = |key: caller_key::Model| (key.key_hash, key.expires_at);
        Ok(callers.into_iter().map(|(caller, keys)| (caller, keys.into_iter().map(key).collect())).collect())
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn caller_by_spiffe_id(&self, spiffe_id: &str) -> Result<Option<CallerRow>> {
        caller::Entity::find().filter(caller::Column::SpiffeId.eq(spiffe_id)).one(&self.conn).await.map_err(Error::from)
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn caller(&self, caller: CallerId) -> Result<Option<CallerRow>> {
        caller::Entity::find_by_id(caller).one(&self.conn).await.map_err(Error::from)
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn caller_by_name(&self, name: &str) -> Result<Option<CallerRow>> {
        caller::Entity::find().filter(caller::Column::Name.eq(name)).one(&self.conn).await.map_err(Error::from)
    }

    /// All callers ordered by name, each with the expiry times of its keys.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn callers(&self) -> Result<Vec<(CallerRow, Vec<Time>)>> {
        let callers = caller::Entity::find().order_by(caller::Column::Name, Order::Asc).all(&self.conn).await?;
        let keys =
            caller_key::Entity::find().order_by(caller_key::Column::ExpiresAt, Order::Asc).all(&self.conn).await?;
        let expiries = |id: CallerId| keys.iter().filter(move |key| key.caller_id == id).map(|key| key.expires_at);
        Ok(callers
            .into_iter()
            .map(|caller| (expiries(caller.caller_id).collect(), caller))
            .map(|(keys, caller)| (caller, keys))
            .collect())
    }
}

impl Tx {
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn insert_caller(&self, row: CallerRow) -> Result<()> {
        match caller::Entity::insert(row.into_active_model()).exec_without_returning(&self.conn).await {
            Ok(_) => {
                self.feed(ChangeKind::CallersChanged, None, None);
                Ok(())
            }
            Err(error) if is_unique_violation(&error) => {
                Err(Error::invalid("caller", "a caller of this name or with this SPIFFE ID is there already"))
            }
            Err(error) => Err(error.into()),
        }
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn insert_caller_key(&self, caller: CallerId, key: NewCallerKey) -> Result<()> {
        let row = caller_key::ActiveModel {
            key_hash: Set(key.hash),
            key_id: Set(i32::from(key.key_id)),
            caller_id: Set(caller),
            created_at: Set(key.created_at),
            expires_at: Set(key.expires_at),
        };
        caller_key::Entity::insert(row).exec_without_returning(&self.conn).await?;
        self.feed(ChangeKind::CallersChanged, None, None);
        Ok(())
    }

    /// Makes the current keys of a caller expire at `time` at the latest.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn expire_caller_keys(&self, caller: CallerId, time: Time) -> Result<()> {
        use caller_key::Column;

        caller_key::Entity::update_many()
            .set(caller_key::ActiveModel { expires_at: Set(time), ..Default::default() })
            .filter(Column::CallerId.eq(caller).and(Column::ExpiresAt.gt(time)))
            .exec(&self.conn)
            .await?;
        self.feed(ChangeKind::CallersChanged, None, None);
        Ok(())
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn revoke_caller(&self, caller: CallerId, now: Time) -> Result<()> {
        caller::Entity::update_many()
            .set(caller::ActiveModel { revoked_at: Set(Some(now)), ..Default::default() })
            .filter(caller::Column::CallerId.eq(caller))
            .exec(&self.conn)
            .await?;
        self.expire_caller_keys(caller, now).await
    }
}
