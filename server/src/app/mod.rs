//! What Lanyard decides: one file for each noun with its types, rules and verbs.

pub mod caller;

use std::net::IpAddr;
use std::sync::Arc;

use crate::correlation::CorrelationId;

use caller::Caller;

/// What is known of a call before its request is read.
#[derive(Clone, Debug)]
pub struct Context {
    pub correlation_id: CorrelationId,
    pub caller: Arc<Caller>,
    /// The address of the connection.
    pub peer: IpAddr,
}
