//! `DefinitionService`.

use lanyard_proto::v1;
use lanyard_proto::v1::definition_service_server::DefinitionService;
use tonic::Request;

use super::handler::{Handler, Reply};
use crate::error::Error;

#[tonic::async_trait]
impl DefinitionService for Handler {
    async fn create_definition(
        &self,
        _request: Request<v1::CreateDefinitionRequest>,
    ) -> Reply<v1::CreateDefinitionResponse> {
        Err(Error::internal("soon").into())
    }

    async fn get_definition(&self, _request: Request<v1::GetDefinitionRequest>) -> Reply<v1::GetDefinitionResponse> {
        Err(Error::internal("soon").into())
    }

    async fn list_definitions(
        &self,
        _request: Request<v1::ListDefinitionsRequest>,
    ) -> Reply<v1::ListDefinitionsResponse> {
        Err(Error::internal("soon").into())
    }

    async fn update_definition(
        &self,
        _request: Request<v1::UpdateDefinitionRequest>,
    ) -> Reply<v1::UpdateDefinitionResponse> {
        Err(Error::internal("soon").into())
    }

    async fn delete_definition(
        &self,
        _request: Request<v1::DeleteDefinitionRequest>,
    ) -> Reply<v1::DeleteDefinitionResponse> {
        Err(Error::internal("soon").into())
    }

    async fn rotate_definition_secret(
        &self,
        _request: Request<v1::RotateDefinitionSecretRequest>,
    ) -> Reply<v1::RotateDefinitionSecretResponse> {
        Err(Error::internal("soon").into())
    }
}
