//! Why a call of Micetro failed.

use std::fmt;

use crate::correlation::CorrelationId;

/// The message of a refusal is cut here: it comes from elsewhere.
const LONGEST_MESSAGE: usize = 1_000;
const ACCESS_DENIED: i64 = 1028;
const STANDBY: i64 = 1037;
const NO_CENTRAL: i64 = 515;
const NOT_FOUND: [i64; 2] = [2049, 16544];
/// This refusal has no number of its own that anybody knows.
const TOO_MANY_CONNECTIONS: &str = "too many open connections";

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MicetroErrorKind {
    /// The request was not sent: its path, a header or its body is not good, or the client was closed.
    InvalidRequest,
    /// Lanyard gave no credential; [`MicetroError::lanyard`] says why.
    NoCredential,
    /// No connection could be made, or it broke.
    Connection,
    /// There was no whole answer in time.
    DeadlineExceeded,
    /// The answer is larger than the platform's `max_response_bytes`.
    TooLarge,
    /// Micetro said no; see `status`, `code` and `message`.
    Refused,
    /// What answered is not Micetro, or not with a status that was expected.
    UnexpectedAnswer,
}

/// Why a call of Micetro failed.
#[derive(Clone)]
#[non_exhaustive]
pub struct MicetroError {
    /// What kind of failure it was.
    pub kind: MicetroErrorKind,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Micetro's number of the error, if it said one. Most refusals are HTTP 400, and differ in it alone.
    pub code: Option<i64>,
    /// For people: Micetro's own words, where it had some.
    pub message: String,
    /// Under which the call was made.
    pub correlation_id: CorrelationId,
    lanyard: Option<Box<crate::Error>>,
    never_sent: bool,
}

impl MicetroError {
    pub(super) fn new(kind: MicetroErrorKind, message: impl Into<String>, id: &CorrelationId) -> Self {
        let (correlation_id, message) = (id.clone(), message.into());
        Self { kind, status: None, code: None, message, correlation_id, lanyard: None, never_sent: false }
    }

    pub(super) fn no_credential(error: crate::Error) -> Self {
        let correlation_id = error.correlation_id.clone();
        let message = error.message.clone();
        let lanyard = Some(Box::new(error));
        Self { lanyard, ..Self::new(MicetroErrorKind::NoCredential, message, &correlation_id) }
    }

    /// The connection could not be made: nothing was sent.
    pub(super) fn not_connected(message: String, id: &CorrelationId) -> Self {
        Self { never_sent: true, ..Self::new(MicetroErrorKind::Connection, message, id) }
    }

    pub(super) fn refused(status: u16, code: Option<i64>, message: &str, id: &CorrelationId) -> Self {
        let harmless = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_MESSAGE);
        let kind = MicetroErrorKind::Refused;
        Self { status: Some(status), code, ..Self::new(kind, harmless.collect::<String>(), id) }
    }

    pub(super) fn unexpected(status: u16, problem: &str, id: &CorrelationId) -> Self {
        let message = format!("Micetro answered {status}, {problem}");
        Self { status: Some(status), ..Self::new(MicetroErrorKind::UnexpectedAnswer, message, id) }
    }

    /// Why Lanyard gave no credential.
    pub fn lanyard(&self) -> Option<&crate::Error> {
        self.lanyard.as_deref()
    }

    /// The session, here or in Micetro, is not good any more: the user must log in again.
    pub fn is_unauthenticated(&self) -> bool {
        self.status == Some(401) || self.lanyard().is_some_and(crate::Error::is_session_invalid)
    }

    /// The user may not do that in Micetro.
    pub fn is_access_denied(&self) -> bool {
        self.code == Some(ACCESS_DENIED)
    }

    /// There is no such object.
    pub fn is_not_found(&self) -> bool {
        self.code.is_some_and(|code| NOT_FOUND.contains(&code))
    }

    /// Micetro, or Lanyard, cannot answer now. It says nothing about what was asked.
    pub fn is_unavailable(&self) -> bool {
        use MicetroErrorKind::{Connection, DeadlineExceeded};
        matches!(self.kind, Connection | DeadlineExceeded)
            || matches!(self.status, Some(502..=504))
            || self.code.is_some_and(|code| [STANDBY, NO_CENTRAL].contains(&code))
            || self.has_too_many_connections()
            || self.lanyard().is_some_and(crate::Error::is_unavailable)
    }

    fn has_too_many_connections(&self) -> bool {
        self.kind == MicetroErrorKind::Refused && self.message.to_ascii_lowercase().contains(TOO_MANY_CONNECTIONS)
    }

    /// Micetro has done nothing, and may do it soon.
    pub(super) fn may_be_tried_again(&self) -> bool {
        self.never_sent || self.code == Some(STANDBY) || self.has_too_many_connections()
    }
}

impl fmt::Display for MicetroError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.message)?;
        if let (MicetroErrorKind::Refused, Some(status)) = (self.kind, self.status) {
            write!(f, "HTTP {status}, ")?;
        }
        if let Some(code) = self.code {
            write!(f, "code {code}, ")?;
        }
        if let Some(error) = self.lanyard() {
            write!(f, "{}, ", error.reason.reason())?;
        }
        write!(f, "correlation ID {})", self.correlation_id)
    }
}

impl fmt::Debug for MicetroError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MicetroError")
            .field("kind", &self.kind)
            .field("status", &self.status)
            .field("code", &self.code)
            .field("message", &self.message)
            .field("correlation_id", &self.correlation_id)
            .field("lanyard", &self.lanyard)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for MicetroError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.lanyard().map(|error| error as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> CorrelationId {
        "an-id".parse().unwrap()
    }

    fn refused(status: u16, code: i64) -> MicetroError {
        MicetroError::refused(status, Some(code), "No.", &id())
    }

    #[test]
    fn refusals_are_told_apart_by_their_number() {
        assert!(refused(400, 1028).is_access_denied());
        assert!(refused(400, 2049).is_not_found() && refused(400, 16544).is_not_found());
        assert!(refused(401, 5003).is_unauthenticated() && !refused(400, 1028).is_unauthenticated());
        for status in [400, 503] {
            assert!(refused(status, 1037).is_unavailable() && refused(status, 515).is_unavailable());
        }
        assert!(!refused(400, 2049).is_unavailable());
    }

    #[test]
    fn only_what_did_nothing_may_be_tried_again() {
        let busy = MicetroError::refused(400, Some(0), "Too many open connections", &id());
        let not_connected = MicetroError::not_connected("no".into(), &id());
        for error in [busy, not_connected, refused(400, 1037)] {
            assert!(error.may_be_tried_again() && error.is_unavailable(), "{error}");
        }
        let broken = MicetroError::new(MicetroErrorKind::Connection, "broken", &id());
        for error in [broken, refused(400, 515), MicetroError::unexpected(503, "with text/html", &id())] {
            assert!(!error.may_be_tried_again() && error.is_unavailable(), "{error}");
        }
    }

    #[test]
    fn an_error_says_what_micetro_said_and_nothing_that_steers_a_terminal() {
        let error = MicetroError::refused(400, Some(2049), "Object\u{1b}[31m not\nfound", &id());
        assert_eq!(error.to_string(), "Object [31m not found (HTTP 400, code 2049, correlation ID an-id)");
        let long = MicetroError::refused(400, None, &"x".repeat(5_000), &id());
        assert_eq!(long.message.len(), LONGEST_MESSAGE);
    }
}
