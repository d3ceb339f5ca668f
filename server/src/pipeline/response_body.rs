//! The body of a response, with the correlation ID in its trailers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use lanyard_proto::CORRELATION_ID_HEADER;
use tonic::Status;

use super::limits::Permits;
use super::status;
use super::status::Refusal;
use crate::correlation::CorrelationId;
use crate::error::Error;

/// Ends an open-ended stream, with this error.
pub(crate) type StreamEnd = BoxFuture<'static, Error>;

/// What remains to be sent.
pub(crate) enum Content {
    /// From a generated service.
    Service(tonic::body::Body),
    /// One length-prefixed message, then OK.
    Message(Bytes),
    /// OK, in trailers after the message.
    Success,
    /// The response is trailers-only, or all was sent.
    Nothing,
}

pub(crate) struct ResponseBody {
    content: Content,
    correlation_id: CorrelationId,
    method: &'static str,
    stream_end: Option<StreamEnd>,
    /// Released once the response is sent or the client is gone.
    _permits: Permits,
}

impl ResponseBody {
    pub(crate) fn new(
        content: Content,
        correlation_id: CorrelationId,
        method: &'static str,
        stream_end: Option<StreamEnd>,
        permits: Permits,
    ) -> Self {
        Self { content, correlation_id, method, stream_end, _permits: permits }
    }

    fn trailers(&self, mut trailers: HeaderMap) -> Frame<Bytes> {
        trailers.insert(CORRELATION_ID_HEADER, self.correlation_id.to_header());
        Frame::trailers(trailers)
    }

    fn success(&self) -> Frame<Bytes> {
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert(status::GRPC_STATUS, HeaderValue::from_static("0"));
        self.trailers(trailers)
    }

    /// Completes the trailers of a service.
    fn completed(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        frame.into_trailers().map_or_else(
            |data| data,
            |mut trailers| {
                status::complete_trailers(&self.correlation_id, self.method, &mut trailers);
                self.trailers(trailers)
            },
        )
    }

    fn end(&mut self, reason: Error) -> Frame<Bytes> {
        self.content = Content::Nothing;
        self.stream_end = None;
        let mut trailers = HeaderMap::new();
        status::write(&Refusal::Error(reason), &self.correlation_id, self.method, &mut trailers);
        self.trailers(trailers)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let answer = self.get_mut();
        let frame = match &mut answer.content {
            Content::Service(body) => {
                let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
                    let Some(stream_end) = &mut answer.stream_end else { return Poll::Pending };
                    let reason = ready!(stream_end.as_mut().poll(cx));
                    return Poll::Ready(Some(Ok(answer.end(reason))));
                };
                return Poll::Ready(frame.map(|frame| frame.map(|frame| answer.completed(frame))));
            }
            Content::Message(message) => {
                let message = std::mem::take(message);
                answer.content = Content::Success;
                Frame::data(message)
            }
            Content::Success => {
                answer.content = Content::Nothing;
                answer.success()
            }
            Content::Nothing => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Service(body) => body.is_end_stream(),
            Content::Message(_) | Content::Success => false,
            Content::Nothing => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Service(body) => body.size_hint(),
            // A body with trailers needs no length.
            Content::Message(_) | Content::Success => SizeHint::default(),
            Content::Nothing => SizeHint::with_exact(0),
        }
    }
}
