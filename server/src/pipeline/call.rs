//! The way of one call through the layers; their order and its reasons stand in [`super`].
//!
//! It is a future written by hand: a call that need not wait allocates nothing for its layers.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use lanyard_proto::CORRELATION_ID_HEADER;
use tokio::time::Instant;
use tonic::Status;
use tracing::Span;

use super::authenticate::{Authenticate, Proof, authorize};
use super::deadline::Deadline;
use super::limits::CallerPermit;
use super::method::{Hot, Method};
use super::observe;
use super::observe::Called;
use super::public_services::OpenService;
use super::request_headers::Sent;
use super::response_body::{Answer, Content};
use super::server::{Dispatch, Shared};
use super::status;
use super::status::{Refusal, Said};
use super::trace::{Ended, Told, Trace};
use super::{Answering, Request};
use crate::app::Context;
use crate::clock::Time;
use crate::correlation::CorrelationId;
use crate::error::Error;
use crate::model::caller::Caller;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// One call on its way.
pub(crate) struct Call<A: Authenticate, D: Dispatch> {
    span: Span,
    work: Work<A, D>,
}

struct Work<A: Authenticate, D: Dispatch> {
    shared: Arc<Shared<A, D>>,
    stage: Stage,
    /// Stays in its place until a service takes it: it is large, and each move of it is a copy.
    request: Option<Request>,
    called: Called,
    correlation_id: CorrelationId,
    arrived: Time,
    started: Instant,
    deadline: Deadline,
    is_grpc: bool,
    is_compressed: bool,
    /// Streams are answered by open services only.
    open: Option<OpenService>,
    /// Who calls, once that is known.
    caller: Option<Arc<Caller>>,
    /// Decided once the caller is known, or when the call is refused before that.
    trace: Option<Trace>,
    /// Does this call count among those under way?
    is_counted: bool,
    permit: Option<CallerPermit>,
}

enum Stage {
    Arrived,
    /// The caller is not in memory: `app` is asked.
    Proving(BoxFuture<'static, Result<Arc<Caller>, Error>>),
    /// Memory may know the answer: the request is read to ask it.
    Reading {
        method: &'static Method,
        hot: Hot,
        /// Did the request come later than the call?
        has_waited: bool,
    },
    Serving(Answering),
    /// The answer was made.
    Over,
}

enum Next {
    Stage(Stage),
    Answer(Response<Content>),
}

type Outcome = Result<Response<Content>, Refusal>;

impl<A: Authenticate, D: Dispatch> Call<A, D> {
    pub(crate) fn new(shared: Arc<Shared<A, D>>, request: Request) -> Self {
        let sent = Sent::new(request.headers());
        let arrived = shared.front.clock.now();
        let correlation_id = sent.correlation_id.and_then(CorrelationId::from_header);
        let correlation_id = correlation_id.unwrap_or_else(|| CorrelationId::new(arrived));
        let (called, open) = called(request.uri().path());
        let span = observe::span(called, &correlation_id);
        let started = Instant::now();
        let work = Work {
            stage: Stage::Arrived,
            called,
            correlation_id,
            arrived,
            started,
            deadline: Deadline::new(started, &sent, shared.front.max_deadline),
            is_grpc: sent.is_grpc(),
            is_compressed: sent.encoding.is_some(),
            request: Some(request),
            shared,
            open,
            caller: None,
            trace: None,
            is_counted: false,
            permit: None,
        };
        Self { span, work }
    }
}

impl<A: Authenticate, D: Dispatch> Future for Call<A, D> {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let Self { span, work } = self.get_mut();
        let _within = span.enter();
        let outcome = match catch_unwind(AssertUnwindSafe(|| work.poll(span, cx))) {
            Ok(Poll::Ready(outcome)) => outcome,
            Ok(Poll::Pending) => {
                ready!(work.deadline.poll(cx));
                Err(Error::DeadlineExceeded.into())
            }
            Err(_) => Err(Error::internal("a handler panicked").into()),
        };
        Poll::Ready(Ok(work.answer(outcome)))
    }
}

