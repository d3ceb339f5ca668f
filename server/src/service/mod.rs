//! One file per service of the contract: messages are parsed into calls of `app`, and what it answers becomes messages.

mod attribute;
mod audit;
pub(crate) mod convert;
mod definition;
mod handler;
pub(crate) mod link;
pub(crate) mod session;
mod user;

pub use handler::Handler;
