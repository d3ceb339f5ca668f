//! Searches the audit trail.
//!
//! Users and sessions are found by indexes that start with an event's segment, a run of neighbouring events of one
//! chain. Without segments, each batch of events would write to pages all over an index; with them, writes stay in the
//! small current segment. A search queries every segment, about 120 per million events.

use sea_orm::sea_query::{Cond, Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};

use super::outcome_number;
use crate::error::Result;
use crate::model::audit::{AuditFilter, AuditPosition, Outcome, StoredAuditEvent};
use crate::store::Store;
use crate::store::entity::{audit_chain, audit_event};

/// Events per segment. [`SEGMENT`] and the indexes of the migration repeat this number.
const SEGMENT_LENGTH: i64 = 8192;
/// Maximum segments per chain; repeated likewise.
const SEGMENTS_OF_CHAIN: i64 = 1 << 30;
/// The segment of an event, exactly as in the indexes.
const SEGMENT: &str = "audit_event.chain_number * 1073741824 + audit_event.sequence / 8192";
/// Segments per query.
const SEGMENTS_AT_ONCE: usize = 1_000;

impl<C: ConnectionTrait> Store<C> {
    /// Events that match, newest first, after `after` in this order.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn audit_events(
        &self,
        filter: &AuditFilter,
        after: Option<AuditPosition>,
        limit: u64,
    ) -> Result<Vec<StoredAuditEvent>> {
        let condition = condition(filter).add_option(after.map(after_position));
        let index_conditions = index_conditions(filter);
        if index_conditions.is_empty() {
            return self.audit_page(condition, limit).await;
        }
        let mut page = Vec::new();
        for segments in self.audit_segments().await?.chunks(SEGMENTS_AT_ONCE) {
            let in_segments = Expr::cust(SEGMENT).is_in(segments.iter().copied());
            for index_condition in &index_conditions {
                let found = condition.clone().add(in_segments.clone()).add(index_condition.clone());
                page.extend(self.audit_page(found, limit).await?);
            }
            page.sort_by_key(|event| std::cmp::Reverse(event.position));
            page.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        Ok(page)
    }

    async fn audit_page(&self, condition: Cond, limit: u64) -> Result<Vec<StoredAuditEvent>> {
        use audit_event::Column;

        let rows = audit_event::Entity::find()
            .filter(condition)
            .find_also_related(audit_chain::Entity)
            .order_by(Column::Time, Order::Desc)
            .order_by(Column::ChainNumber, Order::Desc)
            .order_by(Column::Sequence, Order::Desc)
            .limit(limit)
            .all(&self.conn)
            .await?;
        Ok(rows.into_iter().map(|(event, chain)| stored(event, chain)).collect())
    }

    /// All segments. They do not cover the events of a removed chain.
    async fn audit_segments(&self) -> Result<Vec<i64>> {
        use audit_chain::Column;

        let chains: Vec<(i64, i64)> = audit_chain::Entity::find()
            .select_only()
            .columns([Column::Number, Column::Length])
            .order_by(Column::Number, Order::Desc)
            .into_tuple()
            .all(&self.conn)
            .await?;
        let segments = |(number, length): (i64, i64)| {
            (0..=length / SEGMENT_LENGTH).rev().map(move |segment| number * SEGMENTS_OF_CHAIN + segment)
        };
        Ok(chains.into_iter().flat_map(segments).collect())
    }
}

fn after_position(after: AuditPosition) -> Cond {
    use audit_event::Column;

    let time = after.time;
    let earlier_in_chain = Column::ChainNumber.eq(after.chain_number).and(Column::Sequence.lt(after.sequence));
    let same_time = Column::Time.eq(time).and(Column::ChainNumber.lt(after.chain_number).or(earlier_in_chain));
    // The first condition is redundant, but an index scan can start from it.
    Cond::all().add(Column::Time.lte(time)).add(Column::Time.lt(time).or(same_time))
}

/// Conditions that find the events of a user or a session by segment. No event matches two. Empty: neither is set.
fn index_conditions(filter: &AuditFilter) -> Vec<Cond> {
    use audit_event::Column;

    if let Some(user) = filter.user {
        // If subject and target are the same user, the subject's condition finds the event.
        let to_another = Expr::cust("audit_event.target_user_id IS DISTINCT FROM audit_event.subject_user_id");
        return vec![
            Cond::all().add(Column::SubjectUserId.eq(user)),
            Cond::all().add(Column::TargetUserId.eq(user)).add(to_another),
        ];
    }
    filter.session.map(|session| Cond::all().add(Column::SessionId.eq(session))).into_iter().collect()
}

fn condition(filter: &AuditFilter) -> Cond {
    use audit_event::Column;

    let operation = |operation: &String| match operation.strip_suffix('.') {
        // The prefix as a range, which an index supports: "/" comes next after ".".
        Some(noun) => Column::Operation.gt(operation.as_str()).and(Column::Operation.lt(format!("{noun}/"))),
        None => Column::Operation.eq(operation.as_str()),
    };
    Cond::all()
        .add_option(filter.correlation_id.as_ref().map(|id| Column::CorrelationId.eq(id.as_str())))
        .add_option(filter.session.map(|session| Column::SessionId.eq(session)))
        .add_option(filter.operation.as_ref().map(operation))
        .add_option(filter.outcome.map(|outcome| Column::Outcome.eq(outcome_number(outcome))))
        .add_option(filter.caller.as_ref().map(|caller| Column::Caller.eq(caller.as_str())))
        .add_option(filter.start.map(|time| Column::Time.gte(time)))
        .add_option(filter.end.map(|time| Column::Time.lt(time)))
}

fn stored(event: audit_event::Model, chain: Option<audit_chain::Model>) -> StoredAuditEvent {
    StoredAuditEvent {
        position: AuditPosition { time: event.time, chain_number: event.chain_number, sequence: event.sequence },
        chain_id: chain.map(|chain| chain.chain_id).unwrap_or_default(),
        time: event.time,
        correlation_id: event.correlation_id,
        operation: event.operation,
        outcome: if event.outcome == outcome_number(Outcome::Ok) { Outcome::Ok } else { Outcome::Refused },
        reason: event.reason,
        caller: event.caller,
        subject: event.subject_user_id,
        target: event.target_user_id,
        session: event.session_id,
        app: event.app,
        remote_addr: event.remote_addr,
        detail: event.detail,
    }
}
