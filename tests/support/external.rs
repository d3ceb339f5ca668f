//! External credentials: definitions of both kinds, links to users, tokens that an issuer signed.

use lanyard_client::secrecy::SecretString;
use lanyard_client::v1::create_session_request::Credential;
use lanyard_client::v1::definition::Kind;
use lanyard_client::v1::definition_ref::Definition as ByNumber;
use lanyard_client::v1::{
    BasicAuthCredential, BasicAuthDefinition, CreateLinkedAuthRequest, Definition, DefinitionRef, DefinitionSecret,
    JwtCredential, JwtDefinition, LinkedAuth, UpdateDefinitionRequest,
};
use lanyard_client::{Client, Error, Login, Subject, prost_types};
use lanyard_server::clock::Clock;
use lanyard_server::config::Config;
use serde_json::json;

use super::principal::{AUDIENCE, ISSUER};
use super::server::TestServer;
use super::signing::Signer;

/// What the issuer of the tests signs with.
pub const SIGNING_SECRET: &str = "the shared secret of issuer and Lanyard, 32 bytes or more";
/// How long its tokens are good: longer than any test moves the clock.
const TOKEN_LIFETIME: i64 = 90 * 24 * 3600;

/// Which credential a definition is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    BasicAuth,
    Jwt,
}

/// Both.
pub const BOTH: [Kinds; 2] = [Kinds::BasicAuth, Kinds::Jwt];

/// A definition whose username is its name.
#[derive(Clone, Debug)]
pub struct Defined {
    pub kind: Kinds,
    pub name: String,
    pub auth_id: i64,
}

impl Defined {
    /// Adds a definition.
    ///
    /// # Panics
    /// If that fails.
    pub async fn new(root: &Subject, kind: Kinds, name: &str) -> Self {
        let mut definition = Definition { name: name.to_owned(), is_active: true, ..Definition::default() };
        definition.kind = Some(match kind {
            Kinds::BasicAuth => Kind::BasicAuth(BasicAuthDefinition { username: name.to_owned() }),
            Kinds::Jwt => Kind::Jwt(JwtDefinition {
                issuer: ISSUER.into(),
                username: name.to_owned(),
                audience: AUDIENCE.into(),
                algorithms: vec!["HS256".into()],
                ..JwtDefinition::default()
            }),
        });
        let secret = match kind {
            Kinds::BasicAuth => basic_secret(name),
            Kinds::Jwt => SIGNING_SECRET.to_owned(),
        };
        let secret = DefinitionSecret { secret, ..DefinitionSecret::default() };
        let made = root.create_definition(definition, secret).await.expect("the definition can be made");
        Self { kind, name: name.to_owned(), auth_id: made.auth_id }
    }

    /// Adds a definition and links it to a user.
    ///
    /// # Panics
    /// If that fails.
    pub async fn linked(root: &Subject, kind: Kinds, name: &str, user_id: &str) -> Self {
        let made = Self::new(root, kind, name).await;
        made.link(root, user_id).await;
        made
    }

    /// # Panics
    /// If that fails.
    pub async fn link(&self, root: &Subject, user_id: &str) -> LinkedAuth {
        let made = root.call(self.link_request(user_id)).await;
        made.expect("the link can be made").link.expect("it")
    }

    pub fn link_request(&self, user_id: &str) -> CreateLinkedAuthRequest {
        CreateLinkedAuthRequest {
            user_id: user_id.to_owned(),
            definition: Some(DefinitionRef { definition: Some(ByNumber::AuthId(self.auth_id)) }),
            ..CreateLinkedAuthRequest::default()
        }
    }

    /// The link to a user.
    ///
    /// # Panics
    /// If there is none.
    pub async fn link_of(&self, root: &Subject, user_id: &str) -> LinkedAuth {
        let links = root.get_linked_auth_list(Some(user_id)).await.expect("links");
        links.into_iter().find(|link| link.auth_id == self.auth_id).expect("the link")
    }

    /// A good credential: always the same with basic auth, one for each number with JWT.
    pub fn credential(&self, clock: &Clock, number: u32) -> Credential {
        match self.kind {
            Kinds::BasicAuth => {
                let secret = basic_secret(&self.name);
                Credential::BasicAuth(BasicAuthCredential { username: self.name.clone(), secret })
            }
            Kinds::Jwt => {
                Credential::Jwt(JwtCredential { token: self.token(clock, number), ..JwtCredential::default() })
            }
        }
    }

    /// A token of this principal: another one for each number.
    pub fn token(&self, clock: &Clock, number: u32) -> String {
        // The same at all times of a test.
        let issued = clock.now().to_unix().0 / TOKEN_LIFETIME * TOKEN_LIFETIME;
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": self.name, "iat": issued, "exp": issued + 2 * TOKEN_LIFETIME,
            "jti": number.to_string(),
        });
        sign(&claims, SIGNING_SECRET.as_bytes())
    }

    /// Logs in with the credential of the number 0.
    ///
    /// # Panics
    /// If that fails.
    pub async fn log_in(&self, server: &TestServer) -> Login {
        self.try_to_log_in(&server.client(), &server.clock).await.expect("the login succeeds")
    }

    /// The same, whatever comes of it.
    pub async fn try_to_log_in(&self, client: &Client, clock: &Clock) -> Result<Login, Error> {
        client.create_session(self.credential(clock, 0)).await
    }
}

/// Failures are not throttled.
pub fn patient(config: &mut Config) {
    (config.throttle.free_failures, config.throttle.address_free_failures) = (1_000, 1_000);
}

fn basic_secret(name: &str) -> String {
    format!("secret of the machine {name}")
}

/// A JSON web token, signed with HS256.
pub fn sign(claims: &serde_json::Value, secret: &[u8]) -> String {
    Signer::Secret(secret.to_vec()).token(&json!({ "alg": "HS256", "typ": "JWT" }), claims)
}

/// The secret of a basic-auth definition that [`Defined::new`] made.
pub fn secret_of(name: &str) -> SecretString {
    basic_secret(name).into()
}

/// Turns a definition on or off; returns how many sessions ended.
///
/// # Panics
/// If that fails.
pub async fn turn_definition(root: &Subject, auth_id: i64, is_active: bool) -> u64 {
    let definition = Definition { auth_id, is_active, ..Definition::default() };
    let mask = prost_types::FieldMask { paths: vec!["is_active".into()] };
    let request =
        UpdateDefinitionRequest { definition: Some(definition), update_mask: Some(mask), ..Default::default() };
    root.update_definition(request).await.expect("the definition can be changed").revoked_count
}
