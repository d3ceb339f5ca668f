//! Verifies the audit trail and reports each place that differs from what was written.

use std::sync::Arc;

use sea_orm::sea_query::ExprTrait;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, DbBackend, EntityTrait, IsolationLevel, Order, QueryFilter, QueryOrder,
    QuerySelect, TransactionTrait,
};

use super::{Head, event_mac, first_mac, head_mac};
use crate::error::Result;
use crate::store::Store;
use crate::store::entity::{audit_chain, audit_event};

/// Events per query.
const VERIFY_BATCH: u64 = 2_000;

/// Chains, and events of each, that [`Store::verify_audit_tail`] checks.
const LAST_CHAINS: u64 = 8;
const LAST_EVENTS: u64 = 100;

/// A place where the trail differs from what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditProblem {
    ChainMissing { chain: i64 },
    ChainChanged { chain: i64 },
    KeyMissing { chain: i64, key_id: i32 },
    EventMissing { chain: i64, sequence: i64 },
    EventChanged { chain: i64, sequence: i64, operation: String },
    EventAdded { chain: i64, sequence: i64 },
}

impl std::fmt::Display for AuditProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ChainMissing { chain } => write!(f, "chain {chain}: removed"),
            Self::ChainChanged { chain } => write!(f, "chain {chain}: its head was changed or its end cut off"),
            Self::KeyMissing { chain, key_id } => {
                write!(f, "chain {chain}: cannot be checked, audit key {key_id} is not in the key file")
            }
            Self::EventMissing { chain, sequence } => write!(f, "chain {chain}, event {sequence}: removed"),
            Self::EventChanged { chain, sequence, operation } => {
                write!(f, "chain {chain}, event {sequence} ({operation}): changed or moved")
            }
            Self::EventAdded { chain, sequence } => write!(f, "chain {chain}, event {sequence}: added"),
        }
    }
}

impl Store {
    /// Verifies all chains and returns the number of events and the problems. `progress` receives the events done and
    /// the total. Concurrent writes cause no problems: each chain is read from one snapshot.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn verify_audit(&self, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<(u64, Vec<AuditProblem>)> {
        use audit_chain::Column;

        let chains: Vec<(i64, i64)> = audit_chain::Entity::find()
            .select_only()
            .columns([Column::Number, Column::Length])
            .order_by(Column::Number, Order::Asc)
            .into_tuple()
            .all(&self.conn)
            .await?;
        let total =
            chains.iter().fold(0u64, |sum, (_, length)| sum.saturating_add(u64::try_from(*length).unwrap_or(0)));
        let mut done = 0;
        let mut progress = |events| {
            done += events;
            progress(done, std::cmp::max(total, done));
        };
        let mut problems = Vec::new();
        let mut expected = Expected { number: 1, previous: Some(Vec::new()) };
        for (number, _) in &chains {
            let snapshot = self.snapshot().await?;
            let chain = audit_chain::Entity::find_by_id(*number).one(&snapshot.conn).await?;
            // If it was removed since, the next chain or its events show that.
            let Some(chain) = chain else { continue };
            snapshot.verify_chain(&chain, &mut expected, &mut problems, &mut progress).await?;
        }
        self.find_events_without_chain(&mut problems).await?;
        Ok((done, problems))
    }

    /// Verifies only the ends of the last chains, in constant time, and so detects truncation and changes there.
    /// Returns the number of events checked and the problems.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn verify_audit_tail(&self) -> Result<(u64, Vec<AuditProblem>)> {
        let snapshot = self.snapshot().await?;
        let chains = audit_chain::Entity::find().order_by(audit_chain::Column::Number, Order::Desc).limit(LAST_CHAINS);
        let chains = chains.all(&snapshot.conn).await?;
        let (mut events, mut problems) = (0, Vec::new());
        for chain in &chains {
            events += snapshot.verify_tail(chain, &mut problems).await?;
        }
        Ok((events, problems))
    }

    /// A snapshot of the database, until it is dropped.
    async fn snapshot(&self) -> Result<Store<DatabaseTransaction>> {
        // On SQLite every transaction reads from a snapshot.
        let isolation = (self.shared.backend == DbBackend::Postgres).then_some(IsolationLevel::RepeatableRead);
        let conn = self.conn.begin_with_config(isolation, None).await?;
        Ok(Store { conn, shared: Arc::clone(&self.shared) })
    }

    async fn find_events_without_chain(&self, problems: &mut Vec<AuditProblem>) -> Result<()> {
        use audit_event::Column;

        let mut after = i64::MIN;
        loop {
            let number = audit_event::Entity::find()
                .select_only()
                .column(Column::ChainNumber)
                .filter(Column::ChainNumber.gt(after))
                .order_by(Column::ChainNumber, Order::Asc)
                .into_tuple::<i64>()
                .one(&self.conn)
                .await?;
            let Some(number) = number else { return Ok(()) };
            let chain = audit_chain::Entity::find_by_id(number).one(&self.conn).await?;
            let missing = AuditProblem::ChainMissing { chain: number };
            if chain.is_none() && !problems.contains(&missing) {
                problems.push(missing);
            }
            after = number;
        }
    }
}

/// What the next chain must look like.
struct Expected {
    number: i64,
    /// First MAC of the previous chain; `None` after a missing chain, which was reported already.
    previous: Option<Vec<u8>>,
}

