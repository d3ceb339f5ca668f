//! Public keys of token issuers: read from PEM or a JWK set, stored as a JWK set.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::{Value, json};
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_SIG_ED25519};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as SpkiKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Maximum keys of a definition.
const MAX_GIVEN: usize = 32;
/// Maximum keys of a fetched set; the rest are ignored.
const MAX_FETCHED: usize = 128;
/// Maximum keys tried for one token: verifying is expensive.
const MAX_TRIED: usize = 16;
/// Length limit of a `kid`, in bytes.
const MAX_KEY_ID: usize = 256;
/// Bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Members of private and shared keys only (RFC 7518, section 6).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Why a text is not a set of public keys. Never quotes the text: it may be a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error("is neither a JWK set nor PEM with `PUBLIC KEY` or `CERTIFICATE` blocks")]
    Unreadable,
    #[error(
        "has a private or shared key, which nobody but its owner may have: replace that key, and send the public one"
    )]
    Private,
    #[error("has a key that cannot be used: RSA, EC on P-256 or P-384, and Ed25519 can, for signatures")]
    Unsupported,
    #[error("has an RSA key of less than 2048 or more than 8192 bits")]
    RsaSize,
    #[error("must have 1 to 32 keys")]
    Count,
}

/// What a key can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyType {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeyType {
    fn fits(self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa => algorithm.family() == AlgorithmFamily::Rsa,
            Self::P256 => algorithm == Algorithm::ES256,
            Self::P384 => algorithm == Algorithm::ES384,
            Self::Ed25519 => algorithm == Algorithm::EdDSA,
        }
    }
}

struct PublicKey {
    key_type: KeyType,
    key_id: Option<String>,
    /// The only algorithm that it may be used with.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
    /// Only the members needed to verify.
    jwk: Value,
}

/// A set of public keys.
pub struct PublicKeys(Vec<PublicKey>);

impl PublicKeys {
    /// Parses a definition's keys: each must be usable.
    pub fn read(text: &str) -> Result<Self, KeysError> {
        // Before parsing, so that even a damaged private key is reported as one.
        if text.contains("PRIVATE KEY") {
            return Err(KeysError::Private);
        }
        let keys = if text.contains("-----BEGIN") { from_pem(text)? } else { from_jwk_set(text)? };
        if keys.is_empty() || keys.len() > MAX_GIVEN {
            return Err(KeysError::Count);
        }
        Ok(Self(keys))
    }

    /// Parses a fetched JWK set. Unusable keys are ignored (RFC 7517, section 5).
    pub fn fetched(bytes: &[u8]) -> Result<Self, KeysError> {
        let set: JwkSet = serde_json::from_slice(bytes).map_err(|_| KeysError::Unreadable)?;
        Ok(Self(set.keys.iter().take(MAX_FETCHED).filter_map(|jwk| from_jwk(jwk).ok()).collect()))
    }

    /// As it is stored and shown.
    pub fn to_jwk_set(&self) -> String {
        let keys: Vec<&Value> = self.0.iter().map(|key| &key.jwk).collect();
        json!({ "keys": keys }).to_string()
    }

    /// Whether a key may have signed a token with this algorithm and `kid`.
    pub fn knows(&self, algorithm: Algorithm, key_id: Option<&str>) -> bool {
        self.candidates(algorithm, key_id).next().is_some()
    }

    /// The keys that may have signed a token. A key without `kid` matches any token, and a token without `kid` any key.
    pub(super) fn candidates(&self, algorithm: Algorithm, key_id: Option<&str>) -> impl Iterator<Item = &DecodingKey> {
        self.0
            .iter()
            .filter(move |key| key.key_type.fits(algorithm) && key.algorithm.is_none_or(|only| only == algorithm))
            .filter(move |key| key_id.is_none() || key.key_id.is_none() || key.key_id.as_deref() == key_id)
            .take(MAX_TRIED)
            .map(|key| &key.key)
    }
}

#[derive(serde::Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

fn from_jwk_set(text: &str) -> Result<Vec<PublicKey>, KeysError> {
    let set: JwkSet = serde_json::from_str(text).map_err(|_| KeysError::Unreadable)?;
    if set.keys.len() > MAX_GIVEN {
        return Err(KeysError::Count);
    }
    let is_private = |jwk: &Value| PRIVATE_MEMBERS.iter().any(|member| jwk.get(member).is_some());
    if set.keys.iter().any(is_private) {
        return Err(KeysError::Private);
    }
    set.keys.iter().map(from_jwk).collect()
}

