//! Domain types and pure rules. Depends only on leaf modules.

pub mod audit;
pub mod caller;
pub mod definition;
pub mod id;
pub mod link;
pub mod network;
pub mod session;
pub mod user;
pub mod verdict;
