//! Definitions: external credentials.

/// The kind of material that a definition's credentials are checked against. The numbers are those of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaterialSource {
    /// An argon2id hash.
    Hash,
    /// A sealed shared secret.
    SharedSecret,
    /// A JWK set.
    KeySet,
    /// The URL of a JWK set.
    KeySetUrl,
    /// A kind that only newer versions know, or 0: none yet.
    Other(i16),
}

impl MaterialSource {
    pub const fn number(self) -> i16 {
        match self {
            Self::Hash => 1,
            Self::SharedSecret => 2,
            Self::KeySet => 3,
            Self::KeySetUrl => 4,
            Self::Other(number) => number,
        }
    }

    pub const fn from_number(number: i16) -> Self {
        match number {
            1 => Self::Hash,
            2 => Self::SharedSecret,
            3 => Self::KeySet,
            4 => Self::KeySetUrl,
            other => Self::Other(other),
        }
    }
}
