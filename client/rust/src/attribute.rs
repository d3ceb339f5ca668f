//! Attributes: small named values that services keep with a user or a session.

use crate::client::Subject;
use crate::error::Error;
use crate::page::Pages;
use crate::v1::attribute_owner::Owner;
use crate::v1::{
    Attribute, AttributeOwner, AttributeToSet, DeleteAttributesRequest, ListAttributesRequest, SetAttributesRequest,
};

impl Subject {
    /// Creates or replaces attributes of a user or session (`None`: the acting user): all of them or, with an error, none.
    pub async fn set_attributes(
        &self,
        owner: Option<Owner>,
        attributes: Vec<AttributeToSet>,
    ) -> Result<Vec<Attribute>, Error> {
        let request = SetAttributesRequest { owner: message(owner), attributes, ..SetAttributesRequest::default() };
        Ok(self.call(request).await?.attributes)
    }

    /// Attributes that have not expired, in the order of their names.
    pub fn list_attributes(&self, request: ListAttributesRequest) -> Pages<ListAttributesRequest> {
        Pages::new(self.clone(), request)
    }

    /// Removes attributes of a user or session (`None`: the acting user): all of them or, if one is not there, none.
    pub async fn delete_attributes(&self, owner: Option<Owner>, names: Vec<String>) -> Result<u32, Error> {
        let request = DeleteAttributesRequest { owner: message(owner), names, ..DeleteAttributesRequest::default() };
        Ok(self.call(request).await?.deleted_count)
    }
}

fn message(owner: Option<Owner>) -> Option<AttributeOwner> {
    owner.map(|owner| AttributeOwner { owner: Some(owner) })
}
