//! Secrets: tokens and their keyed hashes, the key ring, sealing, passwords. The only room that draws randomness.
//!
//! A type here that holds a secret cannot print it.

mod keyring;
mod password;
mod seal;
mod token;

pub use keyring::{KeyPurpose, Keyring, KeyringError};
pub use password::{PasswordHash, PasswordHasher, PasswordMatch, PasswordParams};
pub use seal::SealError;
pub use token::{Token, TokenHash, TokenKind, TokenRef};

/// Random bytes from the operating system.
///
/// # Panics
/// If the operating system has none to give: nothing that Lanyard does is safe then.
#[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
