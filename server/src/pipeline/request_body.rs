//! The body of a request: the part buffered for the fast path, and the rest.
//!
//! If the fast path cannot answer, or the bytes are not one plain message, the service reads the whole body unchanged.
//!
//! Body errors are never returned. A body fails only when its stream is closed (`RST_STREAM` or a lost connection), so
//! nobody waits for a response: the call stays pending until hyper, which sees the same, drops it as cancelled.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// Length of the prefix of a gRPC message: compressed flag and size.
pub(crate) const PREFIX: usize = 5;

pub(crate) struct RequestBody {
    read: Bytes,
    rest: Incoming,
}

impl RequestBody {
    pub(crate) fn new(rest: Incoming) -> Self {
        Self { read: Bytes::new(), rest }
    }

    /// Ready once the request has ended or [`Self::message`] cannot return it.
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

    /// Drops trailers: gRPC requests have none.
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

    /// Stops buffering early if the prefix says compressed or too long.
    fn may_be_message(&self, limit: usize) -> bool {
        let Some(prefix) = self.read.first_chunk() else { return true };
        length(*prefix).is_some_and(|length| length <= limit && self.read.len() <= PREFIX + length)
    }

    /// The buffered message, if it is exactly one, uncompressed and at most `limit` bytes long.
    pub(crate) fn message(&self, limit: usize) -> Option<&[u8]> {
        let (prefix, message) = self.read.split_first_chunk()?;
        let length = length(*prefix)?;
        (length <= limit && length == message.len()).then_some(message)
    }
}

/// Length of the message that follows; `None` if it is compressed.
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
        // Unknown once something is buffered; the services do not need it.
        if self.read.is_empty() { self.rest.size_hint() } else { SizeHint::default() }
    }
}
