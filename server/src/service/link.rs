//! `LinkedAuthService`.

use lanyard_proto::v1;
use lanyard_proto::v1::create_linked_auth_request::Proof;
use lanyard_proto::v1::linked_auth_service_server::LinkedAuthService;
use tonic::Request;

use super::convert;
use super::handler::{Handler, Reply};
use crate::app::link::{DefinitionKey, LinkToCreate, OwnLinkToCreate};
use crate::app::login::credential::ExternalCredential;
use crate::app::{App, Context};
use crate::error::{Error, Result};
use crate::model::link::LinkEntry;
use crate::model::session::AuthType;
use crate::model::verdict::CachedVerdict;

/// The value that Zato SSO returns in fields reserved for future use.
pub(crate) const RESERVED: &str = "reserved";

#[tonic::async_trait]
impl LinkedAuthService for Handler {
    /// The fast path of the pipeline answers nearly all of these calls, with the same conversion.
    async fn list_linked_auth(&self, request: Request<v1::ListLinkedAuthRequest>) -> Reply<v1::ListLinkedAuthResponse> {
        self.run(request, |app, context, message| list(app, context, message, None)).await
    }

    async fn create_linked_auth(
        &self,
        request: Request<v1::CreateLinkedAuthRequest>,
    ) -> Reply<v1::CreateLinkedAuthResponse> {
        self.run(request, |app, context, mut message| async move {
            let made = if let Some(proof) = message.proof.take() {
                let new = own_link(&message, proof)?;
                let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
                app.create_own_link(&acting, new).await?
            } else {
                let new = link_for(&message)?;
                let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
                app.create_link(&acting, new).await?
            };
            Ok(v1::CreateLinkedAuthResponse { link: Some(link(&made)) })
        })
        .await
    }

    async fn update_linked_auth(
        &self,
        request: Request<v1::UpdateLinkedAuthRequest>,
    ) -> Reply<v1::UpdateLinkedAuthResponse> {
        self.run(request, |app, context, message| async move {
            let wanted = convert::id("link_id", &message.link_id)?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let (changed, revoked_count) = app.update_link(&acting, wanted, message.is_active, message.etag).await?;
            Ok(v1::UpdateLinkedAuthResponse { link: Some(link(&changed)), revoked_count })
        })
        .await
    }

    async fn delete_linked_auth(
        &self,
        request: Request<v1::DeleteLinkedAuthRequest>,
    ) -> Reply<v1::DeleteLinkedAuthResponse> {
        self.run(request, |app, context, message| async move {
            let wanted = convert::id("link_id", &message.link_id)?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let revoked_count = app.delete_link(&acting, wanted, message.etag).await?;
            Ok(v1::DeleteLinkedAuthResponse { revoked_count })
        })
        .await
    }

    async fn lookup_linked_auth(
        &self,
        request: Request<v1::LookupLinkedAuthRequest>,
    ) -> Reply<v1::LookupLinkedAuthResponse> {
        self.run(request, |app, context, message| async move {
            let wanted = message.definitions.iter().enumerate();
            let wanted =
                wanted.map(|(position, wanted)| definition(|| format!("definitions[{position}]"), Some(wanted)));
            let wanted = wanted.collect::<Result<Vec<_>>>()?;
            let found = app.lookup_links(&context, convert::client(message.client.as_ref()), &wanted).await?;
            Ok(v1::LookupLinkedAuthResponse { users: found.into_iter().map(linked_user).collect() })
        })
        .await
    }
}

/// `cached`: the cache's result for the token, if known.
pub(crate) async fn list(
    app: App,
    context: Context,
    message: v1::ListLinkedAuthRequest,
    cached: Option<CachedVerdict>,
) -> Result<v1::ListLinkedAuthResponse> {
    let page = convert::page(message.page_size, &message.page_token)?;
    let user = convert::optional_id("user_id", &message.user_id)?;
    let input = convert::acting(&message.ust, message.client.as_ref());
    let acting = app.acting_as_cached(&context, input, cached).await?;
    let page = app.list_links(&acting, user, page).await?;
    Ok(v1::ListLinkedAuthResponse {
        links: page.items.iter().map(link).collect(),
        next_page_token: page.next_page_token,
    })
}

/// The request of a super-user.
fn link_for(message: &v1::CreateLinkedAuthRequest) -> Result<LinkToCreate> {
    Ok(LinkToCreate {
        user: convert::id("user_id", &message.user_id)?,
        definition: definition(|| "definition".to_owned(), message.definition.as_ref())?,
        is_active: !message.is_inactive,
    })
}

/// The request of users who link an account to themselves by proving a credential. The link is active at once.
fn own_link(message: &v1::CreateLinkedAuthRequest, proof: Proof) -> Result<OwnLinkToCreate> {
    if message.definition.is_some() {
        return Err(Error::invalid("definition", "with `proof` it is the one that the proof is of: leave it out"));
    }
    if message.is_inactive {
        return Err(Error::invalid("is_inactive", "is for super-users who make a link for somebody else"));
    }
    let proof = match proof {
        Proof::BasicAuth(mut sent) => ExternalCredential::BasicAuth {
            secret: convert::secret(&mut sent.secret),
            username: std::mem::take(&mut sent.username),
        },
        Proof::Jwt(mut sent) => ExternalCredential::Jwt { token: convert::secret(&mut sent.token) },
    };
    Ok(OwnLinkToCreate { user: convert::optional_id("user_id", &message.user_id)?, proof })
}

fn definition(field: impl Fn() -> String, named: Option<&v1::DefinitionRef>) -> Result<DefinitionKey> {
    use v1::definition_ref::Definition;

    match named.and_then(|named| named.definition.as_ref()) {
        None => Err(Error::invalid(field(), "is missing: send `auth_id` or `auth_name`")),
        Some(Definition::AuthId(number)) => Ok(DefinitionKey::Id(*number)),
        Some(Definition::AuthName(name)) => {
            let auth_type = match name.auth_type.as_str() {
                "basic_auth" => AuthType::BasicAuth,
                "jwt" => AuthType::Jwt,
                _ => {
                    let field = format!("{}.auth_name.auth_type", field());
                    return Err(Error::invalid(field, "must be `basic_auth` or `jwt`"));
                }
            };
            if name.auth_username.contains('\0') {
                return Err(Error::invalid(format!("{}.auth_name.auth_username", field()), "must not contain NUL"));
            }
            Ok(DefinitionKey::Name(auth_type, name.auth_username.clone()))
        }
    }
}

pub(crate) fn link(link: &LinkEntry) -> v1::LinkedAuth {
    v1::LinkedAuth {
        user_id: link.user_id.into(),
        auth_type: auth_type(link).to_owned(),
        auth_username: link.auth_username.to_string(),
        auth_id: link.auth_id,
        creation_time: Some(convert::timestamp(link.created_at)),
        is_active: link.is_active,
        is_internal: link.is_internal,
        auth_source: RESERVED.to_owned(),
        auth_principal: RESERVED.to_owned(),
        has_ext_principal: false,
        link_id: link.link_id.into(),
        last_used_time: link.last_used_at.map(convert::timestamp),
        etag: link.version.to_string(),
    }
}

pub(crate) fn auth_type(link: &LinkEntry) -> &'static str {
    link.auth_type.name()
}

/// Omits the username.
fn linked_user(link: Option<LinkEntry>) -> v1::LinkedUser {
    link.map_or_else(v1::LinkedUser::default, |link| v1::LinkedUser {
        user_id: link.user_id.to_string(),
        link_id: link.link_id.to_string(),
        auth_id: link.auth_id,
        is_active: link.is_active && link.is_definition_active,
    })
}
