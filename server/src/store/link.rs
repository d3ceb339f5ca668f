//! Links between users and definitions.
//!
//! To prevent deadlocks, all changes of links lock in this order: definition, user, link, sessions.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, IntoActiveModel,
    QueryFilter, QuerySelect, Statement, Value,
};

use super::change::ChangeKind;
use super::entity::linked_auth;
use super::error::{is_foreign_key_violation, is_unique_violation};
use super::{DefinitionRow, LinkedAuthRow, Store, Tx};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::model::id::{LinkId, UserId};
use crate::model::link::LinkEntry;
use crate::model::session::AuthType;

/// Maximum links per read; in practice all links of a user.
pub const MAX_LINKS_READ: u64 = 1_000;

/// Longer lists are not cached, because the cache is bounded by users, not by links.
const MAX_LINKS_CACHED: usize = 64;

/// The links of one user as the cache keeps them, oldest first.
#[derive(Debug)]
pub struct UserLinks {
    entries: Vec<LinkEntry>,
    /// As long as the entries, about.
    response: OnceLock<Bytes>,
}

impl UserLinks {
    /// The encoded response that lists all of them, encoded by the first call: encoding three links is a tenth of the
    /// instructions of a call.
    pub fn response(&self, encode: impl FnOnce(&[LinkEntry]) -> Bytes) -> Bytes {
        self.response.get_or_init(|| encode(&self.entries)).clone()
    }
}

impl From<Vec<LinkEntry>> for UserLinks {
    fn from(entries: Vec<LinkEntry>) -> Self {
        Self { entries, response: OnceLock::new() }
    }
}

impl Deref for UserLinks {
    type Target = [LinkEntry];

    fn deref(&self) -> &[LinkEntry] {
        &self.entries
    }
}

impl LinkedAuthRow {
    /// The link with fields of its definition.
    pub fn entry(&self, definition: DefinitionRow) -> LinkEntry {
        LinkEntry {
            link_id: self.link_id,
            user_id: self.user_id,
            auth_id: self.auth_id,
            auth_type: definition.auth_type,
            auth_username: definition.username.into(),
            is_active: self.is_active,
            is_internal: self.is_internal,
            created_at: self.created_at,
            last_used_at: self.last_used_at,
            version: self.version,
            is_definition_active: definition.is_active,
        }
    }
}

/// A username, one definition that has it, and how many do.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct NamedDefinition {
    pub auth_type: AuthType,
    pub username: String,
    pub auth_id: i64,
    pub definitions: i64,
}

/// A condition follows. No aliases: the query plan tests look for table names.
const ENTRIES: &str = "
SELECT linked_auth.link_id, linked_auth.user_id, linked_auth.auth_id, definition.auth_type, definition.username,
       linked_auth.is_active, linked_auth.is_internal, linked_auth.created_at, linked_auth.last_used_at, linked_auth.version,
       definition.is_active AS is_definition_active
FROM linked_auth JOIN definition ON definition.auth_id = linked_auth.auth_id
WHERE ";

const NAMED: &str = "SELECT auth_type, username, min(auth_id) AS auth_id, count(*) AS definitions FROM definition";

#[derive(FromQueryResult)]
struct EntryRow {
    link_id: LinkId,
    user_id: UserId,
    auth_id: i64,
    auth_type: AuthType,
    username: String,
    is_active: bool,
    is_internal: bool,
    created_at: Time,
    last_used_at: Option<Time>,
    version: i64,
    is_definition_active: bool,
}

impl From<EntryRow> for LinkEntry {
    fn from(row: EntryRow) -> Self {
        Self {
            link_id: row.link_id,
            user_id: row.user_id,
            auth_id: row.auth_id,
            auth_type: row.auth_type,
            auth_username: row.username.into(),
            is_active: row.is_active,
            is_internal: row.is_internal,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            version: row.version,
            is_definition_active: row.is_definition_active,
        }
    }
}

impl<C: ConnectionTrait> Store<C> {
    /// The link of a definition, which has at most one.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn link_of_definition(&self, auth_id: i64) -> Result<Option<LinkedAuthRow>> {
        let link = linked_auth::Entity::find().filter(linked_auth::Column::AuthId.eq(auth_id));
        link.one(&self.conn).await.map_err(Error::from)
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn link(&self, link: LinkId) -> Result<Option<LinkedAuthRow>> {
        linked_auth::Entity::find_by_id(link).one(&self.conn).await.map_err(Error::from)
    }

