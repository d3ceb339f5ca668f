//! Dispatches calls to the generated services.

use std::convert::Infallible;

use lanyard_proto::v1::attribute_service_server::AttributeServiceServer;
use lanyard_proto::v1::audit_service_server::AuditServiceServer;
use lanyard_proto::v1::definition_service_server::DefinitionServiceServer;
use lanyard_proto::v1::linked_auth_service_server::LinkedAuthServiceServer;
use lanyard_proto::v1::session_service_server::SessionServiceServer;
use lanyard_proto::v1::user_service_server::UserServiceServer;
use tonic::codegen::Service as TowerService;

use super::method::{BATCH_FACTOR, Method, Service};
use super::{Request, ServiceFuture};
use crate::service::Handler;

/// The generated services, each with its message limit.
pub(crate) struct Services {
    session: SessionServiceServer<Handler>,
    batch: SessionServiceServer<Handler>,
    user: UserServiceServer<Handler>,
    attribute: AttributeServiceServer<Handler>,
    audit: AuditServiceServer<Handler>,
    definition: DefinitionServiceServer<Handler>,
    linked_auth: LinkedAuthServiceServer<Handler>,
    /// Replaces all services: tests make calls wait, fail and panic.
    #[cfg(test)]
    pub(crate) test_double: Option<TestDouble>,
}

#[cfg(test)]
pub(crate) type TestDouble = Box<dyn Fn(&'static Method, Request) -> ServiceFuture + Send + Sync>;

impl Services {
    pub(crate) fn new(handler: &Handler, max_request_bytes: usize) -> Self {
        let session = SessionServiceServer::new(handler.clone()).max_decoding_message_size(max_request_bytes);
        let batch_bytes = max_request_bytes.saturating_mul(BATCH_FACTOR);
        Self {
            batch: session.clone().max_decoding_message_size(batch_bytes),
            session,
            user: UserServiceServer::new(handler.clone()).max_decoding_message_size(max_request_bytes),
            attribute: AttributeServiceServer::new(handler.clone()).max_decoding_message_size(max_request_bytes),
            audit: AuditServiceServer::new(handler.clone()).max_decoding_message_size(max_request_bytes),
            definition: DefinitionServiceServer::new(handler.clone()).max_decoding_message_size(max_request_bytes),
            linked_auth: LinkedAuthServiceServer::new(handler.clone()).max_decoding_message_size(max_request_bytes),
            #[cfg(test)]
            test_double: None,
        }
    }

    pub(super) fn call(&self, method: &'static Method, request: Request) -> ServiceFuture {
        #[cfg(test)]
        if let Some(double) = &self.test_double {
            return double(method, request);
        }
        match method.service {
            Service::Session if method.is_batch => call(&self.batch, request),
            Service::Session => call(&self.session, request),
            Service::User => call(&self.user, request),
            Service::Attribute => call(&self.attribute, request),
            Service::Audit => call(&self.audit, request),
            Service::Definition => call(&self.definition, request),
            Service::LinkedAuth => call(&self.linked_auth, request),
        }
    }
}

/// Generated services are always ready and as cheap to clone as an `Arc`.
pub(crate) fn call<S>(service: &S, request: Request) -> ServiceFuture
where
    S: TowerService<Request, Response = http::Response<tonic::body::Body>, Error = Infallible, Future = ServiceFuture>
        + Clone,
{
    service.clone().call(request)
}
