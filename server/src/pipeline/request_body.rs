//! The body of a request: what was read of it ahead, and what is still to come.
//!
//! A hot call is read here and, if memory knows the answer, answered without the generated service. If it does not, or if
//! anything about the bytes is unusual, the service gets them all as if nobody had looked.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// Length of the prefix of a gRPC message: a flag and the size.
pub(crate) const PREFIX: usize = 5;

pub(crate) struct RequestBody {
    read: Bytes,
    /// Why reading ahead ended early: for whoever reads on.
    failed: Option<hyper::Error>,
    rest: Incoming,
}

impl RequestBody {
    pub(crate) fn new(rest: Incoming) -> Self {
        Self { read: Bytes::new(), failed: None, rest }
    }

    /// Ready when the request has ended, or has failed, or is none that [`Self::message`] returns.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<()> {
        while self.failed.is_none() && self.may_be_message(limit) && !self.rest.is_end_stream() {
            match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
                Some(Ok(frame)) => self.add(frame),
                Some(Err(error)) => self.failed = Some(error),
                None => break,
            }
        }
        Poll::Ready(())
    }

    /// Requests have no trailers that mean anything.
    fn add(&mut self, frame: Frame<Bytes>) {
        let Ok(data) = frame.into_data() else { return };
        if self.read.is_empty() {
            self.read = data;
            return;
        }
        let mut read = BytesMut::from(std::mem::take(&mut self.read));
        read.extend_from_slice(&data);
        self.read = read.freeze();
    }

    /// A message that says to be too long, or compressed, is not waited for.
    fn may_be_message(&self, limit: usize) -> bool {
        let Some(prefix) = self.read.first_chunk() else { return true };
        length(*prefix).is_some_and(|length| length <= limit && self.read.len() <= PREFIX + length)
    }

    /// The message, if what was read ahead is exactly one, not compressed and of at most `limit` bytes.
    pub(crate) fn message(&self, limit: usize) -> Option<&[u8]> {
        let (prefix, message) = self.read.split_first_chunk()?;
        let length = length(*prefix)?;
        (length <= limit && length == message.len() && self.failed.is_none()).then_some(message)
    }
}

/// Length of the message that follows, if it is not compressed.
fn length([flag, length @ ..]: [u8; PREFIX]) -> Option<usize> {
    if flag != 0 {
        return None;
    }
    usize::try_from(u32::from_be_bytes(length)).ok()
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let inbound = self.get_mut();
        if !inbound.read.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut inbound.read)))));
        }
        if let Some(error) = inbound.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        Pin::new(&mut inbound.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.failed.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Exact only as long as nothing was read ahead; nobody behind needs more.
        if self.read.is_empty() { self.rest.size_hint() } else { SizeHint::default() }
    }
}
