//! Following the change feed: what another server changed is taken out of memory here.
//!
//! Numbers of changes are given out when rows are written, not when they are committed: a change may appear after ones with higher
//! numbers. A number that is not there yet is therefore asked for again until every transaction that could still bring it has
//! ended: transactions have numbers too, and one that began after the gap was seen has a higher one. So no change is missed, however
//! long its transaction takes, and none is waited for. It rests on a transaction having its number before it writes to the feed,
//! which it has from its first other write on; one that writes nothing else has nothing to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sea_orm::sea_query::Query;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, Database, DatabaseConnection, DbBackend, EntityTrait, FromQueryResult,
    QueryFilter, QuerySelect, Statement, Value,
};

use super::Store;
use super::cache::Invalidation;
use super::change::ChangeKind;
use super::entity::{session, session_token};
use crate::clock::{Time, monotonic};
use crate::crypto::TokenHash;
use crate::error::{Error, Result};
use crate::model::id::{Id, SessionId, UserId};

/// Changes of one look.
const AT_ONCE: usize = 10_000;
/// Numbers that are asked for again, at most: with more it is cheaper to forget everything.
const MAX_GAPS: i64 = 10_000;
/// Changes are purged after a day, sessions that ended after an hour at the earliest: who has not looked for longer than this, in
/// seconds, may have missed some.
const LONGEST_ABSENCE: i64 = 3_600;
/// A look that takes longer has failed.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// Sessions or users of one question for their tokens.
const ASKED_AT_ONCE: usize = 500;

/// SQLite commits one transaction after the other: no number is ever late.
const SQLITE_MOMENT: &str = "9223372036854775807 AS oldest, 0 AS next, 0 AS started, unixepoch() AS time";
/// The oldest transaction that has not ended, the one after the newest that has, and when the server started: after a failover
/// nothing that is known need be true.
const POSTGRES_MOMENT: &str = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest, \
     pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next, \
     (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS started, \
     extract(epoch FROM now())::bigint AS time";
const POSTGRES_GAPS: &str = "UNION ALL SELECT sequence, kind, user_id, session_id FROM change \
     WHERE sequence = ANY(string_to_array($2, ',')::bigint[])";

/// One row of an answer: what is so at its moment and, if there is one, a change.
#[derive(FromQueryResult)]
struct Row {
    oldest: i64,
    next: i64,
    started: i64,
    time: i64,
    newest: Option<i64>,
    sequence: Option<i64>,
    kind: Option<ChangeKind>,
    user_id: Option<UserId>,
    session_id: Option<SessionId>,
}

/// A change of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    sequence: i64,
    kind: ChangeKind,
    user: Option<UserId>,
    session: Option<SessionId>,
}

/// What is so at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    /// Every transaction before this one has ended.
    oldest: i64,
    /// None from this one on has ended.
    next: i64,
    /// When the database's server started, and what time it is there, in seconds.
    started: i64,
    time: i64,
    /// The highest number of a change.
    newest: i64,
}

/// What is known of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Position {
    last: Moment,
    /// All changes up to this number were seen, but the gaps.
    seen: i64,
    /// Numbers that were not there when higher ones were, with the transaction before which all must have ended until they
    /// never will be.
    gaps: BTreeMap<i64, i64>,
    /// The same for all that was not there when following began.
    sure_from: i64,
}

/// The transaction is to be asked for.
const UNKNOWN: i64 = i64::MAX;

impl Position {
    fn begin(moment: Moment) -> Self {
        Self { last: moment, seen: moment.newest, gaps: BTreeMap::new(), sure_from: UNKNOWN }
    }

    /// Is all known that was committed before the last look?
    fn is_sure(&self) -> bool {
        self.last.oldest >= self.sure_from
    }

    /// After the changes of a look, in the order of their numbers; none: it is lost, and to be begun anew.
    fn after(&self, moment: Moment, changes: &[Change]) -> Option<Self> {
        let is_another = moment.started != self.last.started || moment.next < self.last.next;
        if is_another
            || moment.time - self.last.time > LONGEST_ABSENCE
            || self.gaps.len() as u64 > MAX_GAPS.unsigned_abs()
        {
            return None;
        }
        let mut next = Self { last: moment, ..self.clone() };
        for change in changes {
            next.gaps.remove(&change.sequence);
            let skipped = next.seen + 1..change.sequence;
            if skipped.end.saturating_sub(skipped.start) > MAX_GAPS {
                return None;
            }
            next.gaps.extend(skipped.map(|sequence| (sequence, UNKNOWN)));
            next.seen = next.seen.max(change.sequence);
        }
        next.gaps.retain(|_, after| moment.oldest < *after);
        Some(next)
    }

    /// Is it to be told which transactions could still bring what is not there?
    fn is_to_be_told(&self) -> bool {
        self.last.oldest != UNKNOWN && (self.sure_from == UNKNOWN || self.gaps.values().any(|after| *after == UNKNOWN))
    }

