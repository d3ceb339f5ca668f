//! Verification material of definitions (secret, public keys or their URL): as received, as used and as stored.

use zeroize::Zeroizing;

use super::DefinitionSecret;
use crate::app::App;
use crate::app::user::password::Password;
use crate::clock::Time;
use crate::crypto::jwt::{Algorithm, AlgorithmFamily, PublicKeys, shortest_secret};
use crate::crypto::{Keyring, PasswordHash};
use crate::error::{Error, Result};
use crate::model::definition::MaterialSource;
use crate::model::session::AuthType;
use crate::store::DefinitionRow;

const MIN_SECRET: usize = 12;
/// Maximum length of a secret, in bytes.
pub(in crate::app) const MAX_SECRET: usize = 1024;
/// Maximum length of a set of public keys, in bytes.
const MAX_KEYS: usize = 64 * 1024;

/// The columns it is stored in. A sealed secret is bound to its column.
const CURRENT: &[u8] = b"material";
const PREVIOUS: &[u8] = b"previous_material";

/// What a credential is verified with.
pub(in crate::app) enum Material {
    /// The password hash of basic auth.
    Hash(PasswordHash),
    /// The shared secret of tokens with an HS algorithm.
    Shared(Zeroizing<Vec<u8>>),
    /// A JWK set.
    Keys(String),
    /// The URL of a JWK set.
    Url(String),
}

impl Material {
    const fn source(&self) -> MaterialSource {
        match self {
            Self::Hash(_) => MaterialSource::Hash,
            Self::Shared(_) => MaterialSource::SharedSecret,
            Self::Keys(_) => MaterialSource::KeySet,
            Self::Url(_) => MaterialSource::KeySetUrl,
        }
    }

    /// The stored form. A sealed secret is bound to the ID of its definition.
    fn store(&self, keyring: &Keyring, auth_id: i64, column: &[u8]) -> Vec<u8> {
        match self {
            Self::Hash(hash) => hash.0.clone().into_bytes(),
            Self::Shared(secret) => keyring.seal(&seal_context(&auth_id.to_be_bytes(), column), secret),
            Self::Keys(text) | Self::Url(text) => text.clone().into_bytes(),
        }
    }

    fn read(keyring: &Keyring, auth_id: i64, column: &[u8], source: MaterialSource, stored: &[u8]) -> Result<Self> {
        let text = || String::from_utf8(stored.to_vec()).map_err(|_| Error::internal("a stored key is not UTF-8"));
        Ok(match source {
            MaterialSource::Hash => Self::Hash(PasswordHash(text()?)),
            MaterialSource::SharedSecret => {
                let secret =
                    keyring.open(&seal_context(&auth_id.to_be_bytes(), column), stored).map_err(Error::internal)?;
                Self::Shared(Zeroizing::new(secret))
            }
            MaterialSource::KeySet => Self::Keys(text()?),
            MaterialSource::KeySetUrl => Self::Url(text()?),
            MaterialSource::Other(_) => return Err(Error::internal("a definition has keys of an unknown kind")),
        })
    }

    pub(super) fn current(keyring: &Keyring, row: &DefinitionRow) -> Result<Self> {
        Self::read(keyring, row.auth_id, CURRENT, row.source, &row.material)
    }

    /// The material from before the last rotation, while it is still accepted.
    fn previous(keyring: &Keyring, row: &DefinitionRow, now: Time) -> Result<Option<Self>> {
        let (Some(source), Some(stored), Some(_)) = (row.previous_source, &row.previous_material, overlap_of(row, now))
        else {
            return Ok(None);
        };
        Self::read(keyring, row.auth_id, PREVIOUS, source, stored).map(Some)
    }

    /// All material that is accepted at `now`, newest first.
    pub(in crate::app) fn accepted(keyring: &Keyring, row: &DefinitionRow, now: Time) -> Result<Vec<Self>> {
        let current = Self::current(keyring, row)?;
        Ok([Some(current), Self::previous(keyring, row, now)?].into_iter().flatten().collect())
    }

    /// Stores the material in the row, which must already have its ID.
    pub(in crate::app) fn store_in(&self, keyring: &Keyring, row: &mut DefinitionRow) {
        row.source = self.source();
        row.material = self.store(keyring, row.auth_id, CURRENT);
    }