impl<A: Authenticate, D: Dispatch> Work<A, D> {
    fn poll(&mut self, span: &Span, cx: &mut Task<'_>) -> Poll<Outcome> {
        loop {
            let trace = self.trace.clone();
            let _traced = trace.as_ref().and_then(Trace::enter);
            let next = match &mut self.stage {
                Stage::Arrived => self.start(span),
                Stage::Proving(proving) => {
                    let caller = ready!(proving.as_mut().poll(cx));
                    caller.map_err(Refusal::from).and_then(|caller| self.admit(span, caller))
                }
                Stage::Reading { method, has_waited, .. } => {
                    let limit = self.shared.front.max_request_bytes(method);
                    let inbound = self.request.as_mut().map(Request::body_mut);
                    if inbound.is_some_and(|inbound| inbound.poll_read(cx, limit).is_pending()) {
                        *has_waited = true;
                        return Poll::Pending;
                    }
                    self.ask_memory()
                }
                Stage::Serving(serving) => {
                    let Ok(response) = ready!(serving.as_mut().poll(cx));
                    return Poll::Ready(Ok(response.map(Content::Service)));
                }
                Stage::Over => return Poll::Pending,
            };
            match next {
                Ok(Next::Stage(stage)) => self.stage = stage,
                Ok(Next::Answer(response)) => return Poll::Ready(Ok(response)),
                Err(refusal) => return Poll::Ready(Err(refusal)),
            }
        }
    }

    fn start(&mut self, span: &Span) -> Result<Next, Refusal> {
        if !self.is_grpc {
            return Err(Refusal::NotGrpc);
        }
        let front = &self.shared.front;
        if let Some(service) = &self.open {
            let request = self.request.take().ok_or_else(out_of_order)?;
            let answering = front.open.call(service, request).ok_or(Refusal::MethodUnknown)?;
            return Ok(Next::Stage(Stage::Serving(answering)));
        }
        // The contract is public: anybody may know that a method is not in it.
        if !matches!(self.called, Called::Method(..)) {
            return Err(Refusal::MethodUnknown);
        }
        front.in_flight.enter()?;
        self.is_counted = true;
        let headers = self.request.as_mut().map(Request::headers_mut).ok_or_else(out_of_order)?;
        let proof = Proof::take(headers, &self.shared.peer)?;
        if let Some(caller) = self.shared.memo.authenticate(&front.authenticate, &proof, self.arrived)? {
            return self.admit(span, caller);
        }
        let authenticate = front.authenticate.clone();
        let caller = Box::pin(async move { authenticate.authenticate(proof.credential()?).await });
        Ok(Next::Stage(Stage::Proving(caller)))
    }

    /// What remains once the caller is known: may they, are they too many, and on to memory or the service.
    fn admit(&mut self, span: &Span, caller: Arc<Caller>) -> Result<Next, Refusal> {
        let Called::Method(_, method) = self.called else { return Err(out_of_order()) };
        let headers = self.request.as_ref().map(Request::headers);
        self.trace = Some(self.shared.front.traces.of_caller(self.told(), headers, &caller));
        authorize(&caller, method)?;
        if !span.is_disabled() {
            span.record("caller", caller.name.as_str());
        }
        self.permit = Some(CallerPermit::enter(caller.clone())?);
        self.caller = Some(caller);
        match method.hot {
            Some(hot) if !self.is_compressed => Ok(Next::Stage(Stage::Reading { method, hot, has_waited: false })),
            _ => self.dispatch(method),
        }
    }

