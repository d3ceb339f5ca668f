//! Creates many sessions and links, for benchmarks and experiments with a full database. Not part of any RPC.

use std::collections::HashMap;

use sea_orm::{
    ActiveValue, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, IntoActiveModel,
    QueryFilter, QuerySelect, TransactionTrait,
};

use super::entity::{definition, linked_auth, session, session_token, user};
use super::{DefinitionRow, LinkedAuthRow, SessionRow, Store, UserRow};
use crate::crypto::{Token, TokenKind};
use crate::error::{Error, Result};
use crate::model::id::{LinkId, SessionId, UserId};

/// Rows per statement; SQLite allows 32,766 values.
const BATCH: usize = 1_000;

impl Store {
    /// Adds `users` users like `user`, each with `sessions` live sessions like `session`, and returns all tokens.
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
            // Hashes come in random order. With all pages cached each is written once; else a million take minutes.
            conn.execute_unprepared("PRAGMA cache_size = -1048576").await?;
        }
        let conn = conn.begin().await?;
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
        for batch in user_rows.chunks(BATCH) {
            let rows = batch.iter().map(|row| row.clone().into_active_model());
            user::Entity::insert_many(rows).exec_without_returning(&conn).await?;
        }
        let per_user = usize::try_from(sessions).unwrap_or(usize::MAX);
        let owners: Vec<&UserRow> = user_rows.iter().flat_map(|user| std::iter::repeat_n(user, per_user)).collect();
        for batch in owners.chunks(BATCH) {
            let (mut rows, mut token_rows) = (Vec::new(), Vec::new());
            for owner in batch {
                let (row, token_row, token) = self.session_of(owner, session);
                rows.push(row);
                token_rows.push(token_row);
                tokens.push(token);
            }
            insert(&conn, rows, token_rows).await?;
            progress(tokens.len() as u64);
        }
        conn.commit().await?;
        Ok(tokens)
    }

    fn session_of(
        &self,
        owner: &UserRow,
        session: &SessionRow,
    ) -> (session::ActiveModel, session_token::ActiveModel, Token) {
        let session_id = SessionId::new(self.clock().now());
        let token = Token::generate(TokenKind::Ust);
        let (token_hash, key_id) = self.keyring().hash_token(token.as_ref());
        let key_id = i32::from(key_id);
        let (user_id, username) = (owner.user_id, owner.username.clone());
        let row = SessionRow { session_id, user_id, username, ..session.clone() };
        let token_row =
            session_token::Model { token_hash, key_id, session_id, generation: 0, grace_until: None, successor: None };
        (row.into_active_model(), token_row.into_active_model(), token)
    }

    /// Adds `count` definitions like `definition` and returns their IDs. The first `links` of them are linked to the
    /// first user that [`Self::seed`] named after `username`, the next `links` to the second, and so on.
    pub async fn seed_links(
        &self,
        username: &str,
        links: u64,
        count: u64,
        definition: &DefinitionRow,
    ) -> Result<Vec<i64>> {
        let conn = self.shared.writer.conn().begin().await?;
        let users = user_ids(&conn, username).await?;
        let mut numbers = Vec::new();
        for first in (0..count).step_by(BATCH) {
            let batch = first..count.min(first + BATCH as u64);
            let rows = batch.clone().map(|number| {
                let row = DefinitionRow {
                    name: format!("{}{number}", definition.name),
                    username: format!("{}{number}", definition.username),
                    ..definition.clone()
                };
                definition::ActiveModel { auth_id: ActiveValue::NotSet, ..row.into_active_model() }
            });
            let inserted = definition::Entity::insert_many(rows).exec_with_returning_keys(&conn).await?;
            let mut rows = Vec::new();
            for (number, auth_id) in batch.zip(&inserted) {
                let user_id = *users.get(&format!("{username}{}", number / links)).ok_or(Error::UserNotFound)?;
                rows.push(self.link_row(user_id, *auth_id).into_active_model());
            }
            linked_auth::Entity::insert_many(rows).exec_without_returning(&conn).await?;
            numbers.extend(inserted);
        }
        conn.commit().await?;
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

/// Users whose names start with `username`, by name.
async fn user_ids(conn: &DatabaseTransaction, username: &str) -> Result<HashMap<String, UserId>> {
    let users = user::Entity::find()
        .select_only()
        .columns([user::Column::UsernameKey, user::Column::UserId])
        .filter(user::Column::UsernameKey.starts_with(username));
    Ok(users.into_tuple::<(String, UserId)>().all(conn).await?.into_iter().collect())
}

async fn insert(
    conn: &DatabaseTransaction,
    sessions: Vec<session::ActiveModel>,
    tokens: Vec<session_token::ActiveModel>,
) -> Result<()> {
    session::Entity::insert_many(sessions).exec_without_returning(conn).await?;
    session_token::Entity::insert_many(tokens).exec_without_returning(conn).await?;
    Ok(())
}
