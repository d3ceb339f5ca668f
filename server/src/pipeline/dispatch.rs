//! From a row of the table of methods to the generated service.

use std::convert::Infallible;

use lanyard_proto::v1::attribute_service_server::{AttributeService, AttributeServiceServer};
use lanyard_proto::v1::audit_service_server::{AuditService, AuditServiceServer};
use lanyard_proto::v1::definition_service_server::{DefinitionService, DefinitionServiceServer};
use lanyard_proto::v1::linked_auth_service_server::{LinkedAuthService, LinkedAuthServiceServer};
use lanyard_proto::v1::session_service_server::{SessionService, SessionServiceServer};
use lanyard_proto::v1::user_service_server::{UserService, UserServiceServer};
use tonic::codegen::Service as TowerService;

use super::method::{BATCH_FACTOR, Method, Service};
use super::{Answering, Request};

/// The dispatch for [`super::server::Front`]: hands each method to its service.
pub fn routes(
    session: impl SessionService,
    user: impl UserService,
    attribute: impl AttributeService,
    audit: impl AuditService,
    definition: impl DefinitionService,
    linked_auth: impl LinkedAuthService,
    max_request_bytes: usize,
) -> impl Fn(&'static Method, Request) -> Answering + Send + Sync + 'static {
    let session = SessionServiceServer::new(session).max_decoding_message_size(max_request_bytes);
    let batch = session.clone().max_decoding_message_size(max_request_bytes.saturating_mul(BATCH_FACTOR));
    let user = UserServiceServer::new(user).max_decoding_message_size(max_request_bytes);
    let attribute = AttributeServiceServer::new(attribute).max_decoding_message_size(max_request_bytes);
    let audit = AuditServiceServer::new(audit).max_decoding_message_size(max_request_bytes);
    let definition = DefinitionServiceServer::new(definition).max_decoding_message_size(max_request_bytes);
    let linked_auth = LinkedAuthServiceServer::new(linked_auth).max_decoding_message_size(max_request_bytes);
    move |method, request| match method.service {
        Service::Session if method.is_batch => call(&batch, request),
        Service::Session => call(&session, request),
        Service::User => call(&user, request),
        Service::Attribute => call(&attribute, request),
        Service::Audit => call(&audit, request),
        Service::Definition => call(&definition, request),
        Service::LinkedAuth => call(&linked_auth, request),
    }
}

/// Calls a generated service. They are always ready and as cheap to clone as an `Arc`.
pub(crate) fn call<S>(service: &S, request: Request) -> Answering
where
    S: TowerService<Request, Response = http::Response<tonic::body::Body>, Error = Infallible, Future = Answering>
        + Clone,
{
    service.clone().call(request)
}
