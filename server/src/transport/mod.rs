//! Accepts connections, serves HTTP/2 over them, with TLS if it is configured, and shuts them down in order.
//!
//! tonic generates the services and frames their messages. Its transport is not used: tonic 0.14.9 returns CANCELLED
//! for an expired deadline, kills calls when a connection reaches its maximum age, and drains without a time limit.

pub mod admin;
mod admission;
mod listen;
mod spiffe;
mod tls;
mod worker;

#[cfg(test)]
mod tests;

pub use admission::Admission;
pub use listen::{Ended, Listener, ServeError, serve};
pub use tls::{CertificateFacts, examine_tls};
