//! Limits of open connections, above all of unauthenticated ones: anybody can open those.
//!
//! At a limit the oldest unauthenticated connection is closed for the new one. So clients without a key cannot lock out
//! clients with one, which authenticate at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::telemetry::metrics::connection::{ConnectionLimit, ConnectionMetrics};

/// Files besides connections of clients and of the database: listening sockets, admin port, logs, key files, SQLite.
const OTHER_FILES: u64 = 96;
/// A younger connection is not closed for another one of its peer: a client that opens many at once has authenticated
/// by then.
const YOUNG: Duration = Duration::from_secs(1);
/// Lower bound, whatever the limit of open files.
const MIN_CONNECTIONS: usize = 16;

/// Admits connections; one per server.
pub struct Admission {
    max_connections: usize,
    limits: config::Unauthenticated,
    metrics: ConnectionMetrics,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    count: usize,
    next_id: u64,
    /// Oldest first.
    unauthenticated: BTreeMap<u64, Unauthenticated>,
    /// The same by peer, without trusted proxies.
    by_peer: HashMap<IpAddr, BTreeSet<u64>>,
}

struct Unauthenticated {
    /// `None`: a trusted proxy.
    peer: Option<IpAddr>,
    since: Instant,
    evicted: CancellationToken,
}

/// An open connection; dropping it makes room for another.
pub(super) struct Admitted {
    admission: Arc<Admission>,
    id: u64,
    /// Cancelled when the connection is closed for another one.
    pub(super) evicted: CancellationToken,
}

impl Admission {
    /// Keeps a file free for each of `database_connections`.
    pub fn new(server: &config::Server, database_connections: u32, metrics: ConnectionMetrics) -> Arc<Self> {
        let possible = max_open_connections(database_connections);
        let max_connections = match server.max_connections {
            0 => possible,
            wanted if wanted > possible => {
                tracing::warn!(wanted, possible, "the limit of open files allows fewer than server.max_connections");
                possible
            }
            wanted => wanted,
        };
        Arc::new(Self { max_connections, limits: server.unauthenticated.clone(), metrics, open: Mutex::default() })
    }

    pub(super) fn metrics(&self) -> &ConnectionMetrics {
        &self.metrics
    }

    /// `None` at `max_connections`, if all are authenticated.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr, now: Instant) -> Option<Admitted> {
        let peer = self.source(peer);
        let mut open = self.open.lock();
        let too_many_of_peer = peer.and_then(|peer| open.oldest_of(peer, self.limits.max_connections_per_peer, now));
        if too_many_of_peer.is_some() {
            self.evict(&mut open, too_many_of_peer, ConnectionLimit::UnauthenticatedPerPeer);
        } else if open.unauthenticated.len() >= self.limits.max_connections {
            let oldest = open.oldest();
            self.evict(&mut open, oldest, ConnectionLimit::Unauthenticated);
        }
        if open.count >= self.max_connections {
            let oldest = open.oldest();
            self.evict(&mut open, oldest, ConnectionLimit::Connections);
            oldest?;
        }
        let evicted = CancellationToken::new();
        let id = open.add(Unauthenticated { peer, since: now, evicted: evicted.clone() });
        self.report(&open);
        Some(Admitted { admission: self.clone(), id, evicted })
    }

    /// Closes a connection for a new one and counts it; without `id` counts the new one, as refused.
    fn evict(&self, open: &mut Open, id: Option<u64>, limit: ConnectionLimit) {
        self.metrics.limited(limit).inc();
        if let Some(evicted) = id.and_then(|id| open.remove_unauthenticated(id)) {
            evicted.cancel();
        }
    }

    /// One peer: an IPv4 address, or an IPv6 /64, which may belong to one host. `None`: a trusted proxy.
    fn source(&self, peer: IpAddr) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        if self.limits.trusted_proxies.iter().any(|proxies| proxies.contains(&peer)) {
            return None;
        }
        let bits = if peer.is_ipv4() { 32 } else { 64 };
        Some(IpNet::new(peer, bits).map_or(peer, |network| network.network()))
    }

    fn report(&self, open: &Open) {
        self.metrics.open.set(i64::try_from(open.count).unwrap_or(i64::MAX));
        self.metrics.unauthenticated.set(i64::try_from(open.unauthenticated.len()).unwrap_or(i64::MAX));
    }
}

impl Open {
    fn oldest(&self) -> Option<u64> {
        self.unauthenticated.keys().next().copied()
    }

    /// The oldest connection of a peer at its limit, unless it is young.
    fn oldest_of(&self, peer: IpAddr, limit: usize, now: Instant) -> Option<u64> {
        let of_peer = self.by_peer.get(&peer).filter(|of_peer| of_peer.len() >= limit)?;
        let oldest = of_peer.first()?;
        let age = now.saturating_duration_since(self.unauthenticated.get(oldest)?.since);
        (age >= YOUNG).then_some(*oldest)
    }

