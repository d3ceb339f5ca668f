//! Exit codes and error messages of commands.

use std::process::ExitCode;

use strum::VariantArray;

use crate::config::ConfigError;
use crate::crypto::KeyringError;
use crate::error::Error;
use crate::serve::StartError;
use crate::store::ZatoError;
use crate::transport::ServeError;
use lanyard_client::v1::ErrorReason;
use lanyard_client::{Code, ConnectError, MicetroError};

/// Exit codes. Scripts rely on them: a code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub(crate) enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    Unauthenticated = 3,
    PermissionDenied = 4,
    NotFound = 5,
    Unavailable = 6,
    NotGood = 7,
    AuditProblems = 8,
    SchemaOutdated = 9,
    RowsRefused = 10,
    Unhealthy = 11,
    /// As in sysexits.h.
    Config = 78,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Failed => "refused or failed, for another reason than those below",
            Self::Usage => "the command line is wrong",
            Self::Unauthenticated => "the caller's key, the session or the login is not good",
            Self::PermissionDenied => "the caller or the user may not do this",
            Self::NotFound => "there is no such session, user, attribute, definition or object of Micetro",
            Self::Unavailable => "the server or the database cannot be reached, or does not serve now",
            Self::NotGood => "session verify: the token is not good",
            Self::AuditProblems => "audit verify: the trail was tampered with",
            Self::SchemaOutdated => "migrate --check, serve: the schema lacks migrations",
            Self::RowsRefused => "import: some rows are refused; the others are imported",
            Self::Unhealthy => "doctor: something is wrong, or could not be checked",
            Self::Config => "the configuration or the key file cannot be used",
        }
    }

    fn of_code(code: Code) -> Self {
        match code {
            Code::Unauthenticated => Self::Unauthenticated,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::NotFound => Self::NotFound,
            Code::Unavailable | Code::DeadlineExceeded => Self::Unavailable,
            _ => Self::Failed,
        }
    }

    fn of_micetro(error: &MicetroError) -> Self {
        match error {
            error if error.is_unauthenticated() => Self::Unauthenticated,
            error if error.is_access_denied() => Self::PermissionDenied,
            error if error.is_not_found() => Self::NotFound,
            error if error.is_unavailable() => Self::Unavailable,
            _ => Self::Failed,
        }
    }

    fn of_error(error: &Error) -> Self {
        match error {
            Error::CallerUnauthenticated | Error::SessionInvalid | Error::LoginFailed => Self::Unauthenticated,
            Error::CallerForbidden { .. }
            | Error::SuperUserRequired
            | Error::PlatformRoleMissing
            | Error::PlatformAccessDenied { .. } => Self::PermissionDenied,
            Error::SessionNotFound | Error::UserNotFound | Error::AttributeNotFound | Error::DefinitionNotFound => {
                Self::NotFound
            }
            Error::StoreUnavailable { .. }
            | Error::Overloaded { .. }
            | Error::PlatformUnavailable { .. }
            | Error::ShuttingDown
            | Error::DeadlineExceeded => Self::Unavailable,
            _ => Self::Failed,
        }
    }

    fn of_start(error: &StartError) -> Self {
        match error {
            StartError::Config(_) | StartError::Keys(_) | StartError::Serve(ServeError::Tls { .. }) => Self::Config,
            StartError::Lanyard { cause } => Self::of_error(cause),
            StartError::SchemaOutdated { .. } => Self::SchemaOutdated,
            StartError::Serve(_) | StartError::Admin(_) | StartError::Signals(_) => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command failed. Holds no secret.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// The error of a server.
    pub(crate) refusal: Option<Box<lanyard_client::Error>>,
    /// The error of Micetro.
    pub(crate) micetro: Option<Box<MicetroError>>,
}

/// The result of a command.
pub(crate) type Outcome = Result<Exit, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), refusal: None, micetro: None }
    }

    pub(crate) fn is(&self, reason: ErrorReason) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.reason == reason)
    }
}

impl From<lanyard_client::Error> for Failure {
    fn from(error: lanyard_client::Error) -> Self {
        let (exit, message) = (Exit::of_code(error.code), error.message.clone());
        Self { refusal: Some(Box::new(error)), ..Self::new(exit, message) }
    }
}

impl From<MicetroError> for Failure {
    fn from(error: MicetroError) -> Self {
        if let Some(refusal) = error.lanyard() {
            return refusal.clone().into();
        }
        let exit = Exit::of_micetro(&error);
        Self { exit, message: error.message.clone(), refusal: None, micetro: Some(Box::new(error)) }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let exit = match error {
            ConnectError::Unreachable(_) | ConnectError::TimedOut => Exit::Unavailable,
            _ => Exit::Config,
        };
        Self::new(exit, with_sources(&error))
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::new(Exit::of_start(&error), error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        StartError::from(error).into()
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        StartError::from(error).into()
    }
}

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        StartError::from(error).into()
    }
}

impl From<ZatoError> for Failure {
    fn from(error: ZatoError) -> Self {
        let exit = match error {
            ZatoError::UnknownScheme => Exit::Usage,
            ZatoError::NotOpened { .. } => Exit::Unavailable,
            ZatoError::Unreadable { .. } | ZatoError::NotZato { .. } => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}

/// An error and its causes, without repetitions.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    for source in std::iter::successors(error.source(), |error| error.source()) {
        let source = source.to_string();
        if !said.contains(&source) {
            said.push_str(": ");
            said.push_str(&source);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_means_one_thing() {
        let mut codes: Vec<u8> = Exit::VARIANTS.iter().map(|exit| exit.code()).collect();
        codes.dedup();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 78]);
    }

    #[test]
    fn a_refusal_of_the_server_has_the_code_of_its_kind() {
        for (code, exit) in [
            (Code::Unauthenticated, 3),
            (Code::PermissionDenied, 4),
            (Code::NotFound, 5),
            (Code::Unavailable, 6),
            (Code::DeadlineExceeded, 6),
            (Code::InvalidArgument, 1),
            (Code::ResourceExhausted, 1),
            (Code::Internal, 1),
        ] {
            assert_eq!(Exit::of_code(code).code(), exit, "{code:?}");
        }
    }

    #[test]
    fn a_failure_of_this_machine_has_the_code_of_its_kind() {
        let of = |failure: Failure| failure.exit.code();
        assert_eq!(of(Error::UserNotFound.into()), 5);
        assert_eq!(of(Error::UsernameTaken.into()), 1);
        assert_eq!(of(Error::store_unavailable("away").into()), 6);
        assert_eq!(of(ConfigError::Unreadable("no".into()).into()), 78);
        assert_eq!(of(StartError::SchemaOutdated { pending: 1 }.into()), 9);
        assert_eq!(of(KeyringError::Content { path: "x".into(), problem: "y".into() }.into()), 78);
        assert_eq!(of(std::io::Error::other("disk").into()), 1);
    }

    #[test]
    fn the_operator_reads_what_the_database_said() {
        let failure = Failure::from(Error::store_unavailable("connection refused"));
        assert_eq!(failure.message, "the database is unavailable: connection refused");
    }
}
