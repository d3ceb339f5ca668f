//! The gRPC services, one file each: they translate requests into calls of `app`, and its results into responses.

mod attribute;
mod audit;
pub(crate) mod convert;
mod definition;
mod handler;
pub(crate) mod link;
pub(crate) mod session;
mod user;

pub use handler::Handler;
