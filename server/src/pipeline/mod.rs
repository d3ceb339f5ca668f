//! The fixed stages of every call, in order, and the fast path.
//!
//! [`call::CallFuture`] carries each call. Around all stages, outermost first: the **correlation ID**, so that whatever happens
//! can be found by it; the **panic catch**, so that a bug costs one call, answered INTERNAL; **metrics and trace**, so that
//! refusals are counted and timed too; and the **deadline**, which includes authenticating the caller. Then one after the
//! other, the cheapest refusals first: the stages of [`Stage`].
//!
//! A handler finds what the stages learnt as [`crate::app::Context`] in the extensions of its request, and answers an
//! [`crate::error::Error`] with `?`. If it hands its work to another runtime, it must end that work when its own future is
//! dropped: that is how a deadline and a client that went away are told.

pub(crate) mod authenticate;
pub(crate) mod call;
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
pub use public_services::Health;
pub use server::RpcServer;

/// The stages of a call, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// gRPC, and a method of the contract? Health and reflection are answered here: a probe has no key, and must be answered
    /// when the server is full.
    Accept,
    /// One of at most `server.max_in_flight` calls, before any work is done for it.
    Limit,
    /// Who calls: an API key or a client certificate.
    Authenticate,
    /// May they call this method? Denied by default.
    Authorize,
    /// One of at most so many calls of this caller.
    LimitCaller,
    /// The request of a method that has a fast path.
    Read,
    /// Answers that memory has.
    FastPath,
    /// The generated service, by the table of methods.
    Dispatch,
    /// The service answers.
    Serve,
    /// The answer was made.
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

/// A request as it comes from the connection.
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
