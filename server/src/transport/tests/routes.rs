//! From the table of methods to the services: each row reaches its own.

use lanyard_proto::v1::attribute_service_server::AttributeService;
use lanyard_proto::v1::audit_service_server::AuditService;
use lanyard_proto::v1::definition_service_server::DefinitionService;
use lanyard_proto::v1::linked_auth_service_server::LinkedAuthService;
use lanyard_proto::v1::user_service_server::UserService;

use super::*;

/// Answers each method of a service with its name, as the text of a refusal.
macro_rules! named {
    ($service:ident: $($method:ident($request:ident) -> $response:ident),* $(,)?) => {
        #[tonic::async_trait]
        impl $service for Double {
            $(async fn $method(&self, _: tonic::Request<$request>) -> Reply<$response> {
                Err(Error::invalid(stringify!($method), "was called").into())
            })*
        }
    };
}

named! { AttributeService:
    set_attributes(SetAttributesRequest) -> SetAttributesResponse,
    list_attributes(ListAttributesRequest) -> ListAttributesResponse,
    delete_attributes(DeleteAttributesRequest) -> DeleteAttributesResponse,
}

named! { DefinitionService:
    create_definition(CreateDefinitionRequest) -> CreateDefinitionResponse,
    get_definition(GetDefinitionRequest) -> GetDefinitionResponse,
    list_definitions(ListDefinitionsRequest) -> ListDefinitionsResponse,
    update_definition(UpdateDefinitionRequest) -> UpdateDefinitionResponse,
    delete_definition(DeleteDefinitionRequest) -> DeleteDefinitionResponse,
    rotate_definition_secret(RotateDefinitionSecretRequest) -> RotateDefinitionSecretResponse,
}

named! { LinkedAuthService:
    list_linked_auth(ListLinkedAuthRequest) -> ListLinkedAuthResponse,
    create_linked_auth(CreateLinkedAuthRequest) -> CreateLinkedAuthResponse,
    update_linked_auth(UpdateLinkedAuthRequest) -> UpdateLinkedAuthResponse,
    delete_linked_auth(DeleteLinkedAuthRequest) -> DeleteLinkedAuthResponse,
    lookup_linked_auth(LookupLinkedAuthRequest) -> LookupLinkedAuthResponse,
}

named! { AuditService: list_audit_events(ListAuditEventsRequest) -> ListAuditEventsResponse }

named! { UserService:
    create_user(CreateUserRequest) -> CreateUserResponse,
    get_user(GetUserRequest) -> GetUserResponse,
    get_current_user(GetCurrentUserRequest) -> GetCurrentUserResponse,
    list_users(ListUsersRequest) -> ListUsersResponse,
    update_user(UpdateUserRequest) -> UpdateUserResponse,
    delete_user(DeleteUserRequest) -> DeleteUserResponse,
    lock_user(LockUserRequest) -> LockUserResponse,
    unlock_user(UnlockUserRequest) -> UnlockUserResponse,
    approve_user(ApproveUserRequest) -> ApproveUserResponse,
    reject_user(RejectUserRequest) -> RejectUserResponse,
    change_password(ChangePasswordRequest) -> ChangePasswordResponse,
    set_password(SetPasswordRequest) -> SetPasswordResponse,
    enroll_totp(EnrollTotpRequest) -> EnrollTotpResponse,
    confirm_totp(ConfirmTotpRequest) -> ConfirmTotpResponse,
    disable_totp(DisableTotpRequest) -> DisableTotpResponse,
}

fn routes_of(
    double: &Double,
) -> impl Fn(&'static Method, crate::pipeline::Request) -> crate::pipeline::Answering + Send + Sync + 'static {
    let double = || double.clone();
    routes(double(), double(), double(), double(), double(), double(), LIMIT)
}

/// `SetAttributes` as `set_attributes`.
fn snake_case(name: &str) -> String {
    let words = name.char_indices().map(|(i, c)| match c {
        'A'..='Z' if i > 0 => format!("_{}", c.to_ascii_lowercase()),
        _ => c.to_ascii_lowercase().to_string(),
    });
    words.collect()
}

#[tokio::test]
async fn every_row_of_the_table_reaches_its_method() {
    let double = Double::new();
    let dispatch = routes_of(&double);
    let server = Server::serving(double, dispatch, forgetful(), |_| {}).await;
    let client = server.connect().await;
    for method in METHODS {
        let answered = client.call(method.path, &[("authorization", "Bearer mighty")], framed(&[])).await;
        let name = method.path.rsplit('/').next().expect("a name");
        if matches!(method.service, Service::Session) {
            assert!(matches!(answered.code(), Code::Ok | Code::Internal), "{name}: {:?}", answered.status());
        } else {
            assert_eq!(answered.status().message(), format!("{}: was called", snake_case(name)));
        }
    }
}

#[tokio::test]
async fn a_batch_may_be_four_times_as_large_as_any_other_request() {
    let double = Double::new();
    let dispatch = routes_of(&double);
    let server = Server::serving(double, dispatch, forgetful(), |_| {}).await;
    let client = server.connect().await;
    // A field that nobody knows is skipped.
    let message = |length: usize| {
        let mut message = vec![0xfa, 0x3f];
        prost::encoding::encode_varint(length as u64 - 4, &mut message);
        message.resize(length, 0);
        framed(&message)
    };
    for (path, length, code) in [
        (VERIFY, LIMIT, Code::Ok),
        (VERIFY, LIMIT + 1, Code::OutOfRange),
        (BATCH, 4 * LIMIT - 1, Code::Ok),
        (BATCH, 4 * LIMIT + 1, Code::OutOfRange),
    ] {
        assert_eq!(client.call(path, &[KEY], message(length)).await.code(), code, "{path} {length}");
    }
}
