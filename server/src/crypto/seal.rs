//! Sealing: XChaCha20-Poly1305, with the key ID in the envelope and the value's place as associated data, so that a
//! sealed value that is moved to another row does not open.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use super::keyring::{Key, KeyPurpose, Keyring};
use super::random_bytes;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 2;
const NONCE_LEN: usize = 24;
const HEADER_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;

/// Why a value did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("a sealed value is damaged or belongs elsewhere")]
    Damaged,
    #[error("a sealed value needs seal key {0}, which is not in the key file")]
    KeyMissing(u16),
}

impl Keyring {
    /// Seals under the current key. Layout: version, key ID, nonce, ciphertext.
    pub fn seal(&self, place: &[&[u8]], plaintext: &[u8]) -> Vec<u8> {
        let key = self.current(KeyPurpose::Seal);
        let nonce: [u8; NONCE_LEN] = random_bytes();
        let aad = associated_data(key.id, place);
        let ciphertext = cipher(key)
            .encrypt(&XNonce::from(nonce), Payload { msg: plaintext, aad: &aad })
            .expect("a plaintext of less than 256 GiB can be sealed");
        let mut sealed = Vec::with_capacity(HEADER_LEN + ciphertext.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&key.id.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        sealed
    }

    /// Opens a value sealed for the same `place`.
    pub fn open(&self, place: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (header, ciphertext) = sealed.split_at_checked(HEADER_LEN).ok_or(SealError::Damaged)?;
        if header[0] != VERSION {
            return Err(SealError::Damaged);
        }
        let key_id = u16::from_be_bytes([header[1], header[2]]);
        let key = self.find(KeyPurpose::Seal, key_id).ok_or(SealError::KeyMissing(key_id))?;
        let nonce: [u8; NONCE_LEN] = header[1 + KEY_ID_LEN..].try_into().map_err(|_| SealError::Damaged)?;
        let aad = associated_data(key_id, place);
        cipher(key)
            .decrypt(&XNonce::from(nonce), Payload { msg: ciphertext, aad: &aad })
            .map_err(|_| SealError::Damaged)
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&key.secret().into())
}

/// Length-prefixes each part, so that no two places encode alike.
fn associated_data(key_id: u16, place: &[&[u8]]) -> Vec<u8> {
    let mut data = key_id.to_be_bytes().to_vec();
    for part in place {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;

    #[test]
    fn a_sealed_value_opens_in_its_own_place_only() {
        let ring = Keyring::generate(Time::default());
        let sealed = ring.seal(&[b"attribute", b"alice", b"phone"], b"+49");
        assert_eq!(ring.open(&[b"attribute", b"alice", b"phone"], &sealed).unwrap(), b"+49");
        for elsewhere in [&[&b"attribute"[..], b"bob", b"phone"][..], &[b"attribute", b"alicep", b"hone"], &[]] {
            assert_eq!(ring.open(elsewhere, &sealed), Err(SealError::Damaged));
        }
    }

    #[test]
    fn any_changed_byte_is_noticed_and_a_missing_key_is_named() {
        let mut ring = Keyring::generate(Time::default());
        let sealed = ring.seal(&[b"p"], b"secret");
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert!(ring.open(&[b"p"], &changed).is_err(), "byte {position}");
        }
        ring.rotate(KeyPurpose::Seal, Time::default());
        assert_eq!(ring.open(&[b"p"], &sealed).unwrap(), b"secret", "an older key still opens");
        let other = Keyring::generate(Time::default());
        assert!(other.open(&[b"p"], &sealed).is_err());
        assert_eq!(other.open(&[b"p"], &ring.seal(&[b"p"], b"x")), Err(SealError::KeyMissing(2)));
    }
}
