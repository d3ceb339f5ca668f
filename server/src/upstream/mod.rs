//! Reaches out: the adapters to servers that are not ours. They fetch and parse; what it means is for `app` to decide.

mod http;
mod jwks;
mod micetro;

pub use jwks::Jwks;
pub use micetro::{Credential, LoggedIn, Micetro, Problem};
