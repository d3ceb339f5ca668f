//! The contract of Lanyard: package `lanyard.v1`, its messages, servers, clients and descriptors.
//!
//! Nothing here decides anything. The `.proto` files beside this one are what to read; `build.rs` turns them into
//! the modules below.

// Generated code is held to the generator's standard, not ours.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    rust_2018_idioms,
    unreachable_pub,
    reason = "generated code"
)]
/// Package `lanyard.v1`.
pub mod v1 {
    tonic::include_proto!("lanyard.v1");
    include!(concat!(env!("OUT_DIR"), "/debug.rs"));
}

/// The descriptors of all files, for reflection and for tests that walk the contract.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lanyard_v1.binpb"));

/// `ErrorInfo.domain` of every error of Lanyard.
pub const ERROR_DOMAIN: &str = "lanyard";

/// The metadata key of the correlation ID: in requests, in answers' initial metadata and in their trailers.
pub const CORRELATION_ID_HEADER: &str = "x-correlation-id";

impl v1::ErrorReason {
    /// The reason as it stands in `ErrorInfo.reason`: the name of the value without its prefix.
    #[must_use]
    pub fn reason(self) -> &'static str {
        let name = self.as_str_name();
        name.strip_prefix("ERROR_REASON_").unwrap_or(name)
    }

    /// The reverse of [`Self::reason`]; a reason from a newer server is `Unspecified`.
    #[must_use]
    pub fn from_reason(reason: &str) -> Self {
        Self::from_str_name(&format!("ERROR_REASON_{reason}")).unwrap_or(Self::Unspecified)
    }
}

/// What `Debug` shows in the place of a secret: whether there is one, and nothing else.
fn redact(secret: &str) -> &'static str {
    if secret.is_empty() { "" } else { "[redacted]" }
}

#[cfg(test)]
mod tests {
    use super::v1;

    #[test]
    fn debug_of_a_message_with_a_secret_shows_that_there_is_one_and_nothing_else() {
        let request = v1::CreateSessionRequest {
            client: None,
            credential: Some(v1::create_session_request::Credential::Password(v1::PasswordCredential {
                username: "alice".into(),
                password: "correct horse".into(),
                totp_code: String::new(),
                new_password: "battery staple".into(),
            })),
        };
        let shown = format!("{request:?}");
        assert!(shown.contains("alice") && shown.contains("[redacted]"), "{shown}");
        assert!(!shown.contains("horse") && !shown.contains("staple"), "{shown}");
        let verify = v1::VerifySessionRequest { ust: "lyu1_secret".into(), client: None, peek: true };
        assert_eq!(format!("{verify:?}"), r#"VerifySessionRequest { ust: "[redacted]", client: None, peek: true }"#);
    }

    #[test]
    fn a_reason_reads_back_as_itself_and_an_unknown_one_as_unspecified() {
        assert_eq!(v1::ErrorReason::LoginFailed.reason(), "LOGIN_FAILED");
        assert_eq!(v1::ErrorReason::from_reason("LOGIN_FAILED"), v1::ErrorReason::LoginFailed);
        assert_eq!(v1::ErrorReason::from_reason("FROM_THE_FUTURE"), v1::ErrorReason::Unspecified);
    }
}
