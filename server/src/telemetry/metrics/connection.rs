//! Connections of clients: how many are open, and which limits closed or refused one.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use strum::{IntoStaticStr, VariantArray};

use super::Metrics;

/// A limit that closes a connection or refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ConnectionLimit {
    /// `server.max_connections`
    Connections,
    /// `server.unauthenticated.max_connections`
    Unauthenticated,
    /// `server.unauthenticated.max_connections_per_peer`
    UnauthenticatedPerPeer,
    /// `server.unauthenticated.first_call_timeout`
    FirstCallTimeout,
    /// `server.unauthenticated.max_refused_calls`
    RefusedCalls,
    /// `server.unauthenticated.max_age`
    UnauthenticatedAge,
    /// `server.max_connection_grace`
    Grace,
}

/// Shared by clones.
#[derive(Clone)]
pub struct ConnectionMetrics {
    pub open: Gauge,
    pub unauthenticated: Gauge,
    limited: Vec<Counter>,
}

impl ConnectionMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        let limited: Family<[(&'static str, &'static str); 1], Counter> = Family::default();
        let counter = |limit: &ConnectionLimit| limited.get_or_create_owned(&[("limit", (*limit).into())]);
        let registered = Self {
            open: Gauge::default(),
            unauthenticated: Gauge::default(),
            limited: ConnectionLimit::VARIANTS.iter().map(counter).collect(),
        };
        metrics.register(|registry| {
            registry.register("connections", "Open connections of clients", registered.open.clone());
            let help = "Open connections on which no caller has authenticated yet";
            registry.register("connections_unauthenticated", help, registered.unauthenticated.clone());
            registry.register("connections_limited", "Connections that a limit closed or refused", limited);
        });
        registered
    }

    pub fn limited(&self, limit: ConnectionLimit) -> &Counter {
        &self.limited[limit as usize]
    }
}
