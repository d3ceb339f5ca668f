//! Interprets Micetro's responses: `{"result": ...}`, `{"error": {"code", "message"}}`, or neither.

use std::fmt;

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::error::{Error, Fault};

/// In bytes; longer than any observed session.
const MAX_SESSION: usize = 1024;
const MAX_VERSION: usize = 64;

/// Why a call failed.
#[derive(Debug)]
pub enum Problem {
    /// The platform does not accept the credential.
    Refused { code: Option<i64> },
    /// Anything else, such as an unreachable platform.
    Fault(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { .. } => f.write_str("the credential is refused"),
            Self::Fault(error) => error.fmt(f),
        }
    }
}

/// How a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection: nothing was sent.
    NotConnected(String),
    /// The connection broke.
    Broken(String),
    /// The response is not Micetro's.
    NotMicetro { problem: &'static str, status: StatusCode },
    /// An error that Micetro reports.
    Refused { status: StatusCode, code: Option<i64>, is_busy: bool },
}

impl Failure {
    /// Whether an idempotent call is worth retrying.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::NotConnected(_) => true,
            Self::Refused { code, is_busy, .. } => *is_busy || *code == Some(STANDBY),
            Self::Broken(_) | Self::NotMicetro { .. } => false,
        }
    }

    /// Classifies an unexpected response.
    pub(super) fn of(status: StatusCode, body: &[u8]) -> Self {
        match serde_json::from_slice::<ErrorEnvelope>(body) {
            Ok(ErrorEnvelope { error }) => {
                let is_busy = error.message.to_ascii_lowercase().contains(BUSY);
                Self::Refused { status, code: error.code, is_busy }
            }
            // 401 is a refusal, even if a proxy sent it.
            Err(_) if status == StatusCode::UNAUTHORIZED => Self::Refused { status, code: None, is_busy: false },
            Err(_) => Self::NotMicetro { problem: said_by_status(status), status },
        }
    }
}

fn said_by_status(status: StatusCode) -> &'static str {
    match status {
        _ if status.is_redirection() => "redirects, which is not followed",
        _ if status.is_server_error() => "is out of service",
        _ if status.is_success() => "answers otherwise than it should",
        _ => "answers with an error that is not its own",
    }
}

const STANDBY: i64 = 1037;
const NO_CENTRAL: i64 = 515;
/// Matched by text: its code is unknown.
const BUSY: &str = "too many open connections";

impl From<Failure> for Problem {
    /// Maps the known error codes; unknown ones fail closed.
    fn from(failure: Failure) -> Self {
        let fault = |source: String| Fault(source);
        Self::Fault(match failure {
            Failure::NotConnected(source) => {
                Error::PlatformUnavailable { problem: "cannot be reached", code: None, source: fault(source) }
            }
            Failure::Broken(source) => {
                Error::PlatformUnavailable { problem: "broke off", code: None, source: fault(source) }
            }
            Failure::NotMicetro { problem, status } if status.is_server_error() => {
                Error::PlatformUnavailable { problem, code: None, source: fault(format!("answered {status}")) }
            }
            Failure::NotMicetro { problem, status } => {
                Error::PlatformAnswerInvalid { problem, code: None, source: fault(format!("answered {status}")) }
            }
            Failure::Refused { code, is_busy: true, .. } => Error::PlatformBusy { code },
            Failure::Refused { status, code, .. } => match code {
                Some(16394 | 5002 | 5003 | 773) => return Self::Refused { code },
                Some(1028) => Error::PlatformAccessDenied { code },
                Some(STANDBY | NO_CENTRAL) => Error::PlatformUnavailable {
                    problem: "is out of service",
                    code,
                    source: fault(format!("answered {status}")),
                },
                _ if status == StatusCode::UNAUTHORIZED => return Self::Refused { code },
                _ if status.is_server_error() => Error::PlatformUnavailable {
                    problem: "is out of service",
                    code,
                    source: fault(format!("answered {status}")),
                },
                _ => Error::PlatformAnswerInvalid {
                    problem: "answers with an error that is not known",
                    code,
                    source: fault(format!("answered {status}")),
                },
            },
        })
    }
}

#[derive(Deserialize)]
struct ErrorEnvelope {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: Option<i64>,
    #[serde(default)]
    message: String,
}

/// A response: status and body.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: bytes::Bytes,
}

impl Answer {
    /// Parses `result`.
    pub(super) fn parsed<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        #[derive(Deserialize)]
        struct Envelope<T> {
            result: T,
        }

        match serde_json::from_slice::<Envelope<T>>(&self.body) {
            Ok(envelope) => Ok(envelope.result),
            Err(_) => Err(Failure::NotMicetro { problem: "answers with what cannot be read", status: self.status }),
        }
    }
}

/// A list; its content is ignored.
#[derive(Deserialize)]
pub(super) struct Listed {}

#[derive(Deserialize)]
pub(super) struct OpenedSession {
    session: Zeroizing<String>,
}

