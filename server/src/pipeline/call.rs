//! Runs one call through the stages of the pipeline; [`super`] explains their order.
//!
//! The future is written by hand, so that a call that never waits allocates nothing for its stages.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use lanyard_proto::CORRELATION_ID_HEADER;
use tokio::time::Instant;
use tonic::Status;
use tracing::Span;

use super::authenticate::{Proof, authorize};
use super::connection::Connection;
use super::deadline::Deadline;
use super::fast_path::{self, FastAnswer};
use super::limits::{CallPermit, CallerPermit, Permits, PublicPermit};
use super::method::Method;
use super::observe::{self, Called};
use super::public_services::PublicService;
use super::request_headers::RequestHeaders;
use super::response_body::{Content, ResponseBody};
use super::status::{self, Refusal, RpcOutcome};
use super::trace::{SpanEnd, SpanStart, Trace};
use super::{Request, ServiceFuture, Stage};
use crate::app::Context;
use crate::clock::Time;
use crate::correlation::CorrelationId;
use crate::error::Error;
use crate::model::caller::Caller;
use crate::telemetry::metrics::rpc::EndedCall;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// One call, up to its response headers.
pub(crate) struct CallFuture {
    span: Span,
    call: Call,
}

struct Call {
    connection: Arc<Connection>,
    /// The stage that comes next.
    stage: Stage,
    waiting: Waiting,
    /// Kept in place until a service takes it: it is large, and each move copies it.
    request: Option<Request>,
    called: Called,
    correlation_id: CorrelationId,
    arrived: Time,
    started: Instant,
    deadline: Deadline,
    is_grpc: bool,
    is_compressed: bool,
    header_bytes: usize,
    /// Set for health and reflection, the only services with streams.
    public: Option<PublicService>,
    /// Set by [`Stage::Authenticate`].
    caller: Option<Arc<Caller>>,
    /// Set once the caller is known, or when the call is refused before that.
    trace: Option<Trace>,
    permits: Permits,
}

/// What a stage waits for.
enum Waiting {
    Nothing,
    /// The caller is not cached: the database is queried.
    Caller(BoxFuture<'static, Result<Arc<Caller>, Error>>),
    /// The rest of the request.
    Body,
    /// The cache missed: the row is being read.
    FastPath(BoxFuture<'static, Result<Bytes, Error>>),
    Service(ServiceFuture),
}

enum Next {
    /// The stage after this one.
    Stage,
    /// A later one.
    SkipTo(Stage),
    Answer(Response<Content>),
}

type StageResult = Result<Next, Refusal>;
type Outcome = Result<Response<Content>, Refusal>;

impl CallFuture {
    pub(super) fn new(connection: Arc<Connection>, request: Request) -> Self {
        let headers = RequestHeaders::new(request.headers());
        // Read together: the span of the call ends `started.elapsed()` after `arrived`, and its children end before it.
        let (arrived, started) = (connection.server.app().clock().now(), Instant::now());
        let correlation_id = headers.correlation_id.and_then(CorrelationId::from_header);
        let correlation_id = correlation_id.unwrap_or_else(|| CorrelationId::new(arrived));
        let (called, public) = called(request.uri().path());
        let span = observe::span(called, &correlation_id);
        let call = Call {
            stage: Stage::FIRST,
            waiting: Waiting::Nothing,
            called,
            correlation_id,
            arrived,
            started,
            deadline: Deadline::new(started, &headers, connection.server.max_deadline),
            is_grpc: headers.is_grpc(),
            is_compressed: headers.is_compressed(),
            header_bytes: headers.bytes,
            request: Some(request),
            connection,
            public,
            caller: None,
            trace: None,
            permits: Permits::default(),
        };
        Self { span, call }
    }
}

impl Future for CallFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let Self { span, call } = self.get_mut();
        let _within = span.enter();
        let outcome = match catch_unwind(AssertUnwindSafe(|| call.advance(span, cx))) {
            Ok(Poll::Ready(outcome)) => outcome,
            Ok(Poll::Pending) => {
                ready!(call.deadline.poll(cx));
                Err(Error::DeadlineExceeded.into())
            }
            Err(_) => Err(Error::internal("a handler panicked").into()),
        };
        Poll::Ready(Ok(call.answer(outcome)))
    }
}

