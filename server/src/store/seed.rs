//! Many sessions and links at once, for benchmarks and for trying things out with a full database. Not part of any RPC.

use std::collections::HashMap;

use sea_orm::{
    ActiveValue, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, IntoActiveModel,
    QueryFilter, QuerySelect, TransactionTrait,
};

use super::entity::{definition, linked_auth, session, session_token, user};
use super::{DefinitionRow, LinkedAuthRow, SessionRow, Store, UserRow, fault};
use crate::crypto::{Token, TokenKind};
use crate::error::{Error, Result};
use crate::model::id::{LinkId, SessionId, UserId};

/// Rows of one statement: SQLite takes up to 32,766 values.
const BATCH: u64 = 1_000;

impl Store {
    /// Adds `users` users like `user`, each with `sessions` live sessions like `session`, and returns the tokens of all.
    pub async fn seed(
        &self,
        users: u64,
        sessions: u64,
        user: &UserRow,
        session: &SessionRow,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<Token>> {
        let conn = self.shared.writer.conn();
        if self.shared.backend == DbBackend::Sqlite {
            // Hashes come in no order: with all pages in memory each is written once, else a million take minutes.
            conn.execute_unprepared("PRAGMA cache_size = -1048576").await.map_err(fault)?;
        }
        let conn = conn.begin().await.map_err(fault)?;
        let now = self.clock().now();
        let mut tokens = Vec::new();
        let mut user_rows = Vec::new();
        for number in 0..users {
            let name = format!("{}{number}", user.username);
            let user_id = UserId::new(now);
            user_rows.push(UserRow {
                user_id,
                username_key: name.clone(),
                search_text: name.clone(),
                username: name,
                ..user.clone()
            });
        }
        for batch in user_rows.chunks(usize::try_from(BATCH).unwrap_or(1)) {
            let rows = batch.iter().map(|row| row.clone().into_active_model());
            user::Entity::insert_many(rows).exec_without_returning(&conn).await.map_err(fault)?;
        }
        let mut pending = (Vec::new(), Vec::new());
        for user in &user_rows {
            for _ in 0..sessions {
                let session_id = SessionId::new(now);
                let token = Token::generate(TokenKind::Ust);
                let (hash, key_id) = self.keyring().hash_token(token.as_ref());
                pending.0.push(
                    SessionRow {
                        session_id,
                        user_id: user.user_id,
                        username: user.username.clone(),
                        ..session.clone()
                    }
                    .into_active_model(),
                );
                pending.1.push(
                    session_token::Model {
                        token_hash: hash,
                        key_id: i32::from(key_id),
                        session_id,
                        generation: 0,
                        grace_until: None,
                        successor: None,
                    }
                    .into_active_model(),
                );
                tokens.push(token);
                if pending.0.len() as u64 == BATCH {
                    insert(&conn, std::mem::take(&mut pending)).await?;
                    progress(tokens.len() as u64);
                }
            }
        }
        insert(&conn, pending).await?;
        conn.commit().await.map_err(fault)?;
        progress(tokens.len() as u64);
        Ok(tokens)
    }

    /// Adds `count` definitions like `definition` and links the first `links` of them to the first of the users that
    /// [`Self::seed`] made after `username`, as many to the next one, and so on. Returns their numbers.
    pub async fn seed_links(
        &self,
        username: &str,
        links: u64,
        count: u64,
        definition: &DefinitionRow,
    ) -> Result<Vec<i64>> {
        let conn = self.shared.writer.conn().begin().await.map_err(fault)?;
        let users = user_ids(&conn, username).await?;
        let mut numbers = Vec::new();
        for first in (0..count).step_by(usize::try_from(BATCH).unwrap_or(1)) {
            let batch = first..count.min(first + BATCH);
            let rows = batch.clone().map(|number| {
                let row = DefinitionRow {
                    name: format!("{}{number}", definition.name),
                    username: format!("{}{number}", definition.username),
                    ..definition.clone()
                };
                definition::ActiveModel { auth_id: ActiveValue::NotSet, ..row.into_active_model() }
            });
            let inserted =
                definition::Entity::insert_many(rows).exec_with_returning_keys(&conn).await.map_err(fault)?;
            let mut rows = Vec::new();
            for (number, auth_id) in batch.zip(&inserted) {
                let user_id = *users.get(&format!("{username}{}", number / links)).ok_or(Error::UserNotFound)?;
                rows.push(self.link_row(user_id, *auth_id).into_active_model());
            }
            linked_auth::Entity::insert_many(rows).exec_without_returning(&conn).await.map_err(fault)?;
            numbers.extend(inserted);
        }
        conn.commit().await.map_err(fault)?;
        Ok(numbers)
    }

    fn link_row(&self, user_id: UserId, auth_id: i64) -> LinkedAuthRow {
        let now = self.clock().now();
        LinkedAuthRow {
            link_id: LinkId::new(now),
            user_id,
            auth_id,
            is_active: true,
            is_internal: false,
            created_at: now,
            updated_at: now,
            last_used_at: None,
            version: 1,
        }
    }
}

/// Those whose names begin so, by their names.
async fn user_ids(conn: &DatabaseTransaction, username: &str) -> Result<HashMap<String, UserId>> {
    let users = user::Entity::find()
        .select_only()
        .columns([user::Column::UsernameKey, user::Column::UserId])
        .filter(user::Column::UsernameKey.starts_with(username));
    Ok(users.into_tuple::<(String, UserId)>().all(conn).await.map_err(fault)?.into_iter().collect())
}

async fn insert(
    conn: &DatabaseTransaction,
    rows: (Vec<session::ActiveModel>, Vec<session_token::ActiveModel>),
) -> Result<()> {
    if rows.0.is_empty() {
        return Ok(());
    }
    session::Entity::insert_many(rows.0).exec_without_returning(conn).await.map_err(fault)?;
    session_token::Entity::insert_many(rows.1).exec_without_returning(conn).await.map_err(fault)?;
    Ok(())
}
