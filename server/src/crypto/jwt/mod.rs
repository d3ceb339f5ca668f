//! JSON Web Tokens: parses them, and verifies signature, issuer, subject, audience and times.
//!
//! The library decodes and verifies; keys and time come from us, never from the token. The headers `jku`, `jwk`, `x5u`
//! and `x5c` are ignored; a token with `crit` is refused.

mod backend;
mod keys;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Number;

use crate::clock::Time;

pub use jsonwebtoken::{Algorithm, AlgorithmFamily};
pub use keys::{KeysError, PublicKeys};

/// Length limit of a token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// All algorithms, in the order of the contract.
const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// The algorithm of this name; `none` is not supported.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

pub fn algorithm_name(algorithm: Algorithm) -> &'static str {
    ALGORITHMS.iter().find(|(_, known)| *known == algorithm).map_or("", |(name, _)| name)
}

/// Minimum length of a shared secret, in bytes: that of the hash (RFC 7518, section 3.2).
pub fn shortest_secret(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        _ => 32,
    }
}

/// Why a token is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    TooLong,
    Unreadable,
    CriticalHeader,
    AlgorithmNotAllowed,
    KeyUnknown,
    WrongSignature,
    WrongIssuer,
    WrongSubject,
    WrongAudience,
    WithoutExpiry,
    Expired,
    NotYetValid,
}

/// What a valid token must have.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub subject: &'a str,
    pub audience: &'a str,
    pub algorithms: &'a [Algorithm],
    pub clock_skew: Duration,
}

/// The keys to verify a signature.
#[derive(Clone, Copy)]
pub enum VerifyWith<'a> {
    Secret(&'a [u8]),
    Keys(&'a PublicKeys),
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: Option<Number>,
    nbf: Option<Number>,
}

/// A token that was parsed but not verified: use it only to find the key to verify it with.
pub struct UnverifiedToken<'a> {
    token: &'a str,
    head: Head,
    claims: Claims,
}

impl<'a> UnverifiedToken<'a> {
    pub fn read(token: &'a str) -> Result<Self, TokenProblem> {
        if token.len() > MAX_TOKEN {
            return Err(TokenProblem::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(head), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(TokenProblem::Unreadable);
        };
        let head: Head = read_part(head)?;
        if head.crit.is_some() {
            return Err(TokenProblem::CriticalHeader);
        }
        Ok(Self { token, head, claims: read_part(claims)? })
    }

    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    pub fn subject(&self) -> &str {
        &self.claims.sub
    }

    /// The ID of the key that it claims to be signed with.
    pub fn key_id(&self) -> Option<&str> {
        self.head.kid.as_deref()
    }

    /// The algorithm that it claims to be signed with, if that is one of these.
    pub fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, TokenProblem> {
        algorithm(&self.head.alg).filter(|named| allowed.contains(named)).ok_or(TokenProblem::AlgorithmNotAllowed)
    }

    /// Verifies signature, claims and times.
    pub fn verify(&self, expected: Expected<'_>, with: VerifyWith<'_>, now: Time) -> Result<(), TokenProblem> {
        let algorithm = self.algorithm(expected.algorithms)?;
        match with {
            VerifyWith::Secret(_) if algorithm.family() != AlgorithmFamily::Hmac => {
                return Err(TokenProblem::AlgorithmNotAllowed);
            }
            VerifyWith::Secret(secret) => self.verify_with(&DecodingKey::from_secret(secret), expected, algorithm)?,
            VerifyWith::Keys(keys) => {
                let tried = keys.candidates(algorithm, self.key_id());
                let outcomes = tried.map(|key| self.verify_with(key, expected, algorithm));
                // Any outcome but a wrong signature is final: no other key has made this signature.
                let outcome = outcomes.reduce(|before, outcome| match before {
                    Err(TokenProblem::WrongSignature) => outcome,
                    decided => decided,
                });
                outcome.unwrap_or(Err(TokenProblem::KeyUnknown))?;
            }
        }
        self.check_times(expected.clock_skew, now)
    }

    fn verify_with(&self, key: &DecodingKey, expected: Expected<'_>, algorithm: Algorithm) -> Result<(), TokenProblem> {
        backend::install();
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["iss", "sub", "aud"]);
        validation.set_issuer(&[expected.issuer]);
        validation.set_audience(&[expected.audience]);
        validation.sub = Some(expected.subject.to_owned());
        // The library reads the system clock; `check_times` uses ours.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        match jsonwebtoken::decode::<Claims>(self.token, key, &validation) {
            Ok(_) => Ok(()),
            Err(error) => Err(problem(error.kind())),
        }
    }

    /// Valid from `nbf` until before `exp`, plus clock skew.
    fn check_times(&self, clock_skew: Duration, now: Time) -> Result<(), TokenProblem> {
        let expires_at = self.claims.exp.as_ref().ok_or(TokenProblem::WithoutExpiry)?;
        let expires_at = time(expires_at).ok_or(TokenProblem::Unreadable)?;
        if now >= expires_at + clock_skew {
            return Err(TokenProblem::Expired);
        }
        let not_before = self.claims.nbf.as_ref().map(|number| time(number).ok_or(TokenProblem::Unreadable));
        match not_before.transpose()? {
            Some(not_before) if now + clock_skew < not_before => Err(TokenProblem::NotYetValid),
            _ => Ok(()),
        }
    }
}

fn read_part<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, TokenProblem> {
    let bytes = BASE64.decode(part).map_err(|_| TokenProblem::Unreadable)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenProblem::Unreadable)
}

fn problem(kind: &ErrorKind) -> TokenProblem {
    match kind {
        ErrorKind::InvalidSignature => TokenProblem::WrongSignature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => TokenProblem::AlgorithmNotAllowed,
        ErrorKind::InvalidIssuer => TokenProblem::WrongIssuer,
        ErrorKind::InvalidSubject => TokenProblem::WrongSubject,
        ErrorKind::InvalidAudience => TokenProblem::WrongAudience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenProblem::WrongAudience,
        _ => TokenProblem::Unreadable,
    }
}

/// A `NumericDate` (RFC 7519). `None` if negative or too large for a `Duration`; otherwise saturates.
fn time(seconds: &Number) -> Option<Time> {
    let duration = match seconds.as_u64() {
        Some(whole) => Duration::from_secs(whole),
        None => Duration::try_from_secs_f64(seconds.as_f64()?).ok()?,
    };
    Some(Time::default() + duration)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
