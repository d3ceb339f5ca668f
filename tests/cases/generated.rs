//! The generated messages: what a case sends and what comes back goes through them, as it does in the client.

use lanyard_client::{Rpc, v1};
use prost::Message;

type Through = fn(&[u8]) -> Result<Vec<u8>, String>;

/// The request of an RPC by its name, and the way through it and through its answer.
struct Generated {
    request: &'static str,
    through_request: Through,
    through_answer: Through,
}

const fn generated<R: Rpc<Answer: Message + Default> + Message + Default>(request: &'static str) -> Generated {
    Generated { request, through_request: through::<R>, through_answer: through::<R::Answer> }
}

fn through<M: Message + Default>(bytes: &[u8]) -> Result<Vec<u8>, String> {
    M::decode(bytes).map(|message| message.encode_to_vec()).map_err(|problem| problem.to_string())
}

macro_rules! generated {
    ($($request:ident)*) => {
        &[$(generated::<v1::$request>(stringify!($request))),*]
    };
}

static GENERATED: &[Generated] = generated! {
    CreateSessionRequest VerifySessionRequest BatchVerifySessionsRequest GetSessionRequest ListSessionsRequest
    RenewSessionRequest RevokeSessionRequest RevokeSessionsRequest GetPlatformAuthRequest
    CreateUserRequest GetUserRequest GetCurrentUserRequest ListUsersRequest UpdateUserRequest DeleteUserRequest
    LockUserRequest UnlockUserRequest ApproveUserRequest RejectUserRequest ChangePasswordRequest SetPasswordRequest
    EnrollTotpRequest ConfirmTotpRequest DisableTotpRequest
    SetAttributesRequest ListAttributesRequest DeleteAttributesRequest
    ListAuditEventsRequest
    CreateDefinitionRequest GetDefinitionRequest ListDefinitionsRequest UpdateDefinitionRequest DeleteDefinitionRequest
    RotateDefinitionSecretRequest
    ListLinkedAuthRequest CreateLinkedAuthRequest UpdateLinkedAuthRequest DeleteLinkedAuthRequest
    LookupLinkedAuthRequest
};

fn of(request: &str) -> Option<&'static Generated> {
    GENERATED.iter().find(|generated| generated.request == request)
}

/// A request as the generated type of its name writes it again; those of others stay as they are.
pub(super) fn request(name: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    of(name).map_or_else(|| Ok(bytes.to_vec()), |generated| (generated.through_request)(bytes))
}

/// The answer to a request of this name, the same way.
pub(super) fn answer(request: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    of(request).map_or_else(|| Ok(bytes.to_vec()), |generated| (generated.through_answer)(bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::DescriptorPool;

    #[test]
    fn every_request_of_the_contract_goes_through_its_generated_type() {
        let pool = DescriptorPool::decode(lanyard_proto::FILE_DESCRIPTOR_SET).expect("descriptors");
        let methods: Vec<_> = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
        let contract: BTreeSet<String> = methods.iter().map(|method| method.input().name().to_owned()).collect();
        let here: BTreeSet<String> = super::GENERATED.iter().map(|it| it.request.to_owned()).collect();
        assert_eq!(here, contract);
    }
}
