//! The body of a request: what was read of it ahead, and what is still to come.
//!
//! What the fast path may answer is read ahead. If it cannot, or if anything about the bytes is unusual, the service gets them
//! all as if nobody had looked.
//!
//! A body that fails is never handed on as an error. It fails only when its stream is closed (`RST_STREAM`, or the connection is
//! gone), so nobody waits for an answer: hyper sees the same when it finds the call pending, and drops it as cancelled.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// Length of the prefix of a gRPC message: a flag and the size.
pub(crate) const PREFIX: usize = 5;

pub(crate) struct RequestBody {
    read: Bytes,
    rest: Incoming,
}

impl RequestBody {
    pub(crate) fn new(rest: Incoming) -> Self {
        Self { read: Bytes::new(), rest }
    }

    /// Ready when the request has ended, or is none that [`Self::message`] returns.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<()> {
        while self.may_be_message(limit) && !self.rest.is_end_stream() {
            match ready!(self.poll_rest(cx)) {
                Some(frame) => self.add(frame),
                None => break,
            }
        }
        Poll::Ready(())
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
            Some(Ok(frame)) => Poll::Ready(Some(frame)),
            Some(Err(_)) => Poll::Pending,
            None => Poll::Ready(None),
        }
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
        (length <= limit && length == message.len()).then_some(message)
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
        inbound.poll_rest(cx).map(|frame| frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Exact only as long as nothing was read ahead; nobody behind needs more.
        if self.read.is_empty() { self.rest.size_hint() } else { SizeHint::default() }
    }
}