impl Store<DatabaseTransaction> {
    async fn verify_chain(
        &self,
        chain: &audit_chain::Model,
        expected: &mut Expected,
        problems: &mut Vec<AuditProblem>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<()> {
        let number = chain.number;
        let key_id = u16::try_from(chain.key_id).unwrap_or(0);
        if self.keyring().audit_mac(key_id, &[]).is_none() {
            problems.push(AuditProblem::KeyMissing { chain: number, key_id: chain.key_id });
            *expected = Expected { number: number.saturating_add(1), previous: Some(chain.first_mac.clone()) };
            return Ok(());
        }
        let head = Head { number, key_id, length: chain.length, last_mac: chain.last_mac.clone() };
        // If it is wrong, number and length cannot be trusted.
        let is_head_valid = head_mac(self.keyring(), &head)? == chain.head_mac;
        if is_head_valid {
            for missing in expected.number..number {
                problems.push(AuditProblem::ChainMissing { chain: missing });
                expected.previous = None;
            }
        }
        let created = chain.created_at;
        let is_chained = match expected.previous.take_if(|_| is_head_valid || number == expected.number) {
            None => true,
            Some(previous) => {
                let first = first_mac(self.keyring(), key_id, number, chain.chain_id, created, &previous)?;
                first == chain.first_mac
            }
        };
        if is_head_valid || number == expected.number {
            *expected = Expected { number: number + 1, previous: Some(chain.first_mac.clone()) };
        }
        let end = self.verify_events(chain, key_id, is_head_valid.then_some(chain.length), problems, progress).await?;
        let mut is_intact = is_chained && is_head_valid;
        if is_head_valid {
            for sequence in end.next_sequence..=chain.length {
                problems.push(AuditProblem::EventMissing { chain: number, sequence });
            }
            is_intact &= end.next_sequence <= chain.length || !end.intact || end.last_mac == chain.last_mac;
        }
        if !is_intact {
            problems.push(AuditProblem::ChainChanged { chain: number });
        }
        Ok(())
    }

    /// Verifies the head of a chain and its last events; returns the number of these events.
    async fn verify_tail(&self, chain: &audit_chain::Model, problems: &mut Vec<AuditProblem>) -> Result<u64> {
        use audit_event::Column;

        let number = chain.number;
        let key_id = u16::try_from(chain.key_id).unwrap_or(0);
        if self.keyring().audit_mac(key_id, &[]).is_none() {
            problems.push(AuditProblem::KeyMissing { chain: number, key_id: chain.key_id });
            return Ok(0);
        }
        let head = Head { number, key_id, length: chain.length, last_mac: chain.last_mac.clone() };
        if head_mac(self.keyring(), &head)? != chain.head_mac {
            problems.push(AuditProblem::ChainChanged { chain: number });
            return Ok(0);
        }
        // One more than is verified, for the MAC before the first.
        let mut events = audit_event::Entity::find()
            .filter(Column::ChainNumber.eq(number))
            .order_by(Column::Sequence, Order::Desc)
            .limit(LAST_EVENTS + 1)
            .all(&self.conn)
            .await?;
        events.reverse();
        if events.last().map_or(chain.length, |last| last.sequence - chain.length) != 0 {
            problems.push(AuditProblem::ChainChanged { chain: number });
        }
        let begins_here = events.first().is_some_and(|first| first.sequence == 1);
        let mut before = if begins_here || events.is_empty() { chain.first_mac.clone() } else { events.remove(0).mac };
        for event in &events {
            if event_mac(self.keyring(), key_id, &before, event)? != event.mac {
                let (sequence, operation) = (event.sequence, event.operation.clone());
                problems.push(AuditProblem::EventChanged { chain: number, sequence, operation });
            }
            before.clone_from(&event.mac);
        }
        if before != chain.last_mac {
            problems.push(AuditProblem::ChainChanged { chain: number });
        }
        problems.dedup();
        Ok(events.len() as u64)
    }

    /// `length`: the expected number of events, if known.
    async fn verify_events(
        &self,
        chain: &audit_chain::Model,
        key_id: u16,
        length: Option<i64>,
        problems: &mut Vec<AuditProblem>,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<ChainEnd> {
        use audit_event::Column;

        let number = chain.number;
        let mut end = ChainEnd { next_sequence: 1, last_mac: chain.first_mac.clone(), intact: true };
        let mut after = i64::MIN;
        loop {
            let batch = audit_event::Entity::find()
                .filter(Column::ChainNumber.eq(number).and(Column::Sequence.gt(after)))
                .order_by(Column::Sequence, Order::Asc)
                .limit(VERIFY_BATCH)
                .all(&self.conn)
                .await?;
            let Some(last) = batch.last() else { return Ok(end) };
            after = last.sequence;
            progress(batch.len() as u64);
            for event in batch {
                let sequence = event.sequence;
                if sequence < 1 || length.is_some_and(|length| sequence > length) {
                    problems.push(AuditProblem::EventAdded { chain: number, sequence });
                    continue;
                }
                let after_gap = sequence > end.next_sequence;
                if length.is_some() {
                    for sequence in end.next_sequence..sequence {
                        problems.push(AuditProblem::EventMissing { chain: number, sequence });
                    }
                }
                // After a gap the previous MAC is unknown, so this event cannot be checked.
                if !after_gap && event_mac(self.keyring(), key_id, &end.last_mac, &event)? != event.mac {
                    let operation = event.operation.clone();
                    problems.push(AuditProblem::EventChanged { chain: number, sequence, operation });
                    end.intact = false;
                }
                end.next_sequence = sequence.saturating_add(1);
                end.last_mac = event.mac;
            }
        }
    }
}

/// Where the events of a chain ended.
struct ChainEnd {
    next_sequence: i64,
    last_mac: Vec<u8>,
    intact: bool,
}
