//! Reaches out: the adapters to servers that are not ours. They fetch and parse; what it means is for `app` to decide.

mod jwks;

pub use jwks::Jwks;