    /// A user's links after `after`, oldest first.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn links_of_user_after(&self, user: UserId, after: LinkId, limit: u64) -> Result<Vec<LinkEntry>> {
        let condition = "linked_auth.user_id = $1 AND linked_auth.link_id > $2 ORDER BY linked_auth.link_id LIMIT $3";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.entries(condition, [user.into(), after.into(), limit.into()]).await
    }

    /// The links of at most a few hundred definitions, in any order.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn links_of_definitions(&self, definitions: &[i64]) -> Result<Vec<LinkEntry>> {
        let (placeholders, values) = parameters(definitions, 1);
        self.entries(&format!("linked_auth.auth_id IN ({placeholders})"), values).await
    }

    async fn entries(&self, condition: &str, values: impl IntoIterator<Item = Value>) -> Result<Vec<LinkEntry>> {
        let sql = format!("{ENTRIES}{condition}");
        let statement = Statement::from_sql_and_values(self.shared.backend, sql, values);
        let rows = EntryRow::find_by_statement(statement).all(&self.conn).await?;
        Ok(rows.into_iter().map(LinkEntry::from).collect())
    }

    /// The definitions with these types and usernames, at most a few hundred. Definitions of different issuers may
    /// share them. Names without a definition are left out.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn definitions_named(&self, names: &[(AuthType, &str)]) -> Result<Vec<NamedDefinition>> {
        let mut types: Vec<AuthType> = names.iter().map(|(auth_type, _)| *auth_type).collect();
        types.sort_unstable();
        types.dedup();
        let (mut parts, mut values) = (Vec::new(), Vec::new());
        for auth_type in types {
            let of_type: Vec<&str> =
                names.iter().filter(|(other, _)| *other == auth_type).map(|(_, name)| *name).collect();
            let position = values.len() + 1;
            let (placeholders, more) = parameters(&of_type, position + 1);
            values.push(Value::from(auth_type));
            values.extend(more);
            parts.push(format!(
                "{NAMED} WHERE auth_type = ${position} AND username IN ({placeholders}) GROUP BY auth_type, username"
            ));
        }
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        // Not one query with OR, which makes SQLite scan the whole index.
        let sql = parts.join(" UNION ALL ");
        let statement = Statement::from_sql_and_values(self.shared.backend, sql, values);
        NamedDefinition::find_by_statement(statement).all(&self.conn).await.map_err(Error::from)
    }
}

/// Placeholders from `$first` on, and their values. Padded to a power of two, so that prepared statements are reused.
fn parameters<T: Copy + Into<Value>>(items: &[T], first: usize) -> (String, Vec<Value>) {
    let count = items.len().next_power_of_two();
    let last = items.last().into_iter().cycle();
    let values: Vec<Value> = items.iter().chain(last).take(count).map(|item| (*item).into()).collect();
    let placeholders: Vec<String> = (first..first + values.len()).map(|position| format!("${position}")).collect();
    (placeholders.join(", "), values)
}

impl Store {
    /// The cached links of a user.
    pub fn cached_links(&self, user: UserId) -> Option<Arc<UserLinks>> {
        self.shared.cache.links.get(&user)
    }

    /// The first [`MAX_LINKS_READ`] links of a user, oldest first, from the cache or the database. For the rest, use
    /// [`Self::links_of_user_after`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn links_of_user(&self, user: UserId) -> Result<Arc<UserLinks>> {
        let first = || self.links_of_user_after(user, LinkId::nil(), MAX_LINKS_READ);
        let read = async { first().await.map(|links| Some(links.into())) };
        let links = self.shared.cache.links.get_or_read(&user, read).await?;
        let links = links.ok_or_else(|| Error::internal("a list is always there"))?;
        if links.len() > MAX_LINKS_CACHED {
            self.shared.cache.links.invalidate_keys(&[user]);
        }
        Ok(links)
    }
}

impl Tx {
    /// Locks the link until the transaction ends. Lock its definition and its user first.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn lock_link(&self, link: LinkId) -> Result<Option<LinkedAuthRow>> {
        linked_auth::Entity::find_by_id(link).lock_exclusive().one(&self.conn).await.map_err(Error::from)
    }

    /// True if the user has another active link to an active definition.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn has_other_active_link(&self, link: &LinkedAuthRow) -> Result<bool> {
        let condition = "linked_auth.user_id = $1 AND linked_auth.link_id <> $2 AND linked_auth.is_active = $3 \
                         AND definition.is_active = $3 LIMIT 1";
        let found = self.entries(condition, [link.user_id.into(), link.link_id.into(), true.into()]).await?;
        Ok(!found.is_empty())
    }

    /// Inserts a link. Its definition and user must be locked.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn insert_link(&self, row: LinkedAuthRow) -> Result<()> {
        let user = row.user_id;
        match linked_auth::Entity::insert(row.into_active_model()).exec_without_returning(&self.conn).await {
            Ok(_) => {
                self.links_changed(user);
                Ok(())
            }
            Err(error) if is_unique_violation(&error) => Err(Error::LinkUnavailable),
            // One of them was deleted despite its lock, by something that takes no locks. A retry finds it gone.
            Err(error) if is_foreign_key_violation(&error) => Err(Error::WriteConflict),
            Err(error) => Err(error.into()),
        }
    }

    /// Updates the whole row.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn update_link(&self, row: LinkedAuthRow) -> Result<()> {
        let user = row.user_id;
        linked_auth::Entity::update(row.into_active_model().reset_all()).exec(&self.conn).await?;
        self.links_changed(user);
        Ok(())
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn delete_link(&self, row: &LinkedAuthRow) -> Result<()> {
        linked_auth::Entity::delete_by_id(row.link_id).exec(&self.conn).await?;
        self.links_changed(row.user_id);
        Ok(())
    }

    /// Records a successful login through the link. Its version stays, because the link does not change.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn record_link_use(&self, link: LinkId, now: Time) -> Result<()> {
        let updated = linked_auth::Entity::update_many()
            .set(linked_auth::ActiveModel { last_used_at: Set(Some(now)), ..Default::default() })
            .filter(linked_auth::Column::LinkId.eq(link))
            .exec_with_returning(&self.conn)
            .await?;
        for row in updated {
            self.links_changed(row.user_id);
        }
        Ok(())
    }

    fn links_changed(&self, user: UserId) {
        self.invalidate_links(user);
        self.feed(ChangeKind::LinksChanged, Some(user), None);
    }

    /// Invalidates the links of a user when this transaction ends. Required for every change of links.
    pub(super) fn invalidate_links(&self, user: UserId) {
        self.invalidated.lock().links.add([user]);
    }
}
