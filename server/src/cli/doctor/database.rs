//! Checks of the database: reachable, ours, and compatible with keys, clock and this version.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Time};
use crate::config::Config;
use crate::crypto::{KeyPurpose, Keyring};
use crate::error::Error;
use crate::serve::open_store;
use crate::store::{Store, StoreConfig};

use super::Report;
use crate::cli::exit::with_sources;
use crate::cli::keys;

pub(super) const CHECKS: [&str; 6] = [DATABASE, SCHEMA, PRIVILEGES, CLOCK, KEYS, AUDIT];
const DATABASE: &str = "database";
const SCHEMA: &str = "schema";
const PRIVILEGES: &str = "privileges";
const CLOCK: &str = "clock";
const KEYS: &str = "keys in use";
const AUDIT: &str = "audit trail";

/// Maximum difference between the clocks of server and database.
const SKEW: Duration = Duration::from_secs(2);
/// Minimum statement timeout: reading millions of encrypted values takes a while.
const PATIENCE: Duration = Duration::from_mins(1);
/// The oldest supported version of PostgreSQL.
const OLDEST_POSTGRES: u32 = 15;

const LOOK_AT_DATABASE: &str =
    "see whether it runs and `database.url` is right: deploy/README.md, \"The database is down\"";
const RESTORE_KEYS: &str = "bring the key file back that has it: without it this cannot be read or checked";

pub(super) async fn check(config: &Config, keyring: Option<Arc<Keyring>>, clock: &Clock, report: &mut Report) {
    let sqlite_file = StoreConfig::of(config).sqlite_path();
    // Connecting would create it.
    if let Some(file) = sqlite_file.filter(|file| !file.exists()) {
        let advice = "`lanyard migrate` makes it for a new installation; else restore it: deploy/README.md";
        report.problem(DATABASE, format!("{} is not there", file.display()), advice);
        return report.not_checked(&CHECKS[1..], "there is no database");
    }
    // Connecting needs no keys.
    let has_keys = keyring.is_some();
    let keyring = keyring.unwrap_or_else(|| Arc::new(Keyring::generate(clock.now())));
    let mut config = config.clone();
    config.database.statement_timeout = config.database.statement_timeout.max(PATIENCE);
    let store = match open_store(&config, keyring, clock.clone()).await {
        Ok(store) => store,
        Err(error) => {
            report.problem(DATABASE, error.to_string(), LOOK_AT_DATABASE);
            return report.not_checked(&CHECKS[1..], "the database has to be reached first");
        }
    };
    let outcome = examine(&store, has_keys, report).await;
    if let Err(error) = outcome {
        report.problem(DATABASE, with_sources(&error), LOOK_AT_DATABASE);
        let done: Vec<_> = report.findings.iter().map(|finding| finding.check).collect();
        let left: Vec<_> = CHECKS.into_iter().filter(|check| !done.contains(check)).collect();
        report.not_checked(&left, "the database does not answer as it should");
    }
    // Nothing was written.
    let _ = store.close().await;
}

async fn examine(store: &Store, has_keys: bool, report: &mut Report) -> Result<(), Error> {
    version(&store.database_version().await?, report);
    clock(store, report).await?;
    let schema = store.schema_state().await?;
    if !schema.pending.is_empty() {
        report.problem(SCHEMA, format!("lacks {}", schema.pending.join(", ")), "run `lanyard migrate`");
        report.not_checked(&[PRIVILEGES, KEYS, AUDIT], "the schema has to be brought up to date first");
        return Ok(());
    }
    if schema.unknown.is_empty() {
        report.ok(SCHEMA, "is that of this version");
    } else {
        let found = format!("is that of a later version: {}", schema.unknown.join(", "));
        report.warning(SCHEMA, found, "finish the upgrade: this program is the older one");
    }
    if !privileges(store, report).await? {
        report.not_checked(&[KEYS, AUDIT], "the account has to be allowed to first");
        return Ok(());
    }
    if !has_keys {
        report.not_checked(&[KEYS, AUDIT], "the key file has to be right first");
        return Ok(());
    }
    keys_in_use(store, report).await?;
    audit(store, report).await
}

fn version(version: &str, report: &mut Report) {
    let major = version.strip_prefix("PostgreSQL ").and_then(|number| number.split(['.', ' ']).next()?.parse().ok());
    if major.is_some_and(|major: u32| major < OLDEST_POSTGRES) {
        let advice = format!("upgrade it: PostgreSQL {OLDEST_POSTGRES} is the oldest that is tested");
        return report.problem(DATABASE, format!("{version} answers"), advice);
    }
    report.ok(DATABASE, format!("{version} answers"));
}