    /// The request is here, as far as it is of any use: memory answers it, or the service does.
    fn ask_memory(&mut self) -> Result<Next, Refusal> {
        let Stage::Reading { method, hot, has_waited } = self.stage else { return Err(out_of_order()) };
        let front = &self.shared.front;
        let now = if has_waited { front.clock.now() } else { self.arrived };
        let limit = front.max_request_bytes(method);
        let Some(message) = self.request.as_ref().and_then(|request| request.body().message(limit)) else {
            return self.dispatch(method);
        };
        let context = self.context()?;
        let Some(message) = (front.from_memory)(hot, &context, message, now)? else { return self.dispatch(method) };
        let mut response = Response::new(Content::Message(message));
        response.headers_mut().reserve(2);
        response.headers_mut().insert(CONTENT_TYPE, GRPC);
        Ok(Next::Answer(response))
    }

    fn dispatch(&mut self, method: &'static Method) -> Result<Next, Refusal> {
        let context = self.context()?;
        let mut request = self.request.take().ok_or_else(out_of_order)?;
        request.extensions_mut().insert(context);
        Ok(Next::Stage(Stage::Serving((self.shared.front.dispatch)(method, request))))
    }

    fn context(&self) -> Result<Context, Refusal> {
        let caller = self.caller.clone().ok_or_else(out_of_order)?;
        Ok(Context { correlation_id: self.correlation_id.clone(), caller, peer: self.shared.peer.ip })
    }

    fn told(&self) -> Told<'_> {
        Told { called: self.called, correlation_id: &self.correlation_id, arrived: self.arrived }
    }

    /// Makes the answer of what came of the call.
    fn answer(&mut self, outcome: Outcome) -> Response<Answer> {
        let (id, method) = (self.correlation_id.clone(), self.called.name());
        if self.trace.is_none() && self.open.is_none() {
            self.trace = Some(self.shared.front.traces.of_nobody(self.told()));
        }
        let trace = self.trace.clone();
        let _traced = trace.as_ref().and_then(Trace::enter);
        let (said, mut response) = match outcome {
            Ok(mut response) => {
                let answered = response.extensions_mut().remove::<Status>();
                (status::complete(answered.as_ref(), &id, method, response.headers_mut()), response)
            }
            Err(refusal) => refused(&refusal, &id, method),
        };
        response.headers_mut().insert(CORRELATION_ID_HEADER, id.to_header());
        let ending = self.open.is_some().then(|| Box::pin(self.shared.front.streams_end.clone().cancelled_owned()));
        self.end(said);
        response.map(|body| Answer::new(body, id, method, ending))
    }

    /// Lets go of all that the call holds, and counts it: once.
    fn end(&mut self, said: Said) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        // A handler that panicked may panic again when it is dropped; the connection must not pay for that.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(stage)));
        self.request = None;
        self.permit = None;
        let front = &self.shared.front;
        if self.is_counted {
            front.in_flight.leave();
        }
        let took = self.started.elapsed();
        let exemplar = self.trace.take().and_then(|trace| trace.end(Ended { arrived: self.arrived, took, said }));
        front.metrics.record(self.called, said, took, exemplar.filter(|_| front.traces.shows_exemplars()));
    }
}

impl<A: Authenticate, D: Dispatch> Drop for Work<A, D> {
    /// The client went away, or the server was stopped hard: nobody reads the answer.
    fn drop(&mut self) {
        self.end(Said::CANCELLED);
    }
}

fn out_of_order() -> Refusal {
    Error::internal("the stages of a call come in their order").into()
}

fn called(path: &str) -> (Called, Option<OpenService>) {
    if let Some((row, method)) = Method::find(path) {
        return (Called::Method(row, method), None);
    }
    match OpenService::find(path) {
        Some(OpenService::Health) => (Called::Health, Some(OpenService::Health)),
        Some(reflection) => (Called::Reflection, Some(reflection)),
        None => (Called::Unknown, None),
    }
}

fn refused(refusal: &Refusal, id: &CorrelationId, method: &str) -> (Said, Response<Content>) {
    let mut response = Response::new(Content::Nothing);
    if matches!(refusal, Refusal::NotGrpc) {
        // So that other clients than those of gRPC do not take the answer for success.
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    (status::write(refusal, id, method, headers), response)
}
