//! The part of the tour that goes by definitions, links, and logins through them.

use lanyard_client::secrecy::ExposeSecret;
use lanyard_proto::v1;
use lanyard_proto::v1::create_session_request::Credential;
use lanyard_proto::v1::definition::Kind;
use lanyard_proto::v1::definition_ref::Definition as ByNumber;
use lanyard_server::clock::Clock;
use lanyard_tests::support::external::secret_of;
use lanyard_tests::support::signing::Signer;

use super::tour::{Refused, Tour, is};

const SECRETS: [&str; 3] =
    ["das erste \"Geheimnis\" 100%", "zweites\\Geheimnis/einer Maschine", "drittes+Geheimnis=einer&Maschine"];
const SHARED: [&str; 2] =
    ["ein geteiltes Geheimnis: 32 Bytes oder mehr \"%\"", "noch ein geteiltes Geheimnis: 32 Bytes oder mehr"];
const WRONG: &str = "gefälschtes \"Geheimnis\" von jemandem";

impl Tour {
    pub(super) async fn of_accounts(&mut self) {
        for secret in SECRETS.iter().chain(&SHARED).chain([&WRONG]) {
            self.secrets.add("a secret of a definition", secret);
        }
        let machine = self.define(basic_auth(), secret(SECRETS[0])).await.expect("a definition");
        let issued = self.define(jwt(), secret(SHARED[0])).await.expect("a definition");
        let same_name = v1::Definition { name: basic_auth().name, ..basic_auth_of("another") };
        is(self.define(same_name, secret(SECRETS[1])).await, "DEFINITION_NAME_TAKEN");
        self.of_refused_keys().await;
        self.of_definitions(machine).await;
        let link = self.of_links(machine, issued).await;
        self.of_external_logins().await;
        for (auth_id, secret_of_it) in [(machine, SECRETS[2]), (issued, SHARED[1])] {
            let rotate = v1::RotateDefinitionSecretRequest {
                ust: self.root_ust.clone(),
                auth_id,
                secret: Some(secret(secret_of_it)),
                overlap: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
                ..Default::default()
            };
            let method = "DefinitionService/RotateDefinitionSecret";
            let _: v1::RotateDefinitionSecretResponse = self.ask(method, &rotate).await.expect("another secret");
        }
        self.of_external_logins().await;
        self.of_ends(&link, machine).await;
    }

    async fn define(&mut self, definition: v1::Definition, secret: v1::DefinitionSecret) -> Refused<i64> {
        let request = v1::CreateDefinitionRequest {
            ust: self.root_ust.clone(),
            definition: Some(definition),
            secret: Some(secret),
            client: None,
        };
        let made: v1::CreateDefinitionResponse = self.ask("DefinitionService/CreateDefinition", &request).await?;
        Ok(made.definition.expect("it").auth_id)
    }

    /// What should not have been sent at all.
    async fn of_refused_keys(&mut self) {
        let pem = rcgen::KeyPair::generate().expect("a key").serialize_pem();
        self.secrets.add("a private key", pem.lines().nth(1).expect("base64"));
        let private = v1::DefinitionSecret { public_keys: pem, ..Default::default() };
        is(self.define(jwt(), private).await, "INVALID_FIELD");
        let misplaced = v1::DefinitionSecret { jwks_url: WRONG.into(), ..Default::default() };
        is(self.define(jwt(), misplaced).await, "INVALID_FIELD");
        let jwk_set = format!("{{\"keys\":[{{\"kty\":\"oct\",\"k\":\"{WRONG}\"}}]}}");
        let shared = v1::DefinitionSecret { public_keys: jwk_set, ..Default::default() };
        is(self.define(jwt(), shared).await, "INVALID_FIELD");
    }

    async fn of_definitions(&mut self, auth_id: i64) {
        let ust = self.root_ust.clone();
        let get = v1::GetDefinitionRequest { ust: ust.clone(), auth_id, client: None };
        let found: v1::GetDefinitionResponse = self.ask("DefinitionService/GetDefinition", &get).await.expect("it");
        let list = v1::ListDefinitionsRequest { ust: ust.clone(), ..Default::default() };
        let listed: v1::ListDefinitionsResponse =
            self.ask("DefinitionService/ListDefinitions", &list).await.expect("all");
        assert!(listed.definitions.len() > 1);
        let mask = prost_types::FieldMask { paths: vec!["name".into()] };
        let update = v1::UpdateDefinitionRequest {
            ust,
            definition: found.definition,
            update_mask: Some(mask),
            ..Default::default()
        };
        let _: v1::UpdateDefinitionResponse =
            self.ask("DefinitionService/UpdateDefinition", &update).await.expect("the same");
    }

