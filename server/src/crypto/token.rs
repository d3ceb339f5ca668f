//! Tokens: their format and their stored hash.
//!
//! `lyu1_` + 43 base62 characters (32 random bytes) + 6 of checksum. The prefix lets scanners find leaked tokens.
//! The checksum rejects junk and typos before any look-up; it adds no security.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::random_bytes;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX_LEN: usize = 5;
const BODY_LEN: usize = 43;
const CHECKSUM_LEN: usize = 6;
const TOKEN_LEN: usize = PREFIX_LEN + BODY_LEN + CHECKSUM_LEN;

/// What a token is for. A prefix never changes: issued tokens would stop working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The user session token.
    Ust,
    /// The API key of a caller.
    CallerKey,
}

impl TokenKind {
    const fn prefix(self) -> &'static [u8; PREFIX_LEN] {
        match self {
            Self::Ust => b"lyu1_",
            Self::CallerKey => b"lyk1_",
        }
    }
}

/// A token that we issue, to be shown once.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Token([u8; TOKEN_LEN]);

impl Token {
    /// Generates 256 random bits.
    pub fn generate(kind: TokenKind) -> Self {
        let mut secret: [u8; 32] = random_bytes();
        let mut text = [0; TOKEN_LEN];
        text[..PREFIX_LEN].copy_from_slice(kind.prefix());
        base62(&mut secret, &mut text[PREFIX_LEN..PREFIX_LEN + BODY_LEN]);
        let checksum = checksum(&text[..PREFIX_LEN + BODY_LEN]);
        text[PREFIX_LEN + BODY_LEN..].copy_from_slice(&checksum);
        secret.zeroize();
        Self(text)
    }

    /// Restores a token that was sealed as text.
    pub fn from_text(kind: TokenKind, text: &str) -> Option<Self> {
        let token = TokenRef::parse(kind, text)?;
        token.0.as_bytes().try_into().ok().map(Self)
    }

    /// The secret text, to be shown to its holder only.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base62 is ASCII")
    }

    pub fn as_ref(&self) -> TokenRef<'_> {
        TokenRef(self.expose())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// A received text in the format of a token.
#[derive(Clone, Copy)]
pub struct TokenRef<'a>(&'a str);

impl<'a> TokenRef<'a> {
    /// `None` unless length, prefix, alphabet and checksum are right.
    pub fn parse(kind: TokenKind, text: &'a str) -> Option<Self> {
        let bytes: &[u8; TOKEN_LEN] = text.as_bytes().try_into().ok()?;
        if &bytes[..PREFIX_LEN] != kind.prefix() {
            return None;
        }
        let (signed, sum) = bytes.split_at(PREFIX_LEN + BODY_LEN);
        // A checksum that matches is base62 by construction.
        let is_base62 = signed[PREFIX_LEN..].iter().all(u8::is_ascii_alphanumeric);
        (is_base62 && sum == checksum(signed)).then_some(Self(text))
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for TokenRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenRef([redacted])")
    }
}

/// The stored form of a token: its HMAC-SHA-256 under a token key. Useless for logging in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash([redacted])")
    }
}

/// Writes the 256-bit number of `bytes` in base62, most significant digit first; `bytes` is zero afterwards.
fn base62(bytes: &mut [u8; 32], digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in bytes.iter_mut() {
            let value = remainder << 8 | u32::from(*byte);
            *byte = u8::try_from(value / 62).expect("a remainder below 62 keeps the quotient below 256");
            remainder = value % 62;
        }
        *digit = ALPHABET[remainder as usize];
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(bytes);
    let mut digits = [0; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_has_the_form_that_scanners_look_for() {
        let token = Token::generate(TokenKind::Ust);
        assert_eq!(token.expose().len(), 54);
        assert!(token.expose().starts_with("lyu1_"));
        assert!(TokenRef::parse(TokenKind::Ust, token.expose()).is_some());
        assert!(TokenRef::parse(TokenKind::CallerKey, token.expose()).is_none(), "a UST is no caller key");
        assert_eq!(format!("{token:?}{:?}", token.as_ref()), "Token([redacted])TokenRef([redacted])");
    }

    #[test]
    fn base62_of_the_largest_number_fits_and_differs_from_that_of_the_next_smaller() {
        let write = |mut bytes: [u8; 32]| {
            let mut digits = [0; BODY_LEN];
            base62(&mut bytes, &mut digits);
            assert_eq!(bytes, [0; 32], "nothing of the number is left over");
            String::from_utf8(digits.to_vec()).unwrap()
        };
        let mut smaller = [255; 32];
        smaller[31] = 254;
        assert_ne!(write([255; 32]), write(smaller));
        assert_eq!(write([0; 32]), "0".repeat(43));
    }

    proptest! {
        #[test]
        fn one_changed_character_is_always_noticed(position in 0usize..54, replacement in "[0-9A-Za-z]") {
            let token = Token::generate(TokenKind::Ust);
            let mut text = token.expose().to_owned();
            prop_assume!(text[position..=position] != replacement);
            text.replace_range(position..=position, &replacement);
            prop_assert!(TokenRef::parse(TokenKind::Ust, &text).is_none());
        }

        #[test]
        fn junk_is_refused_without_a_panic(text in "\\PC{0,80}") {
            prop_assert!(TokenRef::parse(TokenKind::Ust, &text).is_none());
        }
    }
}