impl OpenedSession {
    /// `None` if too long or invalid in a header.
    pub(super) fn authorization(&self, scheme: &str) -> Option<Zeroizing<String>> {
        let session = self.session.as_str();
        let fits = (1..=MAX_SESSION).contains(&session.len()) && session.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Zeroizing::new(format!("{scheme}{session}")))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PreLogin {
    #[serde(default)]
    pub(super) central_version: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Whose {
    pub(super) user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    #[serde(default)]
    name: String,
    #[serde(default)]
    roles: Vec<Role>,
    #[serde(default)]
    group_roles: Vec<Role>,
}

#[derive(Deserialize)]
struct Role {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

impl Role {
    /// Roles of type Specific are for single objects. References lack a type.
    fn is_general(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("general"))
    }
}

impl User {
    pub(super) fn name_and_roles(self) -> Option<(String, Vec<String>)> {
        let roles = self.roles.into_iter().chain(self.group_roles);
        let roles = roles.filter(|role| role.is_general() && !role.name.is_empty()).map(|role| role.name).collect();
        (!self.name.is_empty()).then_some((self.name, roles))
    }
}

/// The first two or three numbers of a version: `26.1.0` of `26.1.0.4711-rc1`.
pub(super) fn base_version(version: &str) -> Option<String> {
    let version = version.trim();
    if version.len() > MAX_VERSION {
        return None;
    }
    let end = version.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(version.len());
    let parts: Vec<&str> = version[..end].split('.').take_while(|part| !part.is_empty()).take(3).collect();
    (parts.len() >= 2).then(|| parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16, body: &str) -> Problem {
        Failure::of(StatusCode::from_u16(status).unwrap(), body.as_bytes()).into()
    }

    fn error(code: i64, message: &str) -> String {
        serde_json::json!({ "error": { "code": code, "message": message } }).to_string()
    }

    #[test]
    fn every_known_number_means_what_it_means_whatever_its_status() {
        for status in [400, 401, 403, 500] {
            for code in [16394, 5002, 5003, 773] {
                let problem = problem(status, &error(code, "no"));
                assert!(matches!(problem, Problem::Refused { code: Some(said) } if said == code), "{problem:?}");
            }
            let denied = problem(status, &error(1028, "no access"));
            assert!(matches!(denied, Problem::Fault(Error::PlatformAccessDenied { code: Some(1028) })), "{denied:?}");
            for code in [1037, 515] {
                let problem = problem(status, &error(code, "no"));
                let Problem::Fault(Error::PlatformUnavailable { code: said, .. }) = problem else {
                    panic!("{problem:?}")
                };
                assert_eq!(said, Some(code));
            }
            let busy = problem(status, &error(0, "Too many open connections."));
            assert!(matches!(busy, Problem::Fault(Error::PlatformBusy { code: Some(0) })), "{busy:?}");
        }
    }

    #[test]
    fn what_is_not_known_lets_nobody_in() {
        for code in [2049, 16544, 265, 4711] {
            let unknown = problem(400, &error(code, "x"));
            let Problem::Fault(Error::PlatformAnswerInvalid { code: said, .. }) = unknown else {
                panic!("{unknown:?}")
            };
            assert_eq!(said, Some(code));
        }
        assert!(matches!(problem(401, "<html>"), Problem::Refused { code: None }));
        assert!(matches!(problem(401, &error(4711, "x")), Problem::Refused { code: Some(4711) }));
        for (status, body) in [(502, "<html>"), (500, "{}"), (503, ""), (500, &error(4711, "x"))] {
            let problem = problem(status, body);
            assert!(matches!(problem, Problem::Fault(Error::PlatformUnavailable { .. })), "{status}: {problem:?}");
        }
        for (status, body) in [(200, "{}"), (204, ""), (302, ""), (400, "{\"error\":7}"), (404, "<html>"), (403, "{}")]
        {
            let problem = problem(status, body);
            assert!(matches!(problem, Problem::Fault(Error::PlatformAnswerInvalid { .. })), "{status}: {problem:?}");
        }
    }

    #[test]
    fn only_what_passes_is_worth_another_call() {
        let status = StatusCode::BAD_REQUEST;
        assert!(Failure::NotConnected(String::new()).is_passing());
        assert!(Failure::of(status, error(1037, "standby").as_bytes()).is_passing());
        assert!(Failure::of(status, error(0, "Too many open connections").as_bytes()).is_passing());
        assert!(!Failure::Broken(String::new()).is_passing());
        for body in [error(16394, "no"), error(515, "no"), "<html>".to_owned()] {
            assert!(!Failure::of(status, body.as_bytes()).is_passing(), "{body}");
        }
    }

    #[test]
    fn a_version_is_its_first_numbers() {
        for (said, read) in [
            ("26.1.0", Some("26.1.0")),
            ("11.1", Some("11.1")),
            ("26.1.0.4711", Some("26.1.0")),
            ("26.1.0-rc1", Some("26.1.0")),
            ("26.1.0 (build 7)", Some("26.1.0")),
            ("26.", None),
            ("26", None),
            ("", None),
            ("unknown", None),
            (".1.2", None),
        ] {
            assert_eq!(base_version(said).as_deref(), read, "{said:?}");
        }
        assert_eq!(base_version(&"1.".repeat(100)), None);
    }

    #[test]
    fn a_session_that_cannot_stand_in_a_header_is_none() {
        let authorization =
            |session: &str| OpenedSession { session: session.to_owned().into() }.authorization("Bearer ");
        assert_eq!(authorization("abc").as_deref().map(String::as_str), Some("Bearer abc"));
        for session in ["", "a b", "a\r\nX: y", "ü", &"a".repeat(MAX_SESSION + 1)] {
            assert!(authorization(session).is_none(), "{session:?}");
        }
    }

    #[test]
    fn roles_are_the_own_and_those_of_groups_but_not_those_of_single_objects() {
        let user = serde_json::from_str::<User>(
            r#"{"name":"ann","roles":[{"ref":"roles/1","name":"GW_all"},{"name":"GW_x","type":"Specific"},{"ref":"roles/9"}],
                "groupRoles":[{"name":"GW_admin","type":"General"}],"externalID":"?"}"#,
        );
        let (name, roles) = user.unwrap().name_and_roles().unwrap();
        assert_eq!((name.as_str(), roles), ("ann", vec!["GW_all".to_owned(), "GW_admin".to_owned()]));
        assert!(serde_json::from_str::<User>("{}").unwrap().name_and_roles().is_none());
    }
}
