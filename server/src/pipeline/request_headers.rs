//! The headers that the pipeline reads, found in one pass: look-ups by name would hash each one.

use http::{HeaderMap, HeaderValue};
use lanyard_proto::CORRELATION_ID_HEADER;

/// Headers of one call. The first of a repeated header counts.
#[derive(Default)]
pub(crate) struct RequestHeaders<'a> {
    pub(crate) content_type: Option<&'a HeaderValue>,
    pub(crate) correlation_id: Option<&'a HeaderValue>,
    pub(crate) timeout: Option<&'a HeaderValue>,
    /// The message compression.
    pub(crate) encoding: Option<&'a HeaderValue>,
    /// Length of all of them as RFC 9113 counts it (section 6.5.2), without pseudo-headers.
    pub(crate) bytes: usize,
}

/// Overhead of each header, in bytes (RFC 9113).
const HEADER_OVERHEAD: usize = 32;

impl<'a> RequestHeaders<'a> {
    pub(crate) fn new(headers: &'a HeaderMap) -> Self {
        let mut sent = Self::default();
        for (name, value) in headers {
            sent.bytes += name.as_str().len() + value.len() + HEADER_OVERHEAD;
            let place = match name.as_str() {
                "content-type" => &mut sent.content_type,
                CORRELATION_ID_HEADER => &mut sent.correlation_id,
                "grpc-timeout" => &mut sent.timeout,
                "grpc-encoding" => &mut sent.encoding,
                _ => continue,
            };
            place.get_or_insert(value);
        }
        sent
    }

    /// `identity` is not compression.
    pub(crate) fn is_compressed(&self) -> bool {
        self.encoding.is_some_and(|encoding| encoding != "identity")
    }

    pub(crate) fn is_grpc(&self) -> bool {
        let kind = self.content_type.and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
        matches!(kind, Some([] | [b'+' | b';', ..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_header_that_was_sent_twice_the_first_counts() {
        let header = |name: &'static str, value| (name.parse().expect("a name"), HeaderValue::from_static(value));
        let mut headers = HeaderMap::new();
        for (name, value) in [header("x-correlation-id", "one"), header("x-correlation-id", "two"), header("te", "x")] {
            let name: http::HeaderName = name;
            headers.append(name, value);
        }
        let sent = RequestHeaders::new(&headers);
        assert_eq!(sent.correlation_id.map(HeaderValue::as_bytes), Some(&b"one"[..]));
        assert!(sent.timeout.is_none() && !sent.is_grpc());
    }

    #[test]
    fn the_content_type_says_whether_it_is_grpc() {
        for (kind, is_grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(RequestHeaders::new(&headers).is_grpc(), is_grpc, "{kind}");
        }
    }
}
