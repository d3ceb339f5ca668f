//! The table of all RPCs: which request goes where, what comes back, and which only read.

use std::future::Future;

use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::v1::attribute_service_client::AttributeServiceClient;
use crate::v1::audit_service_client::AuditServiceClient;
use crate::v1::definition_service_client::DefinitionServiceClient;
use crate::v1::linked_auth_service_client::LinkedAuthServiceClient;
use crate::v1::session_service_client::SessionServiceClient;
use crate::v1::user_service_client::UserServiceClient;
use crate::v1::{self, ClientInfo};

mod sealed {
    pub trait Sealed {}
}

/// A request of the contract.
pub trait Rpc: sealed::Sealed + Clone + Send + Sync + 'static {
    /// What comes back.
    type Answer: Send + 'static;
    /// Whether the RPC has no side effects (the contract says so) and may be tried again.
    const IS_READ: bool;

    #[doc(hidden)]
    fn client_mut(&mut self) -> &mut Option<ClientInfo>;
    #[doc(hidden)]
    fn send(
        channel: Channel,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

/// A request that acts on behalf of a user.
pub trait ActingRequest: Rpc {
    #[doc(hidden)]
    fn ust_mut(&mut self) -> &mut String;
}

/// A request for one page of a list.
pub trait PagedRequest: ActingRequest {
    /// What is listed.
    type Item: Send + 'static;

    #[doc(hidden)]
    fn page_token_mut(&mut self) -> &mut String;
    /// The items, and the token of the next page: empty on the last.
    #[doc(hidden)]
    fn split(answer: Self::Answer) -> (Vec<Self::Item>, String);
}

macro_rules! is_read {
    (read) => {
        true
    };
    (write) => {
        false
    };
}

macro_rules! rpcs {
    ($($kind:ident $service:ident::$method:ident($request:ident) -> $answer:ident;)*) => {
        $(
            impl sealed::Sealed for v1::$request {}
            impl Rpc for v1::$request {
                type Answer = v1::$answer;
                const IS_READ: bool = is_read!($kind);

                fn client_mut(&mut self) -> &mut Option<ClientInfo> {
                    &mut self.client
                }

                async fn send(channel: Channel, request: Request<Self>) -> Result<Response<v1::$answer>, Status> {
                    $service::new(channel).$method(request).await
                }
            }
        )*

        /// The request of each RPC, and whether it reads.
        #[cfg(test)]
        const TABLE: &[(&str, bool)] = &[$((stringify!($request), is_read!($kind)),)*];
    };
}

macro_rules! acting {
    ($($request:ident)*) => {
        $(impl ActingRequest for v1::$request {
            fn ust_mut(&mut self) -> &mut String {
                &mut self.ust
            }
        })*
    };
}

macro_rules! paged {
    ($($request:ident: $item:ident in $field:ident;)*) => {
        $(impl PagedRequest for v1::$request {
            type Item = v1::$item;

            fn page_token_mut(&mut self) -> &mut String {
                &mut self.page_token
            }

            fn split(answer: Self::Answer) -> (Vec<v1::$item>, String) {
                (answer.$field, answer.next_page_token)
            }
        })*
    };
}

rpcs! {
    write SessionServiceClient::create_session(CreateSessionRequest) -> CreateSessionResponse;
    read SessionServiceClient::verify_session(VerifySessionRequest) -> VerifySessionResponse;
    read SessionServiceClient::batch_verify_sessions(BatchVerifySessionsRequest) -> BatchVerifySessionsResponse;
    read SessionServiceClient::get_session(GetSessionRequest) -> GetSessionResponse;
    read SessionServiceClient::list_sessions(ListSessionsRequest) -> ListSessionsResponse;
    write SessionServiceClient::renew_session(RenewSessionRequest) -> RenewSessionResponse;
    write SessionServiceClient::revoke_session(RevokeSessionRequest) -> RevokeSessionResponse;
    write SessionServiceClient::revoke_sessions(RevokeSessionsRequest) -> RevokeSessionsResponse;
    write SessionServiceClient::get_platform_auth(GetPlatformAuthRequest) -> GetPlatformAuthResponse;

    write UserServiceClient::create_user(CreateUserRequest) -> CreateUserResponse;
    read UserServiceClient::get_user(GetUserRequest) -> GetUserResponse;
    read UserServiceClient::get_current_user(GetCurrentUserRequest) -> GetCurrentUserResponse;
    read UserServiceClient::list_users(ListUsersRequest) -> ListUsersResponse;
    write UserServiceClient::update_user(UpdateUserRequest) -> UpdateUserResponse;
    write UserServiceClient::delete_user(DeleteUserRequest) -> DeleteUserResponse;
    write UserServiceClient::lock_user(LockUserRequest) -> LockUserResponse;
    write UserServiceClient::unlock_user(UnlockUserRequest) -> UnlockUserResponse;
    write UserServiceClient::approve_user(ApproveUserRequest) -> ApproveUserResponse;
    write UserServiceClient::reject_user(RejectUserRequest) -> RejectUserResponse;
    write UserServiceClient::change_password(ChangePasswordRequest) -> ChangePasswordResponse;
    write UserServiceClient::set_password(SetPasswordRequest) -> SetPasswordResponse;
    write UserServiceClient::enroll_totp(EnrollTotpRequest) -> EnrollTotpResponse;
    write UserServiceClient::confirm_totp(ConfirmTotpRequest) -> ConfirmTotpResponse;
    write UserServiceClient::disable_totp(DisableTotpRequest) -> DisableTotpResponse;

    write AttributeServiceClient::set_attributes(SetAttributesRequest) -> SetAttributesResponse;
    read AttributeServiceClient::list_attributes(ListAttributesRequest) -> ListAttributesResponse;
    write AttributeServiceClient::delete_attributes(DeleteAttributesRequest) -> DeleteAttributesResponse;

    read AuditServiceClient::list_audit_events(ListAuditEventsRequest) -> ListAuditEventsResponse;

    write DefinitionServiceClient::create_definition(CreateDefinitionRequest) -> CreateDefinitionResponse;
    read DefinitionServiceClient::get_definition(GetDefinitionRequest) -> GetDefinitionResponse;
    read DefinitionServiceClient::list_definitions(ListDefinitionsRequest) -> ListDefinitionsResponse;
    write DefinitionServiceClient::update_definition(UpdateDefinitionRequest) -> UpdateDefinitionResponse;
    write DefinitionServiceClient::delete_definition(DeleteDefinitionRequest) -> DeleteDefinitionResponse;
    write DefinitionServiceClient::rotate_definition_secret(RotateDefinitionSecretRequest) -> RotateDefinitionSecretResponse;

    read LinkedAuthServiceClient::list_linked_auth(ListLinkedAuthRequest) -> ListLinkedAuthResponse;
    write LinkedAuthServiceClient::create_linked_auth(CreateLinkedAuthRequest) -> CreateLinkedAuthResponse;
    write LinkedAuthServiceClient::update_linked_auth(UpdateLinkedAuthRequest) -> UpdateLinkedAuthResponse;
    write LinkedAuthServiceClient::delete_linked_auth(DeleteLinkedAuthRequest) -> DeleteLinkedAuthResponse;
    read LinkedAuthServiceClient::lookup_linked_auth(LookupLinkedAuthRequest) -> LookupLinkedAuthResponse;
}

acting! {
    GetSessionRequest ListSessionsRequest RenewSessionRequest RevokeSessionRequest RevokeSessionsRequest
    GetPlatformAuthRequest
    CreateUserRequest GetUserRequest GetCurrentUserRequest ListUsersRequest UpdateUserRequest DeleteUserRequest
    LockUserRequest UnlockUserRequest ApproveUserRequest RejectUserRequest ChangePasswordRequest SetPasswordRequest
    EnrollTotpRequest ConfirmTotpRequest DisableTotpRequest
    SetAttributesRequest ListAttributesRequest DeleteAttributesRequest
    ListAuditEventsRequest
    CreateDefinitionRequest GetDefinitionRequest ListDefinitionsRequest UpdateDefinitionRequest DeleteDefinitionRequest
    RotateDefinitionSecretRequest
    ListLinkedAuthRequest CreateLinkedAuthRequest UpdateLinkedAuthRequest DeleteLinkedAuthRequest
}

paged! {
    ListSessionsRequest: UserSession in sessions;
    ListUsersRequest: User in users;
    ListAttributesRequest: Attribute in attributes;
    ListAuditEventsRequest: AuditEvent in events;
    ListDefinitionsRequest: Definition in definitions;
    ListLinkedAuthRequest: LinkedAuth in links;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;
    use prost_types::method_options::IdempotencyLevel;

    use super::TABLE;

    #[test]
    fn every_rpc_of_the_contract_is_here_and_only_those_without_side_effects_are_reads() {
        let files = FileDescriptorSet::decode(lanyard_proto::FILE_DESCRIPTOR_SET).unwrap();
        let methods = files.file.iter().flat_map(|file| &file.service).flat_map(|service| &service.method);
        let contract: BTreeMap<String, bool> = methods
            .map(|method| {
                let level = method.options.clone().unwrap_or_default().idempotency_level();
                let request = method.input_type().trim_start_matches(".lanyard.v1.").to_owned();
                (request, level == IdempotencyLevel::NoSideEffects)
            })
            .collect();
        let here: BTreeMap<String, bool> = TABLE.iter().map(|(name, read)| ((*name).to_owned(), *read)).collect();
        assert_eq!(here, contract);
    }
}