impl Call {
    /// Runs stage after stage until one answers, refuses or waits.
    fn advance(&mut self, span: &Span, cx: &mut Task<'_>) -> Poll<Outcome> {
        loop {
            let trace = self.trace.clone();
            let _traced = trace.as_ref().and_then(Trace::enter);
            let next = match self.stage {
                Stage::Accept => self.accept(),
                Stage::Limit => self.limit(),
                Stage::Authenticate => ready!(self.authenticate(cx)),
                Stage::Authorize => self.authorize(span),
                Stage::LimitCaller => self.limit_caller(),
                Stage::Read => ready!(self.read(cx)),
                Stage::FastPath => ready!(self.fast_path(cx)),
                Stage::Dispatch => self.dispatch(),
                Stage::Serve => ready!(self.serve(cx)),
                Stage::Over => return Poll::Pending,
            };
            match next {
                Ok(Next::Stage) => self.stage = self.stage.next(),
                Ok(Next::SkipTo(stage)) => self.stage = stage,
                Ok(Next::Answer(response)) => return Poll::Ready(Ok(response)),
                Err(refusal) => return Poll::Ready(Err(refusal)),
            }
        }
    }

    /// Checks protocol and method. Public services skip the other stages.
    fn accept(&mut self) -> StageResult {
        if !self.is_grpc {
            return Err(Refusal::NotGrpc);
        }
        let Connection { server, public_calls, .. } = &*self.connection;
        if self.header_bytes > server.max_header_bytes {
            return Err(Refusal::HeadersTooLong { limit: server.max_header_bytes });
        }
        if let Some(service) = &self.public {
            self.permits.public = Some(PublicPermit::enter(server.public.calls(), public_calls)?);
            let request = self.request.take().ok_or_else(out_of_order)?;
            let served = server.public.call(service, request).ok_or(Refusal::MethodUnknown)?;
            self.waiting = Waiting::Service(served);
            return Ok(Next::SkipTo(Stage::Serve));
        }
        // The contract is public, so an unknown method is no secret.
        self.method().map(|_| Next::Stage)
    }

    fn limit(&mut self) -> StageResult {
        self.permits.call = Some(CallPermit::enter(&self.connection)?);
        Ok(Next::Stage)
    }

    fn authenticate(&mut self, cx: &mut Task<'_>) -> Poll<StageResult> {
        if let Waiting::Caller(caller) = &mut self.waiting {
            let caller = ready!(caller.as_mut().poll(cx));
            self.waiting = Waiting::Nothing;
            return Poll::Ready(self.called_by(caller));
        }
        match self.authenticate_cached() {
            Ok(Some(caller)) => Poll::Ready(self.called_by(Ok(caller))),
            // Polled at once, to register the waker.
            Ok(None) => self.authenticate(cx),
            Err(refusal) => Poll::Ready(Err(refusal)),
        }
    }

    /// The caller, if it is cached; otherwise starts a query.
    fn authenticate_cached(&mut self) -> Result<Option<Arc<Caller>>, Refusal> {
        let Connection { server, peer, credentials, .. } = &*self.connection;
        let headers = self.request.as_mut().map(Request::headers_mut).ok_or_else(out_of_order)?;
        let proof = Proof::take(headers, peer, self.arrived)?;
        let cached = credentials.authenticate(server.app(), &proof, self.arrived)?;
        if cached.is_none() {
            let app = server.app().clone();
            let caller = async move { app.authenticate(proof.credential()?).await };
            self.waiting = Waiting::Caller(Box::pin(caller));
        }
        Ok(cached)
    }

