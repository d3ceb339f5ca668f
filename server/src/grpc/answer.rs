//! The body of an answer: the service's, with the correlation ID added to its trailers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use lanyard_proto::CORRELATION_ID_HEADER;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;

use super::status::{self, Refusal};
use crate::correlation::CorrelationId;
use crate::error::Error;

/// What a stream that could go on for ever waits for: the server's stop.
pub(super) type Ending = Pin<Box<WaitForCancellationFutureOwned>>;

pub(super) struct Answer {
    body: tonic::body::Body,
    correlation_id: CorrelationId,
    method: &'static str,
    ending: Option<Ending>,
}

impl Answer {
    pub(super) fn new(
        body: tonic::body::Body,
        correlation_id: CorrelationId,
        method: &'static str,
        ending: Option<Ending>,
    ) -> Self {
        Self { body, correlation_id, method, ending }
    }

    fn with_correlation_id(&self, mut trailers: HeaderMap) -> Frame<Bytes> {
        status::complete_trailers(&self.correlation_id, self.method, &mut trailers);
        trailers.insert(CORRELATION_ID_HEADER, self.correlation_id.to_header());
        Frame::trailers(trailers)
    }

    /// The stream ends because the server does.
    fn end(&mut self) -> Frame<Bytes> {
        self.body = tonic::body::Body::empty();
        self.ending = None;
        let mut trailers = HeaderMap::new();
        status::write(&Refusal::Error(Error::ShuttingDown), &self.correlation_id, self.method, &mut trailers);
        self.with_correlation_id(trailers)
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let answer = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut answer.body).poll_frame(cx) else {
            let Some(ending) = &mut answer.ending else { return Poll::Pending };
            ready!(ending.as_mut().poll(cx));
            return Poll::Ready(Some(Ok(answer.end())));
        };
        let frame = match frame {
            Some(Ok(frame)) => frame.into_trailers().map_or_else(|data| data, |t| answer.with_correlation_id(t)),
            end => return Poll::Ready(end),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