    fn add(&mut self, connection: Unauthenticated) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.count += 1;
        if let Some(peer) = connection.peer {
            self.by_peer.entry(peer).or_default().insert(id);
        }
        self.unauthenticated.insert(id, connection);
        id
    }

    fn remove_unauthenticated(&mut self, id: u64) -> Option<CancellationToken> {
        let Unauthenticated { peer, evicted, .. } = self.unauthenticated.remove(&id)?;
        if let Some(peer) = peer
            && let Some(ids) = self.by_peer.get_mut(&peer)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
        Some(evicted)
    }
}

impl Admitted {
    /// Lifts the limits of unauthenticated connections.
    pub(super) fn authenticated(&self) {
        let mut open = self.admission.open.lock();
        open.remove_unauthenticated(self.id);
        self.admission.report(&open);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock();
        open.remove_unauthenticated(self.id);
        open.count -= 1;
        self.admission.report(&open);
    }
}

/// Connections of clients that the limit of open files allows.
fn max_open_connections(database_connections: u32) -> usize {
    let Some(files) = getrlimit(Resource::Nofile).current else { return usize::MAX };
    let left = files.saturating_sub(OTHER_FILES + u64::from(database_connections));
    usize::try_from(left).unwrap_or(usize::MAX).max(MIN_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::telemetry::metrics::Metrics;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn admission(set: impl FnOnce(&mut config::Server)) -> Arc<Admission> {
        let mut server = Config::default().server;
        set(&mut server);
        Admission::new(&server, 12, ConnectionMetrics::register(&Metrics::new()))
    }

    fn admit(admission: &Arc<Admission>, peer: IpAddr) -> Admitted {
        admission.admit(peer, Instant::now()).expect("room")
    }

    fn admit_later(admission: &Arc<Admission>, peer: IpAddr) -> Admitted {
        admission.admit(peer, Instant::now() + YOUNG).expect("room")
    }

    #[test]
    fn closes_the_oldest_unauthenticated_connection_of_a_peer() {
        let admission = admission(|server| server.unauthenticated.max_connections_per_peer = 2);
        let (other, first, second) = (admit(&admission, OTHER), admit(&admission, ONE), admit(&admission, ONE));
        let young = admit(&admission, ONE);
        assert!(!first.evicted.is_cancelled(), "its calls may be on their way");
        drop(young);
        let third = admit_later(&admission, ONE);
        assert!(first.evicted.is_cancelled());
        assert!([&other, &second, &third].iter().all(|kept| !kept.evicted.is_cancelled()));
        assert_eq!(admission.metrics.limited(ConnectionLimit::UnauthenticatedPerPeer).get(), 1);
    }

    #[test]
    fn counts_addresses_of_one_ipv6_network_as_one_peer() {
        let admission = admission(|server| server.unauthenticated.max_connections_per_peer = 1);
        let first = admit(&admission, "2001:db8::1".parse().expect("an address"));
        let _second = admit_later(&admission, "2001:db8::2".parse().expect("an address"));
        assert!(first.evicted.is_cancelled());
        let elsewhere = admit(&admission, "2001:db8:0:1::1".parse().expect("an address"));
        assert!(!elsewhere.evicted.is_cancelled());
    }

    #[test]
    fn does_not_limit_a_trusted_proxy_as_a_peer() {
        let admission = admission(|server| {
            server.unauthenticated.max_connections_per_peer = 1;
            server.unauthenticated.trusted_proxies = vec!["192.0.2.1".parse::<IpAddr>().expect("an address").into()];
        });
        let (first, _second) = (admit(&admission, ONE), admit_later(&admission, ONE));
        assert!(!first.evicted.is_cancelled());
    }

    #[test]
    fn closes_the_oldest_of_all_unauthenticated_connections() {
        let admission = admission(|server| server.unauthenticated.max_connections = 2);
        let (known, first) = (admit(&admission, ONE), admit(&admission, ONE));
        known.authenticated();
        let (_second, _third) = (admit(&admission, OTHER), admit(&admission, OTHER));
        assert!(first.evicted.is_cancelled() && !known.evicted.is_cancelled());
        assert_eq!(admission.metrics.limited(ConnectionLimit::Unauthenticated).get(), 1);
    }

    #[test]
    fn never_closes_an_authenticated_connection_for_a_new_one() {
        let admission = admission(|server| server.max_connections = 2);
        let (known, stranger) = (admit(&admission, ONE), admit(&admission, ONE));
        known.authenticated();
        let next = admit(&admission, OTHER);
        assert!(stranger.evicted.is_cancelled());
        drop(stranger);
        next.authenticated();
        assert!(admission.admit(OTHER, Instant::now()).is_none());
        assert_eq!(admission.metrics.limited(ConnectionLimit::Connections).get(), 2);
        drop(known);
        assert!(admission.admit(OTHER, Instant::now()).is_some());
    }

    #[test]
    fn shows_how_many_are_open() {
        let admission = admission(|_| {});
        let (one, other) = (admit(&admission, ONE), admit(&admission, OTHER));
        one.authenticated();
        assert_eq!((admission.metrics.open.get(), admission.metrics.unauthenticated.get()), (2, 1));
        drop((one, other));
        assert_eq!((admission.metrics.open.get(), admission.metrics.unauthenticated.get()), (0, 0));
        assert!(admission.open.lock().by_peer.is_empty());
    }
}