    /// This transaction and those after it began after the last look.
    fn tell(&mut self, transaction: i64) {
        let unknown = self.gaps.values_mut().chain([&mut self.sure_from]).filter(|after| **after == UNKNOWN);
        unknown.for_each(|after| *after = transaction);
    }
}

/// What came of a look at the feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// There may be more at once.
    pub is_partial: bool,
    /// All that was committed before the look is known: memory may be used again, for a while.
    pub is_sure: bool,
    /// Callers changed, or may have.
    pub callers_changed: bool,
}

/// Follows the change feed for a store's memory, which is trusted only while it does.
pub struct Follower {
    store: Store,
    /// A connection of its own, which never waits for the calls'; none: the pool's.
    pub(super) own: Option<DatabaseConnection>,
    limit: Duration,
    position: Option<Position>,
}

impl Store {
    /// From here on what is in memory is trusted only while a follower tells what others changed: a change that was committed
    /// longer ago than `limit` is never overlooked.
    pub fn follower(&self, limit: Duration) -> Follower {
        self.shared.cache.trust.withdraw();
        Follower { store: self.clone(), own: None, limit, position: None }
    }

    /// How long ago all was known that others had changed by then; none if nobody follows or nothing was heard yet.
    pub fn revocation_lag(&self) -> Option<Duration> {
        self.shared.cache.trust.age()
    }
}

impl Follower {
    /// Looks once: what changed since the last look is taken out of memory.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn look(&mut self) -> Result<Look> {
        if let Ok(outcome) = tokio::time::timeout(self.limit.min(LOOK_LIMIT), self.look_now()).await {
            return outcome;
        }
        // Whatever became of its connection, the next look takes another.
        self.own = None;
        Err(Error::store_unavailable("the change feed was not read in time"))
    }

    async fn look_now(&mut self) -> Result<Look> {
        let begun_at = monotonic();
        let conn = self.conn().await?;
        let (moment, changes) = self.read(&conn).await?;
        let before = self.position.as_ref();
        let Some(mut next) =
            before.map_or_else(|| Some(Position::begin(moment)), |before| before.after(moment, &changes))
        else {
            return Ok(self.begin_anew());
        };
        if next.is_to_be_told() {
            next.tell(begin_transaction(&conn).await?);
        }
        let caches = &self.store.shared.cache;
        caches.invalidate(&self.what_changed(&conn, &changes).await?);
        if next.is_sure() && !before.is_some_and(Position::is_sure) {
            // What was read before all were known that could change it.
            caches.clear();
        }
        let is_partial = changes.len() >= AT_ONCE;
        let is_sure = next.is_sure() && !is_partial;
        if is_sure {
            caches.trust.extend(begun_at, self.limit);
        }
        self.store.shared.metrics.feed_is_at(next.seen);
        let callers_changed =
            self.position.is_none() || changes.iter().any(|change| change.kind == ChangeKind::CallersChanged);
        self.position = Some(next);
        Ok(Look { is_partial, is_sure, callers_changed })
    }

    /// What is known is not to be relied on: after a failover, or when too much is missing.
    fn begin_anew(&mut self) -> Look {
        tracing::warn!("the change feed is followed anew: what was in memory is forgotten");
        let caches = &self.store.shared.cache;
        caches.trust.withdraw();
        caches.clear();
        self.position = None;
        Look { is_partial: true, is_sure: false, callers_changed: true }
    }

    async fn conn(&mut self) -> Result<DatabaseConnection> {
        if !self.store.is_postgres() {
            return Ok(self.store.conn.clone());
        }
        if let Some(conn) = &self.own {
            return Ok(conn.clone());
        }
        let mut options = self.store.shared.config.connect_options();
        options.max_connections(1);
        let conn = Database::connect(options).await?;
        self.own = Some(conn.clone());
        Ok(conn)
    }

    async fn read(&self, conn: &DatabaseConnection) -> Result<(Moment, Vec<Change>)> {
        let (moment, gaps) = match conn.get_database_backend() {
            DbBackend::Sqlite => (SQLITE_MOMENT, ""),
            _ => (POSTGRES_MOMENT, POSTGRES_GAPS),
        };
        let sql = format!(
            "SELECT {moment}, (SELECT max(sequence) FROM change) AS newest, \
             news.* FROM (SELECT 1) AS one LEFT JOIN (\
             SELECT * FROM (SELECT sequence, kind, user_id, session_id FROM change WHERE sequence > $1 \
             ORDER BY sequence LIMIT {AT_ONCE}) AS later {gaps}) AS news ON TRUE ORDER BY news.sequence"
        );
        let mut values = vec![Value::from(self.position.as_ref().map_or(i64::MAX, |position| position.seen))];
        if !gaps.is_empty() {
            let gaps = self.position.iter().flat_map(|position| position.gaps.keys());
            values.push(gaps.map(i64::to_string).collect::<Vec<_>>().join(",").into());
        }
        let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
        let rows = Row::find_by_statement(statement).all(conn).await?;
        let first = rows.first().ok_or_else(|| Error::internal("a look at the feed saw nothing"))?;
        let moment = Moment {
            oldest: first.oldest,
            next: first.next,
            started: first.started,
            time: first.time,
            newest: first.newest.unwrap_or(0),
        };
        let change = |row: Row| {
            let (sequence, kind) = row.sequence.zip(row.kind)?;
            Some(Change { sequence, kind, user: row.user_id, session: row.session_id })
        };
        Ok((moment, rows.into_iter().filter_map(change).collect()))
    }

    /// What in memory may show what changed.
    async fn what_changed(&self, conn: &DatabaseConnection, changes: &[Change]) -> Result<Invalidation> {
        let caches = &self.store.shared.cache;
        if !caches.are_on() {
            return Ok(Invalidation::default());
        }
        let told = Told::of(changes);
        let mut stale = Invalidation::default();
        stale.links.add(told.links.iter().copied());
        if told.all_links {
            stale.links.add_everything();
        }
        if told.all_sessions || told.sessions.len() + told.users.len() > AT_ONCE {
            stale.sessions.add_everything();
            return Ok(stale);
        }
        let now = self.store.clock().now();
        for sessions in pieces(&told.sessions) {
            stale.sessions.add(tokens(conn, session_token::Column::SessionId.is_in(sessions).into()).await?);
        }
        for users in pieces(&told.users) {
            stale.sessions.add(tokens(conn, sessions_of(users, now)).await?);
        }
        Ok(stale)
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("limit", &self.limit).field("position", &self.position).finish_non_exhaustive()
    }
}