    fn called_by(&mut self, caller: Result<Arc<Caller>, Error>) -> StageResult {
        let caller = caller?;
        self.connection.progress.set_authenticated();
        let headers = self.request.as_ref().map(Request::headers);
        self.trace = Some(self.connection.server.traces.of_caller(self.span_start(), headers, &caller));
        self.caller = Some(caller);
        Ok(Next::Stage)
    }

    /// Checks the grant of the method.
    fn authorize(&self, span: &Span) -> StageResult {
        let caller = self.caller.as_ref().ok_or_else(out_of_order)?;
        authorize(caller, self.method()?)?;
        if !span.is_disabled() {
            span.record("caller", caller.name.as_str());
        }
        Ok(Next::Stage)
    }

    fn limit_caller(&mut self) -> StageResult {
        let caller = self.caller.clone().ok_or_else(out_of_order)?;
        self.permits.caller = Some(CallerPermit::enter(caller)?);
        let is_fast = self.method()?.fast.is_some() && !self.is_compressed;
        Ok(if is_fast { Next::Stage } else { Next::SkipTo(Stage::Dispatch) })
    }

    /// Buffers the request of a method that the fast path may answer.
    fn read(&mut self, cx: &mut Task<'_>) -> Poll<StageResult> {
        let limit = self.connection.server.max_request_bytes(self.method()?);
        let body = self.request.as_mut().map(Request::body_mut);
        if body.is_some_and(|body| body.poll_read(cx, limit).is_pending()) {
            self.waiting = Waiting::Body;
            return Poll::Pending;
        }
        Poll::Ready(Ok(Next::Stage))
    }

    /// Answers without the generated service. A malformed message goes on to the service, which reports why.
    fn fast_path(&mut self, cx: &mut Task<'_>) -> Poll<StageResult> {
        if let Waiting::FastPath(answer) = &mut self.waiting {
            let answer = ready!(answer.as_mut().poll(cx));
            return Poll::Ready(answer.map_err(Refusal::from).map(answered));
        }
        match self.answer_fast() {
            Ok(Some(FastAnswer::Now(message))) => Poll::Ready(Ok(answered(message))),
            Ok(Some(FastAnswer::Later(answer))) => {
                self.waiting = Waiting::FastPath(answer);
                self.fast_path(cx)
            }
            Ok(None) => Poll::Ready(Ok(Next::Stage)),
            Err(refusal) => Poll::Ready(Err(refusal)),
        }
    }

    fn answer_fast(&self) -> Result<Option<FastAnswer>, Refusal> {
        let server = &self.connection.server;
        let method = self.method()?;
        let now = if matches!(self.waiting, Waiting::Body) { server.app().clock().now() } else { self.arrived };
        let body = self.request.as_ref().map(Request::body).ok_or_else(out_of_order)?;
        let (Some(fast), Some(message)) = (method.fast, body.message(server.max_request_bytes(method))) else {
            return Ok(None);
        };
        Ok(fast_path::answer(&server.handler, fast, self.context()?, message, now)?)
    }

    fn dispatch(&mut self) -> StageResult {
        let method = self.method()?;
        let context = self.context()?;
        let mut request = self.request.take().ok_or_else(out_of_order)?;
        request.extensions_mut().insert(context);
        self.waiting = Waiting::Service(self.connection.server.services.call(method, request));
        Ok(Next::Stage)
    }

    fn serve(&mut self, cx: &mut Task<'_>) -> Poll<StageResult> {
        let Waiting::Service(served) = &mut self.waiting else { return Poll::Ready(Err(out_of_order())) };
        let Ok(response) = ready!(served.as_mut().poll(cx));
        Poll::Ready(Ok(Next::Answer(response.map(Content::Service))))
    }