async fn clock(store: &Store, report: &mut Report) -> Result<(), Error> {
    let before = store.clock().now();
    let Some(theirs) = store.database_time().await? else {
        report.ok(CLOCK, "the database is on this machine");
        return Ok(());
    };
    let after = store.clock().now();
    skew(before, theirs, after, report);
    Ok(())
}

/// The database read its clock between `before` and `after`.
fn skew(before: Time, theirs: Time, after: Time, report: &mut Report) {
    let (ahead, behind) = (before.since(theirs), theirs.since(after));
    let off = ahead.max(behind);
    if off < SKEW {
        return report.ok(CLOCK, "agrees with the database's");
    }
    let direction = if ahead > behind { "ahead of" } else { "behind" };
    report.problem(
        CLOCK,
        format!("this machine is {:.1} s {direction} the database's", off.as_secs_f64()),
        "let both follow the same NTP servers: sessions end by the clocks of the servers",
    );
}

/// Returns whether the account has all privileges.
async fn privileges(store: &Store, report: &mut Report) -> Result<bool, Error> {
    let missing = store.missing_privileges().await?;
    if missing.is_empty() {
        report.ok(PRIVILEGES, "the account may do what a server does");
    } else {
        let advice = "grant them to the account of the server, or let it own the tables";
        report.problem(PRIVILEGES, format!("the account lacks {}", missing.join(", ")), advice);
    }
    Ok(missing.is_empty())
}

async fn keys_in_use(store: &Store, report: &mut Report) -> Result<(), Error> {
    let used = store.keys_in_use().await?;
    let lacks = |purpose, key_id| store.keyring().list(purpose).all(|(id, _)| id != key_id);
    let mut is_whole = true;
    for key_id in used.token.into_iter().filter(|key_id| lacks(KeyPurpose::Token, *key_id)) {
        let live = store.live_hashes(key_id).await?;
        if live.is_empty() {
            continue;
        }
        is_whole = false;
        let found = format!(
            "token key {key_id} is not in the key file (live sessions: {}, caller keys: {})",
            live.sessions, live.caller_keys
        );
        report.problem(KEYS, found, "bring the key file back that has it, or let them log in again");
    }
    for (purpose, numbers) in [(KeyPurpose::Seal, used.seal), (KeyPurpose::Audit, used.audit)] {
        for key_id in numbers.into_iter().filter(|key_id| lacks(purpose, *key_id)) {
            is_whole = false;
            let found = format!("{} key {key_id} is not in the key file", keys::name(purpose));
            report.problem(KEYS, found, RESTORE_KEYS);
        }
    }
    if is_whole {
        report.ok(KEYS, "the key file has all that the database needs");
    }
    Ok(())
}

async fn audit(store: &Store, report: &mut Report) -> Result<(), Error> {
    let (events, problems) = store.verify_audit_tail().await?;
    if problems.is_empty() {
        report.ok(AUDIT, format!("its last {events} events are as they were written"));
    }
    for problem in problems {
        let advice =
            "`lanyard audit verify` tells all of it; somebody wrote to the database, or part of it was restored";
        report.problem(AUDIT, problem.to_string(), advice);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_postgres_that_nobody_tests_any_more_is_a_problem() {
        for (text, status) in [
            ("PostgreSQL 15.4 (Debian 15.4-1)", Status::Ok),
            ("PostgreSQL 14.9", Status::Problem),
            ("PostgreSQL 18beta1", Status::Ok),
            ("SQLite 3.45.0", Status::Ok),
        ] {
            let mut report = Report::default();
            version(text, &mut report);
            assert_eq!(report.findings[0].status, status, "{text}");
        }
    }

    #[test]
    fn clocks_may_differ_by_less_than_two_seconds_whatever_the_question_took() {
        let at = |seconds: u64| Time::default() + Duration::from_secs(seconds);
        for (theirs, status, word) in [
            (100, Status::Ok, "agrees"),
            (111, Status::Ok, "agrees"),
            (112, Status::Problem, "2.0 s behind"),
            (97, Status::Problem, "3.0 s ahead of"),
        ] {
            let mut report = Report::default();
            skew(at(100), at(theirs), at(110), &mut report);
            let finding = report.findings.remove(0);
            assert!(finding.status == status && finding.found.contains(word), "{finding:?}");
        }
    }
}
