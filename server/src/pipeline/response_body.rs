//! The body of an answer, with the correlation ID in its trailers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use lanyard_proto::CORRELATION_ID_HEADER;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;

use super::status;
use super::status::Refusal;
use crate::correlation::CorrelationId;
use crate::error::Error;

/// What a stream that could go on for ever waits for: the server's stop.
pub(crate) type ServerStop = Pin<Box<WaitForCancellationFutureOwned>>;

/// What is answered.
pub(crate) enum Content {
    /// By a generated service.
    Service(tonic::body::Body),
    /// One message, with its prefix, and then success.
    Message(Bytes),
    /// Success, after the message.
    Success,
    /// The headers say it all, or everything was sent.
    Nothing,
}

pub(crate) struct ResponseBody {
    content: Content,
    correlation_id: CorrelationId,
    method: &'static str,
    server_stop: Option<ServerStop>,
}

impl ResponseBody {
    pub(crate) fn new(
        content: Content,
        correlation_id: CorrelationId,
        method: &'static str,
        server_stop: Option<ServerStop>,
    ) -> Self {
        Self { content, correlation_id, method, server_stop }
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

    /// What a service sent, completed.
    fn completed(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        frame.into_trailers().map_or_else(
            |data| data,
            |mut trailers| {
                status::complete_trailers(&self.correlation_id, self.method, &mut trailers);
                self.trailers(trailers)
            },
        )
    }

    /// The stream ends because the server does.
    fn end(&mut self) -> Frame<Bytes> {
        self.content = Content::Nothing;
        self.server_stop = None;
        let mut trailers = HeaderMap::new();
        status::write(&Refusal::Error(Error::ShuttingDown), &self.correlation_id, self.method, &mut trailers);
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
                    let Some(server_stop) = &mut answer.server_stop else { return Poll::Pending };
                    ready!(server_stop.as_mut().poll(cx));
                    return Poll::Ready(Some(Ok(answer.end())));
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
            // Nobody needs the length of a body with trailers.
            Content::Message(_) | Content::Success => SizeHint::default(),
            Content::Nothing => SizeHint::with_exact(0),
        }
    }
}
