//! Definitions: the external credentials that can be linked to users. All of it for super-users only.

use crate::client::Subject;
use crate::error::Error;
use crate::page::Pages;
use crate::v1::{
    CreateDefinitionRequest, Definition, DefinitionSecret, DeleteDefinitionRequest, GetDefinitionRequest,
    ListDefinitionsRequest, RotateDefinitionSecretRequest, UpdateDefinitionRequest,
};

/// A definition after a change that may end sessions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DefinitionChange {
    /// The definition.
    pub definition: Definition,
    /// How many live sessions ended.
    pub revoked_count: u64,
}

impl Subject {
    /// Adds a definition, with what its credentials are checked against.
    pub async fn create_definition(
        &self,
        definition: Definition,
        secret: DefinitionSecret,
    ) -> Result<Definition, Error> {
        let (definition, secret) = (Some(definition), Some(secret));
        let request = CreateDefinitionRequest { definition, secret, ..CreateDefinitionRequest::default() };
        self.call_for(request, "definition", |answer| answer.definition).await
    }

    /// A definition by its number.
    pub async fn get_definition(&self, auth_id: i64) -> Result<Definition, Error> {
        let request = GetDefinitionRequest { auth_id, ..GetDefinitionRequest::default() };
        self.call_for(request, "definition", |answer| answer.definition).await
    }

    /// Definitions in the order of their numbers.
    pub fn list_definitions(&self, request: ListDefinitionsRequest) -> Pages<ListDefinitionsRequest> {
        Pages::new(self.clone(), request)
    }

    /// Changes the fields that the mask of the request names.
    pub async fn update_definition(&self, request: UpdateDefinitionRequest) -> Result<DefinitionChange, Error> {
        self.call_for(request, "definition", |answer| {
            Some(DefinitionChange { definition: answer.definition?, revoked_count: answer.revoked_count })
        })
        .await
    }

    /// Removes a definition with its link, and returns how many live sessions ended: those that began with it.
    pub async fn delete_definition(&self, auth_id: i64) -> Result<u64, Error> {
        let request = DeleteDefinitionRequest { auth_id, ..DeleteDefinitionRequest::default() };
        Ok(self.call(request).await?.revoked_count)
    }

    /// Gives a definition another secret or other keys.
    pub async fn rotate_definition_secret(
        &self,
        request: RotateDefinitionSecretRequest,
    ) -> Result<DefinitionChange, Error> {
        self.call_for(request, "definition", |answer| {
            Some(DefinitionChange { definition: answer.definition?, revoked_count: answer.revoked_count })
        })
        .await
    }
}
