//! Verifies external credentials and finds their definition.

use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::app::App;
use crate::app::check::CheckError;
use crate::app::definition::material::{MAX_SECRET, Material, stored_keys};
use crate::app::definition::{algorithms_of, clock_skew_of};
use crate::app::throttle::Attempt;
use crate::app::user::password::Password;
use crate::crypto::jwt::{Expected, TokenProblem, UnverifiedToken, VerifyWith};
use crate::crypto::{PasswordHash, PasswordMatch};
use crate::error::{Error, Result};
use crate::model::audit::Reason;
use crate::model::session::AuthType;
use crate::store::DefinitionRow;

/// A credential of someone who logs in without a Lanyard password.
pub enum ExternalCredential {
    BasicAuth { username: String, secret: Password },
    Jwt { token: Zeroizing<String> },
}

impl ExternalCredential {
    pub(in crate::app) const fn auth_type(&self) -> AuthType {
        match self {
            Self::BasicAuth { .. } => AuthType::BasicAuth,
            Self::Jwt { .. } => AuthType::Jwt,
        }
    }
}

/// A verified external credential.
pub(in crate::app) struct ProvedExternal {
    /// As it was read. It may have changed since, so the login transaction checks it again.
    pub definition: DefinitionRow,
    /// SHA-256 of the token as received, which identifies its session; `None` with basic auth, where the definition
    /// alone identifies it.
    pub token_hash: Option<[u8; 32]>,
}