    /// As [`Self::store_in`]; the current material stays valid until `until`, older material is dropped.
    pub(super) fn replace(&self, keyring: &Keyring, row: &mut DefinitionRow, until: Option<Time>) -> Result<()> {
        let before = until.map(|until| Ok::<_, Error>((Self::current(keyring, row)?, until))).transpose()?;
        row.previous_source = before.as_ref().map(|(material, _)| material.source());
        row.previous_material = before.as_ref().map(|(material, _)| material.store(keyring, row.auth_id, PREVIOUS));
        row.previous_until = before.map(|(_, until)| until);
        self.store_in(keyring, row);
        Ok(())
    }

    /// Fails on `field` if it cannot verify tokens with these algorithms. Keys at a URL are unknown until fetched, so
    /// they are not checked.
    pub(in crate::app) fn check_algorithms(&self, field: &'static str, algorithms: &[Algorithm]) -> Result<()> {
        let problem = |problem: String| Err(Error::invalid(field, problem));
        for algorithm in algorithms {
            let name = crate::crypto::jwt::algorithm_name(*algorithm);
            let is_shared = algorithm.family() == AlgorithmFamily::Hmac;
            match self {
                Self::Hash(_) => return problem("a basic_auth definition has none".to_owned()),
                Self::Shared(_) if !is_shared => {
                    return problem(format!("{name} needs public keys, not a shared secret"));
                }
                Self::Shared(secret) if secret.len() < shortest_secret(*algorithm) => {
                    let shortest = shortest_secret(*algorithm);
                    return problem(format!("{name} needs a shared secret of at least {shortest} bytes"));
                }
                Self::Keys(_) | Self::Url(_) if is_shared => {
                    return problem(format!("{name} needs a shared secret, not public keys"));
                }
                Self::Keys(set) if !stored_keys(set)?.knows(*algorithm, None) => {
                    return problem(format!("none of the public keys is for {name}"));
                }
                Self::Shared(_) | Self::Keys(_) | Self::Url(_) => {}
            }
        }
        Ok(())
    }
}

/// Until when the material from before the last rotation is accepted.
pub(super) fn overlap_of(row: &DefinitionRow, now: Time) -> Option<Time> {
    row.previous_until.filter(|until| now < *until)
}

/// Parses a stored JWK set.
pub(in crate::app) fn stored_keys(set: &str) -> Result<PublicKeys> {
    PublicKeys::read(set).map_err(|problem| Error::internal(format!("a stored JWK set {problem}")))
}

fn seal_context<'a>(auth_id: &'a [u8], column: &'a [u8]) -> [&'a [u8]; 3] {
    [b"definition", auth_id, column]
}

impl App {
    /// Validates received material and converts it.
    pub(in crate::app) async fn material(&self, auth_type: AuthType, secret: DefinitionSecret) -> Result<Material> {
        match (auth_type, secret) {
            (AuthType::BasicAuth, DefinitionSecret::Secret(secret)) => {
                check_length(&secret, MIN_SECRET)?;
                self.parts.hasher.hash(secret).await.map(Material::Hash)
            }
            (AuthType::BasicAuth, _) => Err(Error::invalid("secret", "must be `secret` in a basic_auth definition")),
            (_, DefinitionSecret::Secret(secret)) => {
                // The minimum depends on the algorithms.
                check_length(&secret, 1)?;
                Ok(Material::Shared(Zeroizing::new(secret.as_bytes().to_vec())))
            }
            (_, DefinitionSecret::PublicKeys(text)) => {
                if text.len() > MAX_KEYS {
                    return Err(Error::invalid("secret.public_keys", "is longer than 64 KiB"));
                }
                let keys = PublicKeys::read(&text);
                let keys = keys.map_err(|problem| Error::invalid("secret.public_keys", problem.to_string()))?;
                Ok(Material::Keys(keys.to_jwk_set()))
            }
            (_, DefinitionSecret::JwksUrl(url)) => match self.parts.jwks.check_url(&url) {
                Ok(()) => Ok(Material::Url(url)),
                Err(problem) => Err(Error::invalid("secret.jwks_url", problem)),
            },
        }
    }
}

fn check_length(secret: &Password, shortest: usize) -> Result<()> {
    if (shortest..=MAX_SECRET).contains(&secret.len()) {
        return Ok(());
    }
    Err(Error::invalid("secret.secret", format!("must have {shortest} to {MAX_SECRET} bytes")))
}
