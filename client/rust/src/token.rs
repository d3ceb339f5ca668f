//! The user session token.

use secrecy::{ExposeSecret, SecretString};

/// A user session token (UST): whoever holds it *is* the user. It cannot be printed and is wiped when dropped.
#[derive(Clone, Debug)]
pub struct Ust(SecretString);

impl Ust {
    /// Takes any text for a token; whether it is a good one, [`Client::verify`](crate::Client::verify) says.
    pub fn new(token: impl Into<SecretString>) -> Self {
        Self(token.into())
    }

    /// The token itself, to hand it to its user. Not for logs, addresses or listings.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Ust {
    fn from(token: String) -> Self {
        Self::new(token)
    }
}

impl From<&str> for Ust {
    fn from(token: &str) -> Self {
        Self::new(token)
    }
}

#[cfg(test)]
mod tests {
    use super::Ust;

    #[test]
    fn debug_of_a_token_does_not_show_it() {
        let shown = format!("{:?}", Ust::from("lyu1_secret"));
        assert!(shown.contains("Ust") && !shown.contains("lyu1"), "{shown}");
    }
}