/// The key of a JWK, if it can verify signatures.
fn from_jwk(value: &Value) -> Result<PublicKey, KeysError> {
    let jwk: Jwk = serde_json::from_value(value.clone()).map_err(|_| KeysError::Unsupported)?;
    let common = &jwk.common;
    let is_for_signatures = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    if !is_for_signatures {
        return Err(KeysError::Unsupported);
    }
    let bytes = |text: &str| BASE64.decode(text).map_err(|_| KeysError::Unsupported);
    let numbers = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => Numbers::Rsa { n: bytes(&rsa.n)?, e: bytes(&rsa.e)? },
        AlgorithmParameters::EllipticCurve(ec) => Numbers::Ec(ec.curve.clone(), bytes(&ec.x)?, bytes(&ec.y)?),
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Numbers::Ed(bytes(&pair.x)?),
        _ => return Err(KeysError::Unsupported),
    };
    let mut key = numbers.key()?;
    if let Some(key_id) = jwk.common.key_id.filter(|key_id| !key_id.is_empty()) {
        if key_id.len() > MAX_KEY_ID {
            return Err(KeysError::Unsupported);
        }
        key.jwk["kid"] = key_id.as_str().into();
        key.key_id = Some(key_id);
    }
    if let Some(name) = value.get("alg") {
        let algorithm = name.as_str().and_then(super::algorithm).filter(|algorithm| key.key_type.fits(*algorithm));
        key.algorithm = Some(algorithm.ok_or(KeysError::Unsupported)?);
        key.jwk["alg"] = name.clone();
    }
    Ok(key)
}

fn from_pem(text: &str) -> Result<Vec<PublicKey>, KeysError> {
    Pem::iter_from_buffer(text.as_bytes())
        .take(MAX_GIVEN + 1)
        .map(|block| {
            let block = block.map_err(|_| KeysError::Unreadable)?;
            match block.label.as_str() {
                "PUBLIC KEY" => {
                    let (_, spki) =
                        SubjectPublicKeyInfo::from_der(&block.contents).map_err(|_| KeysError::Unreadable)?;
                    from_spki(&spki)
                }
                "CERTIFICATE" => {
                    let certificate = block.parse_x509().map_err(|_| KeysError::Unreadable)?;
                    from_spki(&certificate.tbs_certificate.subject_pki)
                }
                _ => Err(KeysError::Unreadable),
            }
        })
        .collect()
}

fn from_spki(spki: &SubjectPublicKeyInfo<'_>) -> Result<PublicKey, KeysError> {
    let point = |curve, point: &[u8]| match point {
        [4, coordinates @ ..] if coordinates.len().is_multiple_of(2) => {
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            Ok(Numbers::Ec(curve, x.to_vec(), y.to_vec()))
        }
        _ => Err(KeysError::Unsupported),
    };
    let named_curve = spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let numbers = match spki.parsed().map_err(|_| KeysError::Unreadable)? {
        SpkiKey::RSA(rsa) => Numbers::Rsa { n: rsa.modulus.to_vec(), e: rsa.exponent.to_vec() },
        SpkiKey::EC(ec) if named_curve == Some(OID_EC_P256) => point(EllipticCurve::P256, ec.data())?,
        SpkiKey::EC(ec) if named_curve == Some(OID_NIST_EC_P384) => point(EllipticCurve::P384, ec.data())?,
        SpkiKey::Unknown(bytes) if spki.algorithm.algorithm == OID_SIG_ED25519 => Numbers::Ed(bytes.to_vec()),
        _ => return Err(KeysError::Unsupported),
    };
    numbers.key()
}

/// The numbers of a key, from any format.
enum Numbers {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec(EllipticCurve, Vec<u8>, Vec<u8>),
    Ed(Vec<u8>),
}

impl Numbers {
    fn key(self) -> Result<PublicKey, KeysError> {
        let text = |bytes: &[u8]| BASE64.encode(bytes);
        let (key_type, key, jwk) = match self {
            Self::Rsa { n, e } => {
                let (n, e) = (without_leading_zeros(&n), without_leading_zeros(&e));
                if !RSA_BITS.contains(&bits(n)) {
                    return Err(KeysError::RsaSize);
                }
                let jwk = json!({ "kty": "RSA", "n": text(n), "e": text(e) });
                (KeyType::Rsa, Ok(DecodingKey::from_rsa_raw_components(n, e)), jwk)
            }
            Self::Ec(curve, x, y) => {
                let (key_type, name, length) = match curve {
                    EllipticCurve::P256 => (KeyType::P256, "P-256", 32),
                    EllipticCurve::P384 => (KeyType::P384, "P-384", 48),
                    _ => return Err(KeysError::Unsupported),
                };
                if [x.len(), y.len()] != [length; 2] {
                    return Err(KeysError::Unsupported);
                }
                let (x, y) = (text(&x), text(&y));
                (key_type, DecodingKey::from_ec_components(&x, &y), json!({ "kty": "EC", "crv": name, "x": x, "y": y }))
            }
            Self::Ed(x) if x.len() == 32 => {
                let x = text(&x);
                let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
                (KeyType::Ed25519, DecodingKey::from_ed_components(&x), jwk)
            }
            Self::Ed(_) => return Err(KeysError::Unsupported),
        };
        let key = key.map_err(|_| KeysError::Unsupported)?;
        Ok(PublicKey { key_type, key_id: None, algorithm: None, key, jwk })
    }
}

/// DER prepends a zero if the first bit is set.
fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
