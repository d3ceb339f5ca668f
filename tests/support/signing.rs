//! Signing of JSON web tokens, good ones and all others: header and claims are what the test says.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use ring::rand::SystemRandom;
use ring::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair};
use ring::{hmac, signature};
use serde_json::{Value, json};

/// A key of 2048 bits that protects nothing: making one takes long.
const RSA: &str = include_str!("rsa.pem");

/// Who signs tokens.
pub enum Signer {
    Secret(Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair, rcgen::KeyPair),
    P384(EcdsaKeyPair, rcgen::KeyPair),
    Ed25519(Ed25519KeyPair, rcgen::KeyPair),
}

impl Signer {
    /// # Panics
    /// Never; the same holds for all that makes a signer.
    pub fn rsa() -> Self {
        let lines = RSA.lines().filter(|line| !line.starts_with("-----"));
        let der = STANDARD.decode(lines.collect::<String>()).expect("PEM is base64");
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(&der).expect("an RSA key")))
    }

    /// A new key.
    ///
    /// # Panics
    /// Never.
    pub fn p256() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.serialized_der(), &SystemRandom::new());
        Self::P256(pair.expect("a key"), key)
    }

    /// A new key.
    ///
    /// # Panics
    /// Never.
    pub fn p384() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
        let algorithm = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.serialized_der(), &SystemRandom::new());
        Self::P384(pair.expect("a key"), key)
    }

    /// A new key.
    ///
    /// # Panics
    /// Never.
    pub fn ed25519() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.serialized_der()).expect("a key");
        Self::Ed25519(pair, key)
    }

    /// The public key in PEM.
    ///
    /// # Panics
    /// If there is none.
    pub fn pem(&self) -> String {
        match self {
            Self::P256(_, key) | Self::P384(_, key) | Self::Ed25519(_, key) => key.public_key_pem(),
            Self::Secret(_) | Self::Rsa(_) => panic!("not in PEM here"),
        }
    }

    /// The public key as a JWK.
    ///
    /// # Panics
    /// If there is none.
    pub fn jwk(&self, key_id: &str) -> Value {
        let text = |bytes: &[u8]| BASE64.encode(bytes);
        let ec = |curve: &str, point: &[u8]| {
            let (x, y) = point[1..].split_at(point.len() / 2);
            json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
        };
        let mut jwk = match self {
            Self::Secret(_) => panic!("a shared secret has no public key"),
            Self::Rsa(pair) => {
                let public = signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "n": text(&public.n), "e": text(&public.e) })
            }
            Self::P256(pair, _) => ec("P-256", pair.public_key().as_ref()),
            Self::P384(pair, _) => ec("P-384", pair.public_key().as_ref()),
            Self::Ed25519(pair, _) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
        };
        if !key_id.is_empty() {
            jwk["kid"] = key_id.into();
        }
        jwk
    }

    /// A token whose header is signed as it stands there, whatever `alg` it names; a shared secret and RSA sign by it.
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = self.signature(header["alg"].as_str().unwrap_or_default(), signed.as_bytes());
        format!("{signed}.{}", BASE64.encode(signature))
    }

    fn signature(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Secret(secret) => {
                let algorithm = match algorithm {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
            }
            Self::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).expect("RSA signs");
                signature
            }
            Self::P256(pair, _) | Self::P384(pair, _) => {
                pair.sign(&random, message).expect("it signs").as_ref().to_vec()
            }
            Self::Ed25519(pair, _) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// What is signed: header and claims.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    [header, claims].map(|part| BASE64.encode(part.to_string())).join(".")
}

/// A JWK set.
pub fn jwk_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
