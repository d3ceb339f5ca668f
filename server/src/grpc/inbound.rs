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
pub(super) const PREFIX: usize = 5;

pub struct Inbound {
    read: Bytes,
    /// Why reading ahead ended early: for whoever reads on.
    failed: Option<hyper::Error>,
    rest: Incoming,
}

impl Inbound {
    pub(super) fn new(rest: Incoming) -> Self {
        Self { read: Bytes::new(), failed: None, rest }
    }

    /// Ready when the request has ended, or is longer than a message of `limit` bytes, or has failed.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<()> {
        while self.failed.is_none() && self.read.len() <= limit.saturating_add(PREFIX) && !self.rest.is_end_stream() {
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

    /// The message, if what was read ahead is exactly one that is not compressed.
    pub(super) fn message(&self) -> Option<&[u8]> {
        let (&[flag, a, b, c, d], message) = self.read.split_first_chunk::<PREFIX>()?;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        (flag == 0 && length == message.len() && self.failed.is_none()).then_some(message)
    }
}

impl Body for Inbound {
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