    /// Links both to alice; returns the link of the first.
    async fn of_links(&mut self, machine: i64, issued: i64) -> String {
        let mut links = Vec::new();
        for auth_id in [machine, issued] {
            let create = v1::CreateLinkedAuthRequest {
                ust: self.root_ust.clone(),
                user_id: self.alice_id.clone(),
                definition: Some(number(auth_id)),
                ..Default::default()
            };
            let made: v1::CreateLinkedAuthResponse =
                self.ask("LinkedAuthService/CreateLinkedAuth", &create).await.expect("a link");
            links.push(made.link.expect("it").link_id);
        }
        let alice = self.log_in_as_alice().await.expect("alice logs in");
        let own = v1::CreateLinkedAuthRequest {
            ust: alice.clone(),
            proof: Some(v1::create_linked_auth_request::Proof::BasicAuth(v1::BasicAuthCredential {
                username: "machine".into(),
                secret: WRONG.into(),
            })),
            ..Default::default()
        };
        let refused: Refused<v1::CreateLinkedAuthResponse> = self.ask("LinkedAuthService/CreateLinkedAuth", &own).await;
        is(refused, "SUPER_USER_REQUIRED");
        let list = v1::ListLinkedAuthRequest { ust: alice, ..Default::default() };
        let listed: v1::ListLinkedAuthResponse =
            self.ask("LinkedAuthService/ListLinkedAuth", &list).await.expect("the own links");
        assert_eq!(listed.links.len(), 2);
        let lookup = v1::LookupLinkedAuthRequest { definitions: vec![number(machine)], client: None };
        let _: v1::LookupLinkedAuthResponse =
            self.ask("LinkedAuthService/LookupLinkedAuth", &lookup).await.expect("whose it is");
        links.swap_remove(0)
    }

    async fn of_external_logins(&mut self) {
        let now = Clock::system().now().to_unix().0;
        let claims = |subject: &str, exp: i64| serde_json::json!({ "iss": "https://issuer.example", "sub": subject, "aud": "lanyard", "exp": exp });
        for (claims, key, reason) in [
            (claims("alice", now + 600), SHARED[0], None),
            (claims("alice", now - 600), SHARED[0], Some("LOGIN_FAILED")),
            (claims("alice", now + 601), WRONG, Some("LOGIN_FAILED")),
            (claims("nobody", now + 600), SHARED[0], Some("LOGIN_FAILED")),
        ] {
            let token = Signer::Secret(key.into()).token(&serde_json::json!({ "alg": "HS256" }), &claims);
            self.secrets.add("a JWT", &token);
            let answer = self.log_in_with(Credential::Jwt(v1::JwtCredential { token, ..Default::default() })).await;
            assert_eq!(answer.err().as_deref(), reason);
        }
        let basic = |username: &str, secret: &str| {
            Credential::BasicAuth(v1::BasicAuthCredential { username: username.into(), secret: secret.into() })
        };
        self.log_in_with(basic("machine", SECRETS[0])).await.expect("the machine logs in");
        is(self.log_in_with(basic("machine", WRONG)).await, "LOGIN_FAILED");
        is(self.log_in_with(basic("nobody", SECRETS[0])).await, "LOGIN_FAILED");
        // A secret where a token belongs, and the other way round.
        let misplaced = v1::JwtCredential { token: SECRETS[1].into(), ..Default::default() };
        is(self.log_in_with(Credential::Jwt(misplaced)).await, "LOGIN_FAILED");
        is(self.log_in_with(basic(WRONG, secret_of("x").expose_secret())).await, "LOGIN_FAILED");
    }

    async fn of_ends(&mut self, link: &str, auth_id: i64) {
        let (ust, link_id) = (self.root_ust.clone(), link.to_owned());
        let update = v1::UpdateLinkedAuthRequest { ust: ust.clone(), link_id: link_id.clone(), ..Default::default() };
        let _: v1::UpdateLinkedAuthResponse =
            self.ask("LinkedAuthService/UpdateLinkedAuth", &update).await.expect("it is off");
        let delete = v1::DeleteLinkedAuthRequest { ust: ust.clone(), link_id, ..Default::default() };
        let _: v1::DeleteLinkedAuthResponse =
            self.ask("LinkedAuthService/DeleteLinkedAuth", &delete).await.expect("it is gone");
        let spare = v1::Definition { name: "spare".into(), ..basic_auth_of("spare") };
        let spare = self.define(spare, secret(SECRETS[1])).await.expect("a definition");
        let delete = v1::DeleteDefinitionRequest { ust, auth_id: spare, ..Default::default() };
        let _: v1::DeleteDefinitionResponse =
            self.ask("DefinitionService/DeleteDefinition", &delete).await.expect("it is gone");
        assert_ne!(spare, auth_id);
    }

    /// While the database is away.
    pub(super) async fn of_accounts_that_fail(&mut self) {
        is(self.define(basic_auth_of("later"), secret(SECRETS[1])).await, "STORE_UNAVAILABLE");
        let credential = v1::BasicAuthCredential { username: "machine".into(), secret: SECRETS[0].into() };
        is(self.log_in_with(Credential::BasicAuth(credential)).await, "STORE_UNAVAILABLE");
    }
}

fn number(auth_id: i64) -> v1::DefinitionRef {
    v1::DefinitionRef { definition: Some(ByNumber::AuthId(auth_id)) }
}

fn secret(secret: &str) -> v1::DefinitionSecret {
    v1::DefinitionSecret { secret: secret.to_owned(), ..Default::default() }
}

fn basic_auth() -> v1::Definition {
    basic_auth_of("machine")
}

fn basic_auth_of(username: &str) -> v1::Definition {
    let kind = Some(Kind::BasicAuth(v1::BasicAuthDefinition { username: username.into() }));
    v1::Definition { name: format!("the {username}"), is_active: true, kind, ..Default::default() }
}

fn jwt() -> v1::Definition {
    let jwt = v1::JwtDefinition {
        issuer: "https://issuer.example".into(),
        username: "alice".into(),
        audience: "lanyard".into(),
        algorithms: vec!["HS256".into()],
        ..Default::default()
    };
    v1::Definition { name: "the issuer".into(), is_active: true, kind: Some(Kind::Jwt(jwt)), ..Default::default() }
}
