//! Sockets to requests: connections are accepted, served over HTTP/2, with TLS if it is configured, and ended in order.
//!
//! tonic generates the services and frames their messages; its transport is not used, because tonic 0.14.9 answers a passed
//! deadline with CANCELLED, kills calls when a connection reaches its age, and has no end to draining.

pub mod admin;
mod listen;
mod spiffe;
mod tls;

#[cfg(test)]
mod tests;

pub use listen::{Ended, Listener, ServeError, serve};
pub use tls::{CertificateFacts, examine_tls};
