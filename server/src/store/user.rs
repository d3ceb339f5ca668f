//! Users.

use std::collections::HashSet;

use sea_orm::sea_query::LikeExpr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, Order, QueryFilter,
    QueryOrder, QuerySelect,
};

use super::change::ChangeKind;
use super::entity::{attribute, user};
use super::error::is_unique_violation;
use super::unique::unique;
use super::{Store, Tx, UserRow};
use crate::error::{Error, Result};
use crate::model::id::UserId;
use crate::model::user::ApprovalStatus;

/// Filter of users; all fields that are set must match.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// In lower case; a part of username, display name or email.
    pub search: Option<String>,
    pub approval_status: Option<ApprovalStatus>,
    pub is_locked: Option<bool>,
    pub is_super_user: Option<bool>,
}

impl UserFilter {
    fn condition(&self) -> Condition {
        use user::Column;

        let search = |text: &String| Column::SearchText.like(containing(text));
        Condition::all()
            .add_option(self.search.as_ref().map(search))
            .add_option(self.approval_status.map(|status| Column::ApprovalStatus.eq(status)))
            .add_option(self.is_locked.map(|locked| Column::IsLocked.eq(locked)))
            .add_option(self.is_super_user.map(|super_user| Column::IsSuperUser.eq(super_user)))
    }
}

/// A LIKE pattern that matches any text containing `text` literally.
fn containing(text: &str) -> LikeExpr {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    LikeExpr::new(pattern).escape('\\')
}

impl<C: ConnectionTrait> Store<C> {
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn user(&self, user: UserId) -> Result<Option<UserRow>> {
        unique(user::Entity::find_by_id(user), &self.conn).await
    }

    /// By username in lower case.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn user_by_name(&self, username_key: &str) -> Result<Option<UserRow>> {
        // No name contains NUL, and PostgreSQL rejects such parameters.
        if username_key.contains('\0') {
            return Ok(None);
        }
        unique(user::Entity::find().filter(user::Column::UsernameKey.eq(username_key)), &self.conn).await
    }

    /// Which of these users, at most a few hundred, are super-users.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn super_users_among(&self, users: impl IntoIterator<Item = UserId>) -> Result<HashSet<UserId>> {
        use user::Column;

        let found: Vec<UserId> = user::Entity::find()
            .select_only()
            .column(Column::UserId)
            .filter(Column::UserId.is_in(users.into_iter()))
            .filter(Column::IsSuperUser.eq(true))
            .into_tuple()
            .all(&self.conn)
            .await?;
        Ok(found.into_iter().collect())
    }

    /// Users that match, oldest first, after `after`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn users(&self, filter: &UserFilter, after: Option<UserId>, limit: u64) -> Result<Vec<UserRow>> {
        user::Entity::find()
            .filter(filter.condition().add_option(after.map(|after| user::Column::UserId.gt(after))))
            .order_by(user::Column::UserId, Order::Asc)
            .limit(limit)
            .all(&self.conn)
            .await
            .map_err(Error::from)
    }
}

impl Tx {
    /// Locks the user until the transaction ends: others wait to change the user or to start a session for them.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn lock_user(&self, user: UserId) -> Result<Option<UserRow>> {
        unique(user::Entity::find_by_id(user).lock_exclusive(), &self.conn).await
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn insert_user(&self, row: UserRow) -> Result<()> {
        let user = row.user_id;
        user::Entity::insert(row.into_active_model())
            .exec_without_returning(&self.conn)
            .await
            .map_err(map_unique_violation)?;
        self.feed(ChangeKind::UserChanged, Some(user), None);
        Ok(())
    }

    /// Updates the whole row, and invalidates the user's cached sessions, which show parts of it.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn update_user(&self, row: UserRow) -> Result<()> {
        let user = row.user_id;
        self.invalidate_user(user).await?;
        user::Entity::update(row.into_active_model().reset_all())
            .exec(&self.conn)
            .await
            .map_err(map_unique_violation)?;
        self.feed(ChangeKind::UserChanged, Some(user), None);
        Ok(())
    }

    /// Deletes the user with all links and attributes, including their sessions' attributes. Revoke the sessions first.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn delete_user(&self, user: UserId) -> Result<()> {
        self.invalidate_user(user).await?;
        self.invalidate_links(user);
        self.delete_session_attributes_of_user(user).await?;
        attribute::Entity::delete_many().filter(attribute::Column::OwnerId.eq(user)).exec(&self.conn).await?;
        user::Entity::delete_by_id(user).exec(&self.conn).await?;
        self.feed(ChangeKind::UserDeleted, Some(user), None);
        Ok(())
    }
}

fn map_unique_violation(error: DbErr) -> Error {
    if is_unique_violation(&error) { Error::UsernameTaken } else { error.into() }
}
