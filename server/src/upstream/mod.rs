//! Adapters to external servers. They fetch and parse for `app`, which decides, and send for `telemetry` ([`HttpReceiver`] and,
//! for gRPC, [`connector`]).

mod http;
mod jwks;
mod micetro;
mod otlp;

pub use http::{Connector, with_sources};
pub use jwks::Jwks;
pub use micetro::{Credential, LoggedIn, Micetro, Problem};
pub use otlp::{HttpReceiver, connector};
