//! Carries out a plan: one transaction per row, several at a time.

use futures::{StreamExt, stream};
use serde_json::json;

use super::{ImportPlan, Line, Step, reason};
use crate::app::audit::Event;
use crate::app::client::ClientInput;
use crate::app::{App, Context};
use crate::error::{Error, Result};
use crate::model::audit::Operation;
use crate::store::{DefinitionRow, LinkedAuthRow, UserRow};

/// Concurrent transactions. On SQLite they share commits; on PostgreSQL they wait for connections.
const CONCURRENCY: usize = 32;

impl App {
    /// Carries out the plan and reports each row to `report`. Rows that others wrote after the plan was made are left
    /// alone. After a fault, all reported rows are done, and another import continues from there.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn import(&self, context: &Context, plan: ImportPlan, mut report: impl FnMut(Line)) -> Result<()> {
        let event = Event::new(&self.client(context, ClientInput::default())?, Operation::ImportUser);
        let users = stream::iter(plan.users).map(|step| {
            let event = event.clone();
            execute_step(step, async |row, source| self.import_user(event, row, source).await)
        });
        report_each(users, &mut report).await?;
        let definitions = stream::iter(plan.definitions).map(|step| {
            let event = event.clone().operation(Operation::ImportDefinition);
            execute_step(step, async |row, source| self.import_definition(event, row, source).await)
        });
        report_each(definitions, &mut report).await?;
        let links = stream::iter(plan.links).map(|step| {
            let event = event.clone().operation(Operation::ImportLink);
            execute_step(step, async |row, source| self.import_link(event, row, source).await)
        });
        report_each(links, &mut report).await
    }

    async fn import_user(&self, event: Event, row: UserRow, source: &str) -> Result<()> {
        let detail = json!({ "source": source, "username": row.username, "is_super_user": row.is_super_user });
        let event = event.target(row.user_id).detail(detail);
        let write = self.parts.store.write(move |tx| {
            let (row, event) = (row.clone(), event.clone());
            Box::pin(async move {
                tx.insert_user(row).await?;
                tx.audit(event);
                Ok(())
            })
        });
        write.await
    }

    async fn import_definition(&self, event: Event, row: DefinitionRow, source: &str) -> Result<()> {
        let event = event.detail(json!({ "source": source, "auth_id": row.auth_id, "name": row.name }));
        let write = self.parts.store.write(move |tx| {
            let (row, event) = (row.clone(), event.clone());
            Box::pin(async move {
                tx.insert_definition_with_id(row).await?;
                tx.audit(event);
                Ok(())
            })
        });
        write.await
    }

    async fn import_link(&self, event: Event, row: LinkedAuthRow, source: &str) -> Result<()> {
        let (link_id, user_id) = (row.link_id, row.user_id);
        let detail = json!({ "source": source, "link_id": link_id.to_string(), "auth_id": row.auth_id });
        let event = event.target(user_id).detail(detail);
        let write = self.parts.store.write(move |tx| {
            let (row, event) = (row.clone(), event.clone());
            Box::pin(async move {
                tx.lock_definition(row.auth_id).await?.ok_or(Error::DefinitionNotFound)?;
                tx.lock_user(user_id).await?.ok_or(Error::UserNotFound)?;
                tx.insert_link(row).await?;
                tx.audit(event);
                Ok(())
            })
        });
        write.await
    }
}

/// Carries out a step. A row that no longer passes validation is a refusal, not a fault.
async fn execute_step<R>(step: Step<R>, write: impl AsyncFnOnce(R, &str) -> Result<()>) -> Result<Line> {
    let Step { line, row } = step;
    let Some(row) = row else { return Ok(line) };
    match write(row, &line.source).await {
        Ok(()) => Ok(line),
        Err(error) => Ok(line.refused(reason(error)?)),
    }
}

async fn report_each(
    steps: impl stream::Stream<Item = impl Future<Output = Result<Line>>>,
    report: &mut impl FnMut(Line),
) -> Result<()> {
    let mut lines = std::pin::pin!(steps.buffered(CONCURRENCY));
    while let Some(line) = lines.next().await {
        report(line?);
    }
    Ok(())
}
