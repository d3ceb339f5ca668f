//! `Debug` of everything that holds a secret.

use std::collections::BTreeSet;

use lanyard_client::{Client, Login, Ust};
use lanyard_proto::{FILE_DESCRIPTOR_SET, v1};
use lanyard_server::config::DatabaseUrl;
use lanyard_server::crypto::{Keyring, Token, TokenKind};
use lanyard_tests::support::secrets::Secrets;
use lanyard_tests::support::server::{Database, TestServer, run};
use prost::Message;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

const CANARY: &str = "canary-in-a-field-that-is-secret";

/// The `Debug` of a message, read from its bytes.
type Show = fn(&[u8]) -> String;

macro_rules! messages {
    ($($name:ident)*) => {
        &[$((stringify!($name), |bytes| format!("{:?}", v1::$name::decode(bytes).expect("a message")))),*]
    };
}

/// All messages in which a secret is, at any depth.
const SECRETIVE: &[(&str, Show)] = messages! {
    ApproveUserRequest Attribute AttributeToSet BasicAuthCredential BatchVerifySessionsRequest ChangePasswordRequest
    ConfirmTotpRequest CreateDefinitionRequest CreateLinkedAuthRequest CreateSessionRequest CreateSessionResponse
    CreateUserRequest DefinitionSecret DeleteAttributesRequest DeleteDefinitionRequest DeleteLinkedAuthRequest
    DeleteUserRequest DisableTotpRequest EnrollTotpRequest EnrollTotpResponse GetCurrentUserRequest
    GetDefinitionRequest GetPlatformAuthRequest GetPlatformAuthResponse GetSessionRequest GetSessionResponse
    GetUserRequest JwtCredential ListAttributesRequest ListAttributesResponse
    ListAuditEventsRequest ListDefinitionsRequest ListLinkedAuthRequest ListSessionsRequest ListSessionsResponse ListUsersRequest
    LockUserRequest PasswordCredential PlatformCredential RejectUserRequest RenewSessionRequest RenewSessionResponse
    RevokeSessionRequest RevokeSessionsRequest RotateDefinitionSecretRequest SessionToVerify SetAttributesRequest
    SetAttributesResponse SetPasswordRequest UnlockUserRequest UpdateDefinitionRequest UpdateLinkedAuthRequest
    UpdateUserRequest UserSession VerifySessionRequest
};

fn pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("descriptors")
}

fn is_secret(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|marked| marked.as_bool() == Some(true))
}

fn holds_secret(message: &MessageDescriptor) -> bool {
    message.fields().any(|field| match field.kind() {
        Kind::Message(inner) => inner != *message && holds_secret(&inner),
        _ => is_secret(&field),
    })
}

/// A message with a canary in each secret, at every depth.
fn with_canaries(descriptor: &MessageDescriptor) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let value = match field.kind() {
            Kind::Message(inner) if holds_secret(&inner) => Value::Message(with_canaries(&inner)),
            Kind::String if is_secret(&field) => Value::String(CANARY.to_owned()),
            _ => continue,
        };
        message.set_field(&field, if field.is_list() { Value::List(vec![value]) } else { value });
    }
    message
}

#[test]
fn no_generated_message_shows_a_secret() {
    let messages = pool().all_messages().collect::<Vec<_>>();
    let ours = messages.iter().filter(|message| message.package_name() == "lanyard.v1" && holds_secret(message));
    let of_contract: BTreeSet<&str> = ours.clone().map(MessageDescriptor::name).collect();
    assert_eq!(of_contract, SECRETIVE.iter().map(|(name, _)| *name).collect());
    for descriptor in ours {
        let (_, show) = SECRETIVE.iter().find(|(name, _)| *name == descriptor.name()).expect("compared above");
        let message = with_canaries(descriptor);
        let shown = show(&message.encode_to_vec());
        assert!(!shown.contains("canary") && shown.contains("[redacted]"), "{shown}");
    }
}

/// A new field is not forgotten: what is called like a secret is marked as one.
#[test]
fn every_field_that_is_called_like_a_secret_is_marked() {
    let words = ["auth", "ust", "password", "secret", "code", "otpauth", "key", "token", "credential"];
    let open = ["page_token", "next_page_token", "key", "credential"];
    let open = [&open[..], &["auth_type", "auth_source", "auth_principal", "auth_username"]].concat();
    let pool = pool();
    let fields = pool.all_messages().filter(|message| message.package_name() == "lanyard.v1");
    for field in fields.flat_map(|message| message.fields().collect::<Vec<_>>()) {
        let called = field.name().split('_').any(|word| words.contains(&word));
        let is_text = matches!(field.kind(), Kind::String | Kind::Bytes);
        if called && is_text && !open.contains(&field.name()) {
            assert!(is_secret(&field), "{} has no debug_redact", field.full_name());
        }
    }
}

#[test]
fn no_type_of_server_or_client_shows_a_secret() {
    run(async {
        let server = TestServer::start(Database::Sqlite).await;
        let mut secrets = Secrets::default();
        let key: &str = lanyard_client::secrecy::ExposeSecret::expose_secret(&server.key);
        secrets.add("the key", key);
        let login: Login = server.log_in(&server.alice).await;
        secrets.add("the token", login.ust.expose());
        let client: Client = server.client();
        let error = client.on_behalf_of(&Ust::from(format!("{}x", login.ust.expose()))).renew().await.unwrap_err();
        let renewal = client.on_behalf_of(&login.ust).rotate().await.unwrap();
        secrets.add("the new token", renewal.ust.as_ref().expect("a token").expose());
        let token = Token::generate(TokenKind::Ust);
        secrets.add("a token of ours", token.expose());
        let keyring = Keyring::load(&server.config.keys.file).expect("keys");
        let (hash, _) = keyring.hash_token(token.as_ref());
        secrets.add("its hash", hash.0);
        let row = server.within(|app| async move { app.store().user_by_name("alice").await }).await.unwrap().unwrap();
        secrets.add("the hash of a password", row.password_hash.as_ref().expect("a password"));
        let url = DatabaseUrl::new("postgres://lanyard:word-of-the-database@db/lanyard?password=another-word");
        secrets.add("a password in a URL", "word-of-the-database");
        secrets.add("a password in a URL", "another-word");
        let mut config = server.config.clone();
        config.database.url = url.clone();
        let person = &server.alice;
        secrets.add("a password", lanyard_client::secrecy::ExposeSecret::expose_secret(&person.password));
        let builder_error = Client::builder(server.url()).api_key(format!("{key}\n")).connect_lazy().unwrap_err();
        let shown = format!(
            "{login:#?} {renewal:#?} {client:#?} {:#?} {error:#?} {error} {token:#?} {:#?} {keyring:#?} {hash:#?} {row:#?} \
             {url:#?} {url} {config:#?} {} {person:#?} {builder_error:#?} {builder_error}",
            client.on_behalf_of(&login.ust),
            token.as_ref(),
            config.show(),
        );
        assert!(shown.len() > 2000, "{shown}");
        secrets.are_not_in("Debug", shown);
    });
}
