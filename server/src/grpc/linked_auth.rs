//! `LinkedAuthService`.

use lanyard_proto::v1;
use lanyard_proto::v1::linked_auth_service_server::LinkedAuthService;
use tonic::Request;

use super::handler::{Handler, Reply};
use crate::error::Error;

#[tonic::async_trait]
impl LinkedAuthService for Handler {
    async fn list_linked_auth(
        &self,
        _request: Request<v1::ListLinkedAuthRequest>,
    ) -> Reply<v1::ListLinkedAuthResponse> {
        Err(Error::internal("soon").into())
    }

    async fn create_linked_auth(
        &self,
        _request: Request<v1::CreateLinkedAuthRequest>,
    ) -> Reply<v1::CreateLinkedAuthResponse> {
        Err(Error::internal("soon").into())
    }

    async fn update_linked_auth(
        &self,
        _request: Request<v1::UpdateLinkedAuthRequest>,
    ) -> Reply<v1::UpdateLinkedAuthResponse> {
        Err(Error::internal("soon").into())
    }

    async fn delete_linked_auth(
        &self,
        _request: Request<v1::DeleteLinkedAuthRequest>,
    ) -> Reply<v1::DeleteLinkedAuthResponse> {
        Err(Error::internal("soon").into())
    }

    async fn lookup_linked_auth(
        &self,
        _request: Request<v1::LookupLinkedAuthRequest>,
    ) -> Reply<v1::LookupLinkedAuthResponse> {
        Err(Error::internal("soon").into())
    }
}
