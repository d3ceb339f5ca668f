//! Counts what still depends on an old token key. Seal keys are never removed from a key file, so sealed values (TOTP
//! secrets, attributes, stored session tokens) need not be counted.

use sea_orm::sea_query::{Expr, ExprTrait, IntoIden, Query, SelectStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter};

use super::Store;
use super::entity::{caller, caller_key, session, session_token};
use crate::error::Result;

/// Numbers of live credentials that are hashed with one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveHashes {
    /// Tokens of sessions that have not ended.
    pub sessions: u64,
    /// Unexpired keys of callers.
    pub caller_keys: u64,
}

impl LiveHashes {
    pub const fn is_empty(self) -> bool {
        self.sessions == 0 && self.caller_keys == 0
    }
}

impl<C: ConnectionTrait> Store<C> {
    /// What would stop working without the token key `key_id`. Replaced tokens do not count; successors do.
    pub async fn live_hashes(&self, key_id: u16) -> Result<LiveHashes> {
        let now = self.clock().now();
        let live_sessions = ids(session::Column::SessionId, session::Entity)
            .and_where(Expr::col(session::Column::RevokedAt).is_null())
            .and_where(Expr::col(session::Column::ExpiresAt).gt(now))
            .to_owned();
        let sessions = session_token::Entity::find()
            .filter(session_token::Column::KeyId.eq(i32::from(key_id)))
            .filter(session_token::Column::GraceUntil.is_null())
            .filter(session_token::Column::SessionId.in_subquery(live_sessions));
        let live_callers = ids(caller::Column::CallerId, caller::Entity)
            .and_where(Expr::col(caller::Column::RevokedAt).is_null())
            .to_owned();
        let caller_keys = caller_key::Entity::find()
            .filter(caller_key::Column::KeyId.eq(i32::from(key_id)))
            .filter(caller_key::Column::ExpiresAt.gt(now))
            .filter(caller_key::Column::CallerId.in_subquery(live_callers));
        Ok(LiveHashes {
            sessions: sessions.count(&self.conn).await?,
            caller_keys: caller_keys.count(&self.conn).await?,
        })
    }
}

fn ids(column: impl IntoIden, table: impl IntoIden) -> SelectStatement {
    Query::select().column(column).from(table.into_iden()).to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock, Micros, Time};
    use crate::config::{AddressBinding, Config, DatabaseUrl};
    use crate::crypto::{KeyPurpose, Keyring, Token, TokenKind};
    use crate::model::id::{CallerId, SessionId, UserId};
    use crate::model::session::AuthType;
    use crate::store::{CallerRow, NewCallerKey, NewSession, SessionRow, StoreConfig};

    const DAY: Duration = Duration::from_hours(24);

    fn session(id: SessionId, now: Time) -> SessionRow {
        SessionRow {
            session_id: id,
            user_id: UserId::new(now),
            username: "alice".to_owned(),
            auth_type: AuthType::Password,
            app: "default".to_owned(),
            remote_addr: None,
            user_agent: String::new(),
            address_binding: AddressBinding::Off,
            idle_micros: Micros::new(1),
            created_at: now,
            last_active_at: now,
            expires_at: now + DAY,
            absolute_expires_at: now + DAY,
            revoked_at: None,
            revoke_reason: None,
            generation: 0,
            auth_id: None,
            auth_principal: String::new(),
        }
    }

    async fn add(store: &Store, keyring: &Keyring, now: Time) -> CallerId {
        let token = |kind| keyring.hash_token(Token::generate(kind).as_ref());
        let ((ust, key_id), (key, _)) = (token(TokenKind::Ust), token(TokenKind::CallerKey));
        let caller = CallerId::new(now);
        let name = caller.to_string();
        store
            .write(move |tx| {
                let row = CallerRow {
                    caller_id: caller,
                    name: name.clone(),
                    spiffe_id: None,
                    grants: String::new(),
                    apps: "*".to_owned(),
                    flags: String::new(),
                    max_in_flight: None,
                    created_at: now,
                    revoked_at: None,
                };
                Box::pin(async move {
                    tx.insert_session(NewSession { row: session(SessionId::new(now), now), token: ust, key_id })
                        .await?;
                    tx.insert_caller(row).await?;
                    let key = NewCallerKey { hash: key, key_id, created_at: now, expires_at: now + DAY };
                    tx.insert_caller_key(caller, key).await
                })
            })
            .await
            .expect("written");
        caller
    }

    #[tokio::test]
    async fn what_is_live_under_a_key_is_counted_until_it_has_ended() {
        let mut config = Config::default();
        config.database.url = DatabaseUrl::new("sqlite::memory:");
        let clock = Clock::manual(Time::from_micros(1_700_000_000_000_000));
        let now = clock.now();
        let mut keyring = Keyring::generate(now);
        let stored = Arc::new(Keyring::generate(now));
        let store = Store::connect(StoreConfig::of(&config), stored, clock.clone()).await.expect("connected");
        store.migrate(&|_, _| {}).await.expect("migrated");
        let caller = add(&store, &keyring, now).await;
        add(&store, &keyring, now).await;
        keyring.rotate(KeyPurpose::Token, now);
        add(&store, &keyring, now).await;

        let live = |sessions, caller_keys| LiveHashes { sessions, caller_keys };
        assert_eq!(store.live_hashes(1).await.expect("counted"), live(2, 2));
        assert_eq!(store.live_hashes(2).await.expect("counted"), live(1, 1));
        assert!(store.live_hashes(3).await.expect("counted").is_empty());

        store.write(move |tx| Box::pin(async move { tx.revoke_caller(caller, now).await })).await.expect("revoked");
        assert_eq!(store.live_hashes(1).await.expect("counted"), live(2, 1));

        clock.advance(DAY);
        assert!(store.live_hashes(1).await.expect("counted").is_empty());
    }
}
