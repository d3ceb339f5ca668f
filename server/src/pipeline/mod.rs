//! What speaks gRPC: everything between a socket and `app`.
//!
//! One hand-written future, [`call`], carries each call through these steps, outermost first:
//!
//! 1. **correlation ID**: whatever happens after has one to be found by.
//! 2. **panic catch**: a bug costs one call, answered INTERNAL, and is counted like every other answer.
//! 3. **observe**: outside all refusals, so that they are counted and timed too.
//! 4. **limit of all calls under way**: before any work is done for one too many.
//! 5. **deadline**: it holds for everything below, proof of the caller included.
//! 6. **caller**: who calls, may they call this method (deny by default), do they have too many calls under way.
//! 7. **memory**: what it knows of the hot methods ([`hot`]) is answered at once.
//! 8. **dispatch** to the generated services by the table of methods, without a router.
//!
//! A handler finds what the layers learnt as [`crate::app::Context`] in the extensions of its request, and answers an
//! [`crate::error::Error`] with `?`. If it hands its work to another runtime, it must end that work when its own future is
//! dropped: that is how a deadline and a client that went away are told.
//!
//! Health and reflection branch off before 4: a probe must be answered when the server is full, and knows no key.
//!
//! tonic generates the services and frames their messages; its transport is not used. [`listen`] serves connections with
//! hyper, as tonic does, because tonic 0.14.9 answers a passed deadline with CANCELLED, kills calls when a connection
//! reaches its age, and knows no end of draining.

pub(crate) mod authenticate;
mod call;
mod deadline;
mod dispatch;
mod encode;
mod fast_path;
mod limits;
mod method;
mod observe;
pub(crate) mod peer;
mod public_services;
mod request_body;
mod request_headers;
mod response_body;
pub(crate) mod server;
mod status;
mod trace;

use std::convert::Infallible;

pub use authenticate::Authenticate;
#[cfg(test)]
pub(crate) use dispatch::call;
pub use dispatch::routes;
pub use fast_path::{FromMemory, from_memory};
pub use method::{Hot, METHODS, Method, Service};
pub use observe::RpcMetrics;
pub use public_services::Health;
pub use server::{Dispatch, Front, Parts};
pub use trace::Traces;

/// A request as it comes from the connection.
pub type Request = http::Request<request_body::Inbound>;

/// The future of a generated service.
pub type Answering = tonic::codegen::BoxFuture<http::Response<tonic::body::Body>, Infallible>;
