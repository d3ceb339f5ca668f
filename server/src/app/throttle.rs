//! Throttling of failed logins. After some free failures each further one doubles the delay, up to a limit, per
//! username and, more generously, per network. Nobody is locked out forever, unknown names behave like known ones, and
//! other people's failures do not delay a user on the network of their last login.
//!
//! Each server keeps its own state in memory, by a keyed hash of the name.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;

use crate::clock::Time;
use crate::config;
use crate::error::{Error, Result};
use crate::model::network::prefix_of;

/// Maximum entries of each table; a full table drops its older half.
const CAPACITY: usize = 100_000;
/// Failures are forgotten after this many times `max_delay` without a new one.
const RESET_AFTER: u32 = 4;

/// A keyed hash of a name.
pub(in crate::app) type NameKey = [u8; 32];

/// The name and the network of an attempt.
#[derive(Clone, Copy, Debug)]
pub(in crate::app) struct Attempt {
    pub name: NameKey,
    pub address: IpAddr,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Time,
}

#[derive(Default)]
struct Tables {
    names: HashMap<NameKey, Failures>,
    networks: HashMap<IpNet, Failures>,
    /// The network of the last login of each name.
    last_networks: HashMap<NameKey, (IpNet, Time)>,
}

pub(in crate::app) struct Throttle {
    config: config::Throttle,
    tables: Mutex<Tables>,
}

impl Throttle {
    pub(in crate::app) fn new(config: config::Throttle) -> Self {
        Self { config, tables: Mutex::default() }
    }

    /// Refuses an attempt that comes too early.
    pub(in crate::app) fn check(&self, attempt: Attempt, now: Time) -> Result<()> {
        let network = prefix_of(attempt.address);
        let tables = self.tables.lock();
        let is_known = tables.last_networks.get(&attempt.name).is_some_and(|(known, _)| *known == network);
        let by_name = tables.names.get(&attempt.name).filter(|_| !is_known);
        let by_name = by_name.map(|failures| self.remaining_delay(*failures, self.config.free_failures, now));
        let by_network = tables
            .networks
            .get(&network)
            .map(|failures| self.remaining_delay(*failures, self.config.address_free_failures, now));
        match by_name.into_iter().chain(by_network).max() {
            Some(retry_after) if !retry_after.is_zero() => Err(Error::LoginThrottled { retry_after }),
            _ => Ok(()),
        }
    }

    pub(in crate::app) fn record_failure(&self, attempt: Attempt, now: Time) {
        let reset_after = self.config.max_delay * RESET_AFTER;
        let mut tables = self.tables.lock();
        count_failure(&mut tables.names, attempt.name, now, reset_after);
        count_failure(&mut tables.networks, prefix_of(attempt.address), now, reset_after);
    }

    /// Clears the failures of the name but not of the network: one good login must not buy free guesses at other names.
    pub(in crate::app) fn record_success(&self, attempt: Attempt, now: Time) {
        let mut tables = self.tables.lock();
        tables.names.remove(&attempt.name);
        evict_older_half(&mut tables.last_networks, |(_, last)| *last);
        tables.last_networks.insert(attempt.name, (prefix_of(attempt.address), now));
    }

    /// The remaining delay.
    fn remaining_delay(&self, failures: Failures, free: u32, now: Time) -> Duration {
        let Some(beyond) = failures.count.checked_sub(free) else { return Duration::ZERO };
        let delay = self.config.base_delay.saturating_mul(2u32.saturating_pow(beyond)).min(self.config.max_delay);
        (failures.last + delay).since(now)
    }
}

fn count_failure<K: Copy + Eq + std::hash::Hash>(
    table: &mut HashMap<K, Failures>,
    key: K,
    now: Time,
    reset_after: Duration,
) {
    evict_older_half(table, |failures| failures.last);
    let failures = table.entry(key).or_insert(Failures { count: 0, last: now });
    if now.since(failures.last) > reset_after {
        failures.count = 0;
    }
    *failures = Failures { count: failures.count.saturating_add(1), last: now };
}

/// Drops the older half of a full table.
fn evict_older_half<K: Copy + Eq + std::hash::Hash, V>(table: &mut HashMap<K, V>, last: impl Fn(&V) -> Time) {
    if table.len() < CAPACITY {
        return;
    }
    let mut times: Vec<Time> = table.values().map(&last).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    table.retain(|_, value| last(value) > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

    fn throttle() -> Throttle {
        Throttle::new(config::Config::default().throttle)
    }

    fn wait_of(throttle: &Throttle, attempt: Attempt, now: Time) -> Duration {
        match throttle.check(attempt, now) {
            Ok(()) => Duration::ZERO,
            Err(Error::LoginThrottled { retry_after }) => retry_after,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_wait_doubles_after_the_free_failures_and_is_never_for_ever() {
        let throttle = throttle();
        let alice = Attempt { name: [1; 32], address: HERE };
        let mut now = Time::from_micros(1_000_000_000);
        let mut waits = Vec::new();
        for _ in 0..30 {
            throttle.record_failure(alice, now);
            let wait = wait_of(&throttle, alice, now);
            waits.push(wait.as_secs());
            now = now + wait;
            assert!(throttle.check(alice, now).is_ok(), "after the wait it may be tried again");
        }
        assert_eq!(waits[..8], [0, 0, 0, 0, 1, 2, 4, 8]);
        assert_eq!(waits[29], 15 * 60, "the longest wait");
    }

    #[test]
    fn a_name_is_free_again_after_a_good_login_and_after_a_long_time() {
        let throttle = throttle();
        let alice = Attempt { name: [1; 32], address: HERE };
        let now = Time::from_micros(1_000_000_000);
        (0..6).for_each(|_| throttle.record_failure(alice, now));
        assert!(throttle.check(alice, now).is_err());
        throttle.record_success(alice, now);
        assert!(throttle.check(alice, now).is_ok());
        (0..6).for_each(|_| throttle.record_failure(alice, now));
        let later = now + Duration::from_hours(2);
        throttle.record_failure(alice, later);
        assert!(throttle.check(alice, later).is_ok(), "old failures are forgotten");
    }

    #[test]
    fn guessing_one_password_for_many_names_is_throttled_by_the_network() {
        let throttle = throttle();
        let now = Time::from_micros(1_000_000_000);
        for name in 0..60 {
            throttle.record_failure(Attempt { name: [name; 32], address: HERE }, now);
        }
        assert!(throttle.check(Attempt { name: [200; 32], address: HERE }, now).is_err());
        assert!(
            throttle.check(Attempt { name: [200; 32], address: THERE }, now).is_ok(),
            "other networks are not hurt"
        );
    }

    #[test]
    fn others_failures_do_not_keep_out_who_comes_from_where_they_logged_in_before() {
        let throttle = throttle();
        let now = Time::from_micros(1_000_000_000);
        throttle.record_success(Attempt { name: [1; 32], address: HERE }, now);
        (0..20).for_each(|_| throttle.record_failure(Attempt { name: [1; 32], address: THERE }, now));
        assert!(throttle.check(Attempt { name: [1; 32], address: THERE }, now).is_err());
        assert!(throttle.check(Attempt { name: [1; 32], address: HERE }, now).is_ok());
    }

    #[test]
    fn the_tables_are_bounded() {
        let mut table = HashMap::new();
        for number in 0..CAPACITY + 10 {
            count_failure(&mut table, number, Time::from_micros(number.try_into().unwrap()), Duration::MAX);
        }
        assert!(table.len() <= CAPACITY && table.contains_key(&(CAPACITY + 9)));
    }
}