    fn method(&self) -> Result<&'static Method, Refusal> {
        if let Called::Method(_, method) = self.called { Ok(method) } else { Err(Refusal::MethodUnknown) }
    }

    fn context(&self) -> Result<Context, Refusal> {
        let caller = self.caller.clone().ok_or_else(out_of_order)?;
        Ok(Context { correlation_id: self.correlation_id.clone(), caller, peer: self.connection.peer.ip })
    }

    fn span_start(&self) -> SpanStart<'_> {
        SpanStart { called: self.called, correlation_id: &self.correlation_id, arrived: self.arrived }
    }

    /// Builds the response from the outcome.
    fn answer(&mut self, outcome: Outcome) -> Response<ResponseBody> {
        let (id, method) = (self.correlation_id.clone(), self.called.name());
        let server = &self.connection.server;
        if self.trace.is_none() && self.public.is_none() {
            self.trace = Some(server.traces.of_nobody(self.span_start()));
        }
        if self.caller.is_none() && self.permits.public.is_none() {
            self.connection.progress.count_refused(server.max_refused_calls);
        }
        let trace = self.trace.clone();
        let _traced = trace.as_ref().and_then(Trace::enter);
        let (outcome, mut response) = match outcome {
            Ok(mut response) => {
                let answered = response.extensions_mut().remove::<Status>();
                (status::complete(answered.as_ref(), &id, method, response.headers_mut()), response)
            }
            Err(refusal) => refused(&refusal, &id, method),
        };
        response.headers_mut().insert(CORRELATION_ID_HEADER, id.to_header());
        let stream_end = self.public.is_some().then(|| server.stream_end());
        let permits = std::mem::take(&mut self.permits);
        self.end(outcome);
        response.map(|body| ResponseBody::new(body, id, method, stream_end, permits))
    }

    /// Releases what the call still holds and records its metrics, once.
    fn end(&mut self, outcome: RpcOutcome) {
        if self.stage == Stage::Over {
            return;
        }
        self.stage = Stage::Over;
        let waiting = std::mem::replace(&mut self.waiting, Waiting::Nothing);
        // A handler that panicked may panic again on drop; that must not close the connection.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(waiting)));
        self.request = None;
        self.permits = Permits::default();
        let server = &self.connection.server;
        let took = self.started.elapsed();
        let end = SpanEnd { arrived: self.arrived, took, outcome };
        let exemplar = self.trace.take().and_then(|trace| trace.end(end));
        server.metrics.record(EndedCall {
            method: self.called.row(),
            code: outcome.code as usize,
            reason: outcome.reason.map(|reason| reason as usize),
            took,
            exemplar: exemplar.filter(|_| server.traces.shows_exemplars()),
        });
    }
}

impl Drop for Call {
    /// The client disconnected, or the server aborted: nobody reads the response.
    fn drop(&mut self) {
        self.end(RpcOutcome::CANCELLED);
    }
}

fn out_of_order() -> Refusal {
    Error::internal("the stages of a call come in their order").into()
}

fn called(path: &str) -> (Called, Option<PublicService>) {
    if let Some((row, method)) = Method::find(path) {
        return (Called::Method(row, method), None);
    }
    match PublicService::find(path) {
        Some(PublicService::Health) => (Called::Health, Some(PublicService::Health)),
        Some(reflection) => (Called::Reflection, Some(reflection)),
        None => (Called::Unknown, None),
    }
}

/// The response of the fast path.
fn answered(message: Bytes) -> Next {
    let mut response = Response::new(Content::Message(message));
    response.headers_mut().reserve(2);
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    Next::Answer(response)
}

fn refused(refusal: &Refusal, id: &CorrelationId, method: &str) -> (RpcOutcome, Response<Content>) {
    let mut response = Response::new(Content::Nothing);
    if matches!(refusal, Refusal::NotGrpc) {
        // So that non-gRPC clients do not take the response for success.
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    (status::write(refusal, id, method, headers), response)
}
