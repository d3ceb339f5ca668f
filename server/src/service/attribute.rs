//! `AttributeService`.

use lanyard_proto::v1;
use lanyard_proto::v1::attribute_service_server::AttributeService;
use tonic::Request;

use super::convert;
use super::handler::{Handler, Reply};
use crate::app::attribute::{Attribute, AttributeToSet, Owner};
use crate::error::Result;

#[tonic::async_trait]
impl AttributeService for Handler {
    async fn set_attributes(&self, request: Request<v1::SetAttributesRequest>) -> Reply<v1::SetAttributesResponse> {
        self.run(request, |app, context, message| async move {
            let owner = owner(message.owner.as_ref())?;
            let attributes = message.attributes.into_iter().enumerate().map(to_set).collect::<Result<Vec<_>>>()?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let stored = app.set_attributes(&acting, owner, attributes).await?;
            Ok(v1::SetAttributesResponse { attributes: stored.into_iter().map(attribute).collect() })
        })
        .await
    }

    async fn list_attributes(&self, request: Request<v1::ListAttributesRequest>) -> Reply<v1::ListAttributesResponse> {
        self.run(request, |app, context, message| async move {
            let page = convert::page(message.page_size, &message.page_token)?;
            let owner = owner(message.owner.as_ref())?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let page = app.list_attributes(&acting, owner, message.names, page).await?;
            Ok(v1::ListAttributesResponse {
                attributes: page.items.into_iter().map(attribute).collect(),
                next_page_token: page.next_page_token,
            })
        })
        .await
    }

    async fn delete_attributes(
        &self,
        request: Request<v1::DeleteAttributesRequest>,
    ) -> Reply<v1::DeleteAttributesResponse> {
        self.run(request, |app, context, message| async move {
            let owner = owner(message.owner.as_ref())?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let deleted = app.delete_attributes(&acting, owner, message.names).await?;
            Ok(v1::DeleteAttributesResponse { deleted_count: u32::try_from(deleted).unwrap_or(u32::MAX) })
        })
        .await
    }
}

fn owner(owner: Option<&v1::AttributeOwner>) -> Result<Option<Owner>> {
    use v1::attribute_owner::Owner as Named;

    match owner.and_then(|owner| owner.owner.as_ref()) {
        None => Ok(None),
        Some(Named::UserId(user)) => convert::id("owner.user_id", user).map(|user| Some(Owner::User(user))),
        Some(Named::SessionId(session)) => {
            convert::id("owner.session_id", session).map(|session| Some(Owner::Session(session)))
        }
    }
}

fn to_set((position, attribute): (usize, v1::AttributeToSet)) -> Result<AttributeToSet> {
    let ttl = |ttl| convert::duration(|| format!("attributes[{position}].ttl"), ttl);
    Ok(AttributeToSet {
        name: attribute.name,
        value: attribute.value,
        seal: attribute.seal,
        ttl: attribute.ttl.map(ttl).transpose()?,
        etag: attribute.etag,
    })
}

fn attribute(attribute: Attribute) -> v1::Attribute {
    v1::Attribute {
        name: attribute.name,
        value: attribute.value,
        is_sealed: attribute.is_sealed,
        expire_time: attribute.expires_at.map(convert::timestamp),
        creation_time: Some(convert::timestamp(attribute.created_at)),
        update_time: Some(convert::timestamp(attribute.updated_at)),
        etag: attribute.etag,
    }
}
