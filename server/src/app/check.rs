//! The error of checking a credential, of any kind.

use crate::crypto::jwt::TokenProblem;
use crate::error::Error;
use crate::model::audit::Reason;

/// Why a credential, or its user, was not accepted.
pub(in crate::app) enum CheckError {
    /// Refused. The reason goes to the audit trail only; the caller gets `LOGIN_FAILED`.
    Refused(Reason),
    /// The check itself failed.
    Other(Error),
}

impl From<Reason> for CheckError {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

impl From<TokenProblem> for CheckError {
    fn from(problem: TokenProblem) -> Self {
        Self::Refused(reason(problem))
    }
}

impl From<Error> for CheckError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// The audit reason of an invalid token.
const fn reason(problem: TokenProblem) -> Reason {
    match problem {
        TokenProblem::TooLong => Reason::TokenTooLong,
        TokenProblem::Unreadable => Reason::TokenUnreadable,
        TokenProblem::CriticalHeader => Reason::TokenCriticalHeader,
        TokenProblem::AlgorithmNotAllowed => Reason::AlgorithmNotAllowed,
        TokenProblem::KeyUnknown => Reason::UnknownKey,
        TokenProblem::WrongSignature => Reason::WrongSignature,
        TokenProblem::WrongIssuer => Reason::WrongIssuer,
        TokenProblem::WrongSubject => Reason::WrongSubject,
        TokenProblem::WrongAudience => Reason::WrongAudience,
        TokenProblem::WithoutExpiry => Reason::TokenWithoutExpiry,
        TokenProblem::Expired => Reason::TokenExpired,
        TokenProblem::NotYetValid => Reason::TokenNotYetValid,
    }
}
