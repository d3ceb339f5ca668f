//! The fixed stages of every call, in order, and the fast path.
//!
//! [`call::CallFuture`] runs each call. Four things wrap all stages, outermost first: the **correlation ID**, which
//! finds all logs of a call; the **panic catch**, so that a bug fails one call with INTERNAL; **metrics and trace**, so
//! that refusals are counted and timed too; and the **deadline**, which includes authenticating the caller. Inside them
//! run the stages of [`Stage`], the cheapest refusals first.
//!
//! A handler finds the results of the stages as [`crate::app::Context`] in the extensions of its request, and returns
//! an [`crate::error::Error`] with `?`. If it spawns its work on another runtime, it must abort that work when its own
//! future is dropped: that is how an expired deadline or a disconnected client ends a call.

pub(crate) mod authenticate;
pub(crate) mod call;
pub(crate) mod connection;
mod deadline;
pub(crate) mod dispatch;
mod fast_path;
mod limits;
mod method;
mod observe;
pub(crate) mod peer;
mod public_services;
mod request_body;
mod request_headers;
mod response_body;
mod server;
mod status;
mod trace;

use std::convert::Infallible;

pub use method::{FastMethod, METHODS, Method, Service};
pub use observe::rpc_labels;
pub use public_services::{Health, HealthState};
pub use server::RpcServer;

/// The stages of a call, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Checks that this is gRPC and a method of the contract, and that the headers are not too long. Health and
    /// reflection have their own limits and go straight to [`Stage::Serve`]: probes have no key, and need an answer
    /// even when the server is at its limit.
    Accept,
    /// Enforces `server.max_in_flight`, before any work is done.
    Limit,
    /// Identifies the caller by API key or client certificate.
    Authenticate,
    /// Checks that the caller has the grant of the method. Denied by default.
    Authorize,
    /// Enforces the concurrency limit of the caller.
    LimitCaller,
    /// Reads the request of a method that has a fast path.
    Read,
    /// Answers from the cache, without the generated service.
    FastPath,
    /// Hands the request to the generated service.
    Dispatch,
    /// Waits for the service to respond.
    Serve,
    /// The response was returned.
    Over,
}

impl Stage {
    const FIRST: Self = Self::Accept;

    const fn next(self) -> Self {
        match self {
            Self::Accept => Self::Limit,
            Self::Limit => Self::Authenticate,
            Self::Authenticate => Self::Authorize,
            Self::Authorize => Self::LimitCaller,
            Self::LimitCaller => Self::Read,
            Self::Read => Self::FastPath,
            Self::FastPath => Self::Dispatch,
            Self::Dispatch => Self::Serve,
            Self::Serve | Self::Over => Self::Over,
        }
    }
}

/// A request as received from the connection.
pub(crate) type Request = http::Request<request_body::RequestBody>;

/// The future of a generated service.
pub(crate) type ServiceFuture = tonic::codegen::BoxFuture<http::Response<tonic::body::Body>, Infallible>;

#[cfg(test)]
mod tests {
    use super::*;

    /// What each stage refuses is tested in `transport/tests/stages.rs`.
    #[test]
    fn the_stages_follow_each_other_from_the_socket_to_the_service() {
        let stages: Vec<Stage> = std::iter::successors(Some(Stage::FIRST), |stage| Some(stage.next()))
            .take_while(|s| *s != Stage::Over)
            .collect();
        assert_eq!(
            stages,
            [
                Stage::Accept,
                Stage::Limit,
                Stage::Authenticate,
                Stage::Authorize,
                Stage::LimitCaller,
                Stage::Read,
                Stage::FastPath,
                Stage::Dispatch,
                Stage::Serve
            ]
        );
    }
}
