//! Secrets: tokens and their keyed hashes, key ring, sealing, passwords. Only this module generates secret randomness.
//!
//! Types that hold secrets do not print them.

pub mod jwt;
mod keyring;
mod password;
mod seal;
mod token;

pub use keyring::{KeyPurpose, Keyring, KeyringError, write_private};
pub use password::{HashMemory, PasswordHash, PasswordMatch, PasswordParams, check_password, hash_password};
pub use seal::SealError;
pub use token::{Token, TokenHash, TokenKind, TokenRef};
use zeroize::Zeroizing;

/// A password to be read and typed: 100 random bits, no characters that look alike.
pub fn random_password() -> Zeroizing<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes: Zeroizing<[u8; 20]> = Zeroizing::new(random_bytes());
    let mut password = Zeroizing::new(String::with_capacity(23));
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 && i % 5 == 0 {
            password.push('-');
        }
        password.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    password
}

/// Random bytes from the operating system.
///
/// # Panics
/// If the operating system provides none: nothing is safe then.
#[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_password_can_be_read_and_typed_and_is_never_the_same() {
        let (one, other) = (random_password(), random_password());
        assert_ne!(one, other);
        let groups: Vec<&str> = one.split('-').collect();
        assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [5; 4]);
        assert!(one.bytes().all(|b| b == b'-' || (b.is_ascii_alphanumeric() && !b"lo01".contains(&b))));
    }
}
