//! Adapters to third-party servers. They fetch and parse; `app` interprets the results. `telemetry` sends with
//! [`HttpReceiver`], and with a [`connector`] for gRPC.

mod http;
mod jwks;
mod micetro;
mod otlp;

pub use http::{Connector, with_sources};
pub use jwks::Jwks;
pub use micetro::{Credential, LoggedIn, Micetro, Problem};
pub use otlp::{HttpReceiver, connector};
