//! Somebody whom an issuer of JSON web tokens knows, linked to a user: with any keys and algorithms.

use lanyard_client::v1::definition::Kind;
use lanyard_client::v1::definition_ref::Definition as ByNumber;
use lanyard_client::v1::{Definition, DefinitionSecret, JwtDefinition, RotateDefinitionSecretRequest};
use lanyard_client::{Client, Code, Error, ErrorReason, Login, Subject, prost_types};
use serde_json::{Value, json};

use super::answers::events_of;
use super::server::TestServer;
use super::signing::{Signer, jwk_set};

pub const ISSUER: &str = "https://issuer.example";
pub const SUBJECT: &str = "alice@issuer";
pub const AUDIENCE: &str = "lanyard";

/// A server, and a principal that is linked to its user alice.
pub struct Principal {
    pub server: TestServer,
    pub root: Subject,
    pub auth_id: i64,
}

impl Principal {
    /// # Panics
    /// If the definition or the link cannot be made.
    pub async fn new(server: TestServer, algorithms: &[&str], secret: DefinitionSecret) -> Self {
        let root = server.as_root().await;
        let made = root.create_definition(definition(SUBJECT, algorithms), secret).await.expect("the definition");
        let link = root.create_linked_auth(&server.alice.user_id, ByNumber::AuthId(made.auth_id)).await;
        link.expect("the link");
        Self { server, root, auth_id: made.auth_id }
    }

    /// Claims that are good for ten minutes.
    pub fn claims(&self) -> Value {
        let now = self.now();
        json!({ "iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "exp": now + 600 })
    }

    /// In seconds, as claims have it.
    pub fn now(&self) -> i64 {
        self.server.clock.now().to_unix().0
    }

    /// A token with good claims.
    pub fn token(&self, signer: &Signer, header: &Value) -> String {
        signer.token(header, &self.claims())
    }

    /// From an address that never failed before: the tests of throttling are elsewhere.
    pub fn client(&self) -> Client {
        self.server.client()
    }

    pub async fn try_token(&self, token: &str) -> Result<Login, Error> {
        self.client().log_in_jwt(&token.into()).await
    }

    /// The token is good: it logs alice in.
    ///
    /// # Panics
    /// If it does not.
    pub async fn is_good(&self, token: &str) {
        let login = match self.try_token(token).await {
            Ok(login) => login,
            Err(error) => panic!("{error}, because: {}", self.last_reason().await),
        };
        assert_eq!(login.session.user_id, self.server.alice.user_id);
        assert_eq!(login.session.auth_id, self.auth_id);
    }

    /// The token is refused as all are, for this reason.
    ///
    /// # Panics
    /// If it is not.
    pub async fn is_refused(&self, token: &str, reason: &str) {
        let Err(error) = self.try_token(token).await else { panic!("it is good, and should not be for {reason}") };
        assert_eq!((error.reason, error.code), (ErrorReason::LoginFailed, Code::Unauthenticated), "{reason}");
        assert_eq!(self.last_reason().await, reason);
    }

    /// The keys cannot be fetched.
    ///
    /// # Panics
    /// If they can, or did not have to be.
    pub async fn is_unavailable(&self, token: &str) {
        let Err(error) = self.try_token(token).await else { panic!("it is good") };
        assert_eq!((error.reason, error.code), (ErrorReason::KeysUnavailable, Code::Unavailable), "{error}");
        assert!(error.retry_after.is_some());
    }

    async fn last_reason(&self) -> String {
        events_of(&self.server, "session.create").await.swap_remove(0).reason
    }

    /// Gives the definition other keys; those before work on for `overlap` seconds.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn rotate(&self, secret: DefinitionSecret, overlap: i64) {
        let request = RotateDefinitionSecretRequest {
            auth_id: self.auth_id,
            secret: Some(secret),
            overlap: Some(prost_types::Duration { seconds: overlap, nanos: 0 }),
            ..RotateDefinitionSecretRequest::default()
        };
        self.root.rotate_definition_secret(request).await.expect("other keys");
    }
}

/// A definition of a principal of the issuer of the tests.
pub fn definition(subject: &str, algorithms: &[&str]) -> Definition {
    let jwt = JwtDefinition {
        issuer: ISSUER.into(),
        username: subject.into(),
        audience: AUDIENCE.into(),
        algorithms: algorithms.iter().map(|name| (*name).to_owned()).collect(),
        ..JwtDefinition::default()
    };
    Definition {
        name: format!("{subject} of the issuer"),
        is_active: true,
        kind: Some(Kind::Jwt(jwt)),
        ..Definition::default()
    }
}

pub fn secret(secret: &str) -> DefinitionSecret {
    DefinitionSecret { secret: secret.to_owned(), ..DefinitionSecret::default() }
}

pub fn public_keys(text: impl Into<String>) -> DefinitionSecret {
    DefinitionSecret { public_keys: text.into(), ..DefinitionSecret::default() }
}

pub fn url(url: &str) -> DefinitionSecret {
    DefinitionSecret { jwks_url: url.to_owned(), ..DefinitionSecret::default() }
}

/// The key of a signer, as a JWK set in which it has no name.
pub fn keys_of(signer: &Signer) -> DefinitionSecret {
    public_keys(jwk_set(&[signer.jwk("")]))
}
