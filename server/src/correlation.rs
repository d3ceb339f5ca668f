//! The correlation ID identifies a request in every service it passes, and in each log line, span, error and audit row.
//! The caller sends one or gets a new one.

use std::fmt;

use http::HeaderValue;
use uuid::Uuid;

use crate::clock::Time;

/// 1 to 128 letters, digits, `.`, `_`, `:` and `-`: safe in any log and any header.
///
/// Kept as a header value, so that most calls neither copy nor parse it.
#[derive(Clone, PartialEq, Eq)]
pub struct CorrelationId(HeaderValue);

impl CorrelationId {
    /// Generates a `UUIDv7`.
    pub fn new(now: Time) -> Self {
        let (seconds, nanos) = now.to_unix();
        let seconds = u64::try_from(seconds).unwrap_or(0);
        let uuid = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos));
        let mut buffer = Uuid::encode_buffer();
        let text = uuid.hyphenated().encode_lower(&mut buffer);
        Self::of(HeaderValue::from_str(text).expect("a UUID is ASCII"))
    }

    /// `None` if it is malformed: then a new one takes its place, and the malformed one is never logged.
    pub fn from_header(sent: &HeaderValue) -> Option<Self> {
        let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        let bytes = sent.as_bytes();
        if bytes.is_empty() || bytes.len() > 128 || !bytes.iter().all(legal) {
            return None;
        }
        Some(Self::of(sent.clone()))
    }

    fn of(mut value: HeaderValue) -> Self {
        // Unique values do not belong in the HPACK table, which each response would search; sensitive ones stay out.
        value.set_sensitive(true);
        Self(value)
    }

    pub fn parse(text: &str) -> Option<Self> {
        HeaderValue::from_str(text).ok().as_ref().and_then(Self::from_header)
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("checked when it was made")
    }

    pub fn to_header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_legal_is_kept_to_the_letter(text in "[A-Za-z0-9._:-]{1,128}") {
            prop_assert_eq!(CorrelationId::parse(&text).map(|id| id.to_string()), Some(text));
        }

        #[test]
        fn one_bad_character_is_too_many(good in "[a-z]{0,20}", bad in "[^A-Za-z0-9._:-]", rest in "[a-z]{0,20}") {
            prop_assert_eq!(CorrelationId::parse(&format!("{good}{bad}{rest}")), None);
        }
    }

    #[test]
    fn the_length_is_1_to_128() {
        assert_eq!(CorrelationId::parse(""), None);
        assert!(CorrelationId::parse(&"x".repeat(128)).is_some());
        assert_eq!(CorrelationId::parse(&"x".repeat(129)), None);
    }

    #[test]
    fn a_new_one_is_a_uuid_of_its_time_and_unique() {
        let now = Time::from_micros(1_700_000_000_000_000);
        let (one, other) = (CorrelationId::new(now), CorrelationId::new(now));
        assert_ne!(one, other);
        assert_eq!(CorrelationId::parse(one.as_str()), Some(one.clone()), "a caller may send it on");
        assert!(one.to_header().is_sensitive());
        let uuid: Uuid = one.as_str().parse().expect("a UUID");
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(uuid.get_timestamp().map(|time| time.to_unix().0), Some(1_700_000_000));
    }
}
