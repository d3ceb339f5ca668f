//! The crypto backend of `jsonwebtoken`: ring, which TLS uses too. It verifies only; nothing here signs.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use ring::{error::Unspecified, hmac};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Installs it for this process; later calls have no effect.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Checks the family: otherwise a public key could pass as an HMAC secret.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as the library calls it")]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.clone() }))
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match (self.algorithm, self.key.kind()) {
            (algorithm, DecodingKeyKind::RsaModulusExponent { n, e }) => match rsa(algorithm) {
                Some(parameters) => RsaPublicKeyComponents { n, e }.verify(parameters, message, signature),
                None => Err(Unspecified),
            },
            (algorithm, DecodingKeyKind::SecretOrDer(bytes)) => match (hash(algorithm), curve(algorithm)) {
                (Some(hash), _) => hmac::verify(&hmac::Key::new(hash, bytes), message, signature),
                (None, Some(curve)) => UnparsedPublicKey::new(curve, bytes).verify(message, signature),
                (None, None) => Err(Unspecified),
            },
        };
        verified.map_err(|Unspecified| signature::Error::new())
    }
}

fn hash(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

fn curve(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    match algorithm {
        Algorithm::ES256 => Some(&ring::signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Some(&ring::signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Some(&ring::signature::ED25519),
        _ => None,
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&ring::signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&ring::signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&ring::signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&ring::signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&ring::signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&ring::signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}
