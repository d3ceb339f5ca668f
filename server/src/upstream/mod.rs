//! Reaches out: the adapters to servers that are not ours. They fetch and parse; what it means is for `app` to decide, and for
//! `telemetry`, which sends by [`HttpReceiver`] and a [`connector`] for gRPC.

mod http;
mod jwks;
mod micetro;
mod otlp;

pub use http::{Connector, with_sources};
pub use jwks::Jwks;
pub use micetro::{Credential, LoggedIn, Micetro, Problem};
pub use otlp::{HttpReceiver, connector};
