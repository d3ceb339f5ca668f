//! Batch look-ups for an import, and definitions that are imported with their IDs.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect,
    Statement, Value,
};

use super::change::ChangeKind;
use super::definition::map_unique_violation;
use super::entity::{definition, user};
use super::{DefinitionRow, Store, Tx, UserRow};
use crate::error::{Error, Result};
use crate::model::session::AuthType;

/// The sequence of definition IDs on PostgreSQL.
const SEQUENCE: &str = "pg_get_serial_sequence('definition', 'auth_id')";

impl<C: ConnectionTrait> Store<C> {
    /// Users with these usernames in lower case, at most a few hundred.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn users_by_names(&self, keys: &[String]) -> Result<Vec<UserRow>> {
        let found = user::Entity::find().filter(user::Column::UsernameKey.is_in(keys));
        found.all(&self.conn).await.map_err(Error::from)
    }

    /// Definitions of a type and an issuer with these usernames, at most a few hundred.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn definitions_of(
        &self,
        auth_type: AuthType,
        issuer: &str,
        usernames: &[String],
    ) -> Result<Vec<DefinitionRow>> {
        use definition::Column;

        let found = definition::Entity::find()
            .filter(Column::AuthType.eq(auth_type))
            .filter(Column::Username.is_in(usernames))
            .filter(Column::Issuer.eq(issuer));
        found.all(&self.conn).await.map_err(Error::from)
    }

    /// Those of these names, at most a few hundred, that definitions have.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn existing_definition_names(&self, names: &[String]) -> Result<Vec<String>> {
        use definition::Column;

        let found = definition::Entity::find().select_only().column(Column::Name).filter(Column::Name.is_in(names));
        found.into_tuple().all(&self.conn).await.map_err(Error::from)
    }

    /// The highest ID that a definition has or had. Higher IDs were never assigned.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn highest_auth_id(&self) -> Result<i64> {
        let given = match self.shared.backend {
            DbBackend::Postgres => format!("SELECT pg_sequence_last_value({SEQUENCE}::regclass)"),
            _ => "SELECT seq FROM sqlite_sequence WHERE name = 'definition'".to_owned(),
        };
        let given = self.conn.query_one_raw(Statement::from_string(self.shared.backend, given)).await?;
        let given: Option<i64> = given.map_or(Ok(None), |row| row.try_get_by_index(0))?;
        let last = definition::Entity::find().select_only().column_as(definition::Column::AuthId.max(), "last");
        let last: Option<Option<i64>> = last.into_tuple().one(&self.conn).await?;
        Ok(given.max(last.flatten()).unwrap_or(0))
    }
}

impl Tx {
    /// Inserts a definition with the ID in `row`, and makes IDs assigned later higher.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn insert_definition_with_id(&self, row: DefinitionRow) -> Result<()> {
        if self.shared.backend == DbBackend::Postgres {
            // Blocks concurrent inserts, which take IDs, while the sequence is read and moved.
            let lock = "LOCK TABLE definition IN SHARE ROW EXCLUSIVE MODE";
            self.conn.execute_unprepared(lock).await?;
        }
        let auth_id = row.auth_id;
        if self.definition(auth_id).await?.is_some() {
            return Err(Error::invalid("auth_id", "is taken by another definition"));
        }
        let row = row.into_active_model().reset_all();
        definition::Entity::insert(row).exec_without_returning(&self.conn).await.map_err(map_unique_violation)?;
        if self.shared.backend == DbBackend::Postgres {
            let moved = format!(
                "SELECT setval({SEQUENCE}, greatest($1, coalesce(pg_sequence_last_value({SEQUENCE}::regclass), 1)))"
            );
            let moved = Statement::from_sql_and_values(DbBackend::Postgres, moved, [Value::from(auth_id)]);
            self.conn.query_one_raw(moved).await?;
        }
        self.feed(ChangeKind::DefinitionChanged, None, None);
        Ok(())
    }
}