impl App {
    /// Verifies a credential and returns its active definition. Refusals count against the definition and the address.
    /// An unknown definition costs as much time as a wrong secret.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(in crate::app) async fn check_external(
        &self,
        credential: &ExternalCredential,
        remote_addr: IpAddr,
    ) -> Result<ProvedExternal, CheckError> {
        match credential {
            ExternalCredential::BasicAuth { username, secret } => {
                let attempt = self.external_attempt("throttle basic_auth", username.as_bytes(), remote_addr);
                self.parts.throttle.check(attempt, self.parts.clock.now())?;
                let checked = self.check_basic_auth(username, secret).await;
                self.count(attempt, &checked);
                Ok(ProvedExternal { definition: checked?, token_hash: None })
            }
            ExternalCredential::Jwt { token } => self.check_jwt(token, remote_addr).await,
        }
    }

    /// A separate key space: definitions and users of the same name do not share failures.
    fn external_attempt(&self, label: &str, name: &[u8], address: IpAddr) -> Attempt {
        Attempt { name: self.parts.keyring.pseudonym(label, name), address }
    }

    fn count<T>(&self, attempt: Attempt, checked: &Result<T, CheckError>) {
        let now = self.parts.clock.now();
        match checked {
            Ok(_) => self.parts.throttle.record_success(attempt, now),
            Err(CheckError::Refused(_)) => self.parts.throttle.record_failure(attempt, now),
            Err(CheckError::Other(_)) => {}
        }
    }

    async fn check_basic_auth(&self, username: &str, secret: &Password) -> Result<DefinitionRow, CheckError> {
        if secret.len() > MAX_SECRET {
            return Err(Reason::SecretTooLong.into());
        }
        let found = self.parts.store.definition_of_principal(AuthType::BasicAuth, username, "").await?;
        let accepted = match &found {
            Some(row) => Material::accepted(&self.parts.keyring, row, self.parts.clock.now())?,
            None => Vec::new(),
        };
        let matched = self.matches_one(secret, hashes(accepted)).await?;
        let row = found.ok_or(Reason::UnknownDefinition)?;
        let rehashed = match matched {
            PasswordMatch::Wrong => return Err(Reason::WrongSecret.into()),
            PasswordMatch::Right => None,
            PasswordMatch::RightRehashed(hash) => Some(hash),
        };
        if !row.is_active {
            return Err(Reason::DefinitionInactive.into());
        }
        if let Some(hash) = rehashed {
            self.store_rehashed(&row, hash).await?;
        }
        Ok(row)
    }

    /// A wrong secret always costs two hashes, whether there are none to compare with (unknown username), one, or two
    /// (during the overlap of a rotation).
    async fn matches_one(
        &self,
        secret: &Password,
        [current, previous]: [Option<PasswordHash>; 2],
    ) -> Result<PasswordMatch> {
        match self.parts.hasher.check(secret.clone(), current).await? {
            PasswordMatch::Wrong => {}
            right => return Ok(right),
        }
        match self.parts.hasher.check(secret.clone(), previous).await? {
            // The previous secret expires soon; its hash must not overwrite the current one.
            PasswordMatch::RightRehashed(_) => Ok(PasswordMatch::Right),
            outcome => Ok(outcome),
        }
    }

    /// Stores a hash of the same secret with current parameters; the version stays.
    async fn store_rehashed(&self, row: &DefinitionRow, hash: PasswordHash) -> Result<()> {
        let before = Arc::new(row.clone());
        let material = hash.0.into_bytes();
        self.parts
            .store
            .write(move |tx| {
                let (before, material) = (Arc::clone(&before), material.clone());
                Box::pin(async move {
                    match tx.lock_definition(before.auth_id).await? {
                        Some(now) if now.material == before.material => {
                            tx.update_material(&DefinitionRow { material, ..now }).await
                        }
                        _ => Ok(()),
                    }
                })
            })
            .await
    }

    async fn check_jwt(&self, token: &str, remote_addr: IpAddr) -> Result<ProvedExternal, CheckError> {
        let token_hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let unverified = UnverifiedToken::read(token);
        let attempt = match &unverified {
            Ok(token) => {
                let principal = [token.issuer(), token.subject()].join("\0");
                self.external_attempt("throttle jwt", principal.as_bytes(), remote_addr)
            }
            // It names no principal, so only the address is throttled.
            Err(_) => self.external_attempt("throttle unreadable jwt", &token_hash, remote_addr),
        };
        self.parts.throttle.check(attempt, self.parts.clock.now())?;
        let checked = match unverified {
            Ok(token) => self.check_token(&token).await,
            Err(problem) => Err(problem.into()),
        };
        self.count(attempt, &checked);
        Ok(ProvedExternal { definition: checked?, token_hash: Some(token_hash) })
    }

    async fn check_token(&self, token: &UnverifiedToken<'_>) -> Result<DefinitionRow, CheckError> {
        let store = &self.parts.store;
        let found = store.definition_of_principal(AuthType::Jwt, token.subject(), token.issuer()).await?;
        let row = found.ok_or(Reason::UnknownDefinition)?;
        if !row.is_active {
            return Err(Reason::DefinitionInactive.into());
        }
        self.verify_token(token, &row).await?;
        Ok(row)
    }

    async fn verify_token(&self, token: &UnverifiedToken<'_>, row: &DefinitionRow) -> Result<(), CheckError> {
        let algorithms = algorithms_of(row)?;
        let algorithm = token.algorithm(&algorithms)?;
        let expected = Expected {
            issuer: &row.issuer,
            subject: &row.username,
            audience: &row.audience,
            algorithms: &algorithms,
            clock_skew: clock_skew_of(row),
        };
        let now = self.parts.clock.now();
        let mut outcome = Err(TokenProblem::KeyUnknown);
        let mut unavailable = None;
        for material in Material::accepted(&self.parts.keyring, row, now)? {
            outcome = match material {
                Material::Shared(secret) => token.verify(expected, VerifyWith::Secret(&secret), now),
                Material::Keys(set) => token.verify(expected, VerifyWith::Keys(&stored_keys(&set)?), now),
                Material::Url(url) => {
                    match self.parts.jwks.keys(&url, |keys| keys.knows(algorithm, token.key_id())).await {
                        Ok(keys) => token.verify(expected, VerifyWith::Keys(&keys), now),
                        Err(error) => {
                            unavailable = Some(error);
                            continue;
                        }
                    }
                }
                Material::Hash(_) => return Err(Error::internal("a jwt definition has a hash of a secret").into()),
            };
            if outcome.is_ok() {
                return Ok(());
            }
        }
        // Validity is unknown without the keys: a fault, not a refusal.
        match unavailable {
            Some(error) => Err(error.into()),
            None => Ok(outcome?),
        }
    }
}

/// The hashes of the current and the previous secret. An empty stored hash matches nothing.
fn hashes(accepted: Vec<Material>) -> [Option<PasswordHash>; 2] {
    let mut hashes = accepted.into_iter().map(|material| match material {
        Material::Hash(hash) if !hash.0.is_empty() => Some(hash),
        _ => None,
    });
    [hashes.next().flatten(), hashes.next().flatten()]
}