/// The number of a transaction that begins now.
async fn begin_transaction(conn: &DatabaseConnection) -> Result<i64> {
    let begin = Statement::from_string(DbBackend::Postgres, "SELECT pg_current_xact_id()::text::bigint AS number");
    let row = conn.query_one_raw(begin).await?;
    let row = row.ok_or_else(|| Error::internal("a transaction without a number"))?;
    row.try_get("", "number").map_err(Error::from)
}

fn pieces<K>(ids: &BTreeSet<Id<K>>) -> Vec<Vec<Id<K>>> {
    let ids: Vec<Id<K>> = ids.iter().copied().collect();
    ids.chunks(ASKED_AT_ONCE).map(<[Id<K>]>::to_vec).collect()
}

/// The tokens of users' sessions that could be good: one that is past its absolute limit is not, whatever memory says.
fn sessions_of(users: Vec<UserId>, now: Time) -> Condition {
    let sessions = Query::select()
        .column(session::Column::SessionId)
        .from(session::Entity)
        .and_where(session::Column::UserId.is_in(users))
        .and_where(session::Column::AbsoluteExpiresAt.gt(now))
        .to_owned();
    session_token::Column::SessionId.in_subquery(sessions).into()
}

async fn tokens(conn: &DatabaseConnection, of: Condition) -> Result<Vec<TokenHash>> {
    let hashes =
        session_token::Entity::find().select_only().column(session_token::Column::TokenHash).filter(of).into_tuple();
    hashes.all(conn).await.map_err(Error::from)
}

/// Whom changes name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    sessions: BTreeSet<SessionId>,
    users: BTreeSet<UserId>,
    links: BTreeSet<UserId>,
    all_sessions: bool,
    all_links: bool,
}

impl Told {
    fn of(changes: &[Change]) -> Self {
        let mut told = Self::default();
        for change in changes {
            told.add(change);
        }
        told
    }

    fn add(&mut self, change: &Change) {
        match change.kind {
            ChangeKind::SessionCreated | ChangeKind::AttributesChanged | ChangeKind::CallersChanged => {}
            ChangeKind::SessionRenewed | ChangeKind::SessionRevoked => match change.session {
                Some(session) => drop(self.sessions.insert(session)),
                None => self.all_sessions = true,
            },
            ChangeKind::SessionsRevoked | ChangeKind::UserChanged => self.add_user(change.user),
            ChangeKind::UserDeleted => {
                self.add_user(change.user);
                self.add_links(change.user);
            }
            ChangeKind::LinksChanged => self.add_links(change.user),
            // One that is linked to nobody shows nowhere.
            ChangeKind::DefinitionChanged | ChangeKind::DefinitionDeleted => self.links.extend(change.user),
            // Of a server that is newer than this one.
            ChangeKind::Unknown => (self.all_sessions, self.all_links) = (true, true),
        }
    }

    fn add_user(&mut self, user: Option<UserId>) {
        match user {
            Some(user) => drop(self.users.insert(user)),
            None => self.all_sessions = true,
        }
    }

    fn add_links(&mut self, user: Option<UserId>) {
        match user {
            Some(user) => drop(self.links.insert(user)),
            None => self.all_links = true,
        }
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
