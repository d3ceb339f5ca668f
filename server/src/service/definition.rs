//! `DefinitionService`.

use lanyard_proto::v1;
use lanyard_proto::v1::definition::Kind;
use lanyard_proto::v1::definition_service_server::DefinitionService;
use tonic::Request;

use super::convert;
use super::handler::{Handler, Reply};
use crate::app::definition::{
    Definition, DefinitionChange, DefinitionKind, DefinitionSecret, DefinitionToCreate, JwtDefinition, KindToCreate,
    ListDefinitions, Rotation,
};
use crate::error::{Error, Result};
use crate::model::session::AuthType;

#[tonic::async_trait]
impl DefinitionService for Handler {
    async fn create_definition(
        &self,
        request: Request<v1::CreateDefinitionRequest>,
    ) -> Reply<v1::CreateDefinitionResponse> {
        self.run(request, |app, context, message| async move {
            let secret = secret(message.secret)?;
            let asked = message.definition.ok_or_else(|| Error::invalid("definition", "is missing"))?;
            let new = DefinitionToCreate {
                name: asked.name,
                is_active: asked.is_active,
                is_internal: asked.is_internal,
                kind: kind(asked.kind)?,
                secret,
            };
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let created = app.create_definition(&acting, new).await?;
            Ok(v1::CreateDefinitionResponse { definition: Some(definition(created)) })
        })
        .await
    }

    async fn get_definition(&self, request: Request<v1::GetDefinitionRequest>) -> Reply<v1::GetDefinitionResponse> {
        self.run(request, |app, context, message| async move {
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let found = app.get_definition(&acting, message.auth_id).await?;
            Ok(v1::GetDefinitionResponse { definition: Some(definition(found)) })
        })
        .await
    }

    async fn list_definitions(
        &self,
        request: Request<v1::ListDefinitionsRequest>,
    ) -> Reply<v1::ListDefinitionsResponse> {
        self.run(request, |app, context, message| async move {
            let page = convert::page(message.page_size, &message.page_token)?;
            let list = ListDefinitions {
                auth_type: auth_type(&message.auth_type)?,
                name: convert::optional_text("name", &message.name)?,
            };
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let page = app.list_definitions(&acting, list, page).await?;
            Ok(v1::ListDefinitionsResponse {
                definitions: page.items.into_iter().map(definition).collect(),
                next_page_token: page.next_page_token,
            })
        })
        .await
    }

    async fn update_definition(
        &self,
        request: Request<v1::UpdateDefinitionRequest>,
    ) -> Reply<v1::UpdateDefinitionResponse> {
        self.run(request, |app, context, message| async move {
            let asked = message.definition.ok_or_else(|| Error::invalid("definition", "is missing"))?;
            let mask = message.update_mask.unwrap_or_default();
            if mask.paths.is_empty() {
                return Err(Error::invalid("update_mask", "is empty: name the fields to change"));
            }
            let changes = mask.paths.iter().map(|path| change(path, &asked)).collect::<Result<Vec<_>>>()?;
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let (updated, revoked_count) = app.update_definition(&acting, asked.auth_id, changes, asked.etag).await?;
            Ok(v1::UpdateDefinitionResponse { definition: Some(definition(updated)), revoked_count })
        })
        .await
    }

    async fn delete_definition(
        &self,
        request: Request<v1::DeleteDefinitionRequest>,
    ) -> Reply<v1::DeleteDefinitionResponse> {
        self.run(request, |app, context, message| async move {
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let revoked_count = app.delete_definition(&acting, message.auth_id, message.etag).await?;
            Ok(v1::DeleteDefinitionResponse { revoked_count })
        })
        .await
    }

    async fn rotate_definition_secret(
        &self,
        request: Request<v1::RotateDefinitionSecretRequest>,
    ) -> Reply<v1::RotateDefinitionSecretResponse> {
        self.run(request, |app, context, message| async move {
            let rotation = Rotation {
                secret: secret(message.secret)?,
                overlap: convert::duration(|| "overlap".to_owned(), message.overlap.unwrap_or_default())?,
                revoke_sessions: message.revoke_sessions,
                etag: message.etag,
            };
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let (rotated, revoked_count) = app.rotate_definition_secret(&acting, message.auth_id, rotation).await?;
            Ok(v1::RotateDefinitionSecretResponse { definition: Some(definition(rotated)), revoked_count })
        })
        .await
    }
}

fn secret(secret: Option<v1::DefinitionSecret>) -> Result<DefinitionSecret> {
    let mut sent = secret.unwrap_or_default();
    let (secret, keys) = (convert::secret(&mut sent.secret), convert::secret(&mut sent.public_keys));
    match (secret.is_empty(), keys.is_empty(), sent.jwks_url.is_empty()) {
        (false, true, true) => Ok(DefinitionSecret::Secret(secret)),
        (true, false, true) => Ok(DefinitionSecret::PublicKeys(keys)),
        (true, true, false) => Ok(DefinitionSecret::JwksUrl(sent.jwks_url)),
        _ => Err(Error::invalid("secret", "must have exactly one of `secret`, `public_keys` and `jwks_url`")),
    }
}

fn kind(kind: Option<Kind>) -> Result<KindToCreate> {
    Ok(match kind {
        Some(Kind::BasicAuth(basic_auth)) => KindToCreate::BasicAuth { username: basic_auth.username },
        Some(Kind::Jwt(jwt)) => KindToCreate::Jwt {
            clock_skew: clock_skew(&jwt)?,
            issuer: jwt.issuer,
            username: jwt.username,
            audience: jwt.audience,
            algorithms: jwt.algorithms,
        },
        None => return Err(Error::invalid("definition.kind", "is missing: send `basic_auth` or `jwt`")),
    })
}

fn clock_skew(jwt: &v1::JwtDefinition) -> Result<Option<std::time::Duration>> {
    let read = |skew| convert::duration(|| "definition.jwt.clock_skew".to_owned(), skew);
    jwt.clock_skew.map(read).transpose()
}

fn auth_type(name: &str) -> Result<Option<AuthType>> {
    match name {
        "" => Ok(None),
        "basic_auth" => Ok(Some(AuthType::BasicAuth)),
        "jwt" => Ok(Some(AuthType::Jwt)),
        _ => Err(Error::invalid("auth_type", "must be `basic_auth` or `jwt`, or empty")),
    }
}

/// The change of the field that a mask path names.
fn change(path: &str, asked: &v1::Definition) -> Result<DefinitionChange> {
    let jwt = || match &asked.kind {
        Some(Kind::Jwt(jwt)) => Ok(jwt),
        _ => Err(Error::invalid("definition.jwt", "is missing, and `update_mask` names a field of it")),
    };
    Ok(match path {
        "name" => DefinitionChange::Name(asked.name.clone()),
        "is_active" => DefinitionChange::IsActive(asked.is_active),
        "jwt.audience" => DefinitionChange::Audience(jwt()?.audience.clone()),
        "jwt.algorithms" => DefinitionChange::Algorithms(jwt()?.algorithms.clone()),
        "jwt.clock_skew" => DefinitionChange::ClockSkew(clock_skew(jwt()?)?),
        _ => return Err(Error::invalid("update_mask", "names a field that is unknown or cannot be changed this way")),
    })
}

fn definition(definition: Definition) -> v1::Definition {
    let kind = match definition.kind {
        DefinitionKind::BasicAuth { username } => Kind::BasicAuth(v1::BasicAuthDefinition { username }),
        DefinitionKind::Jwt(jwt) => Kind::Jwt(jwt_definition(jwt)),
    };
    v1::Definition {
        auth_id: definition.auth_id,
        name: definition.name,
        is_active: definition.is_active,
        is_internal: definition.is_internal,
        kind: Some(kind),
        creation_time: Some(convert::timestamp(definition.created_at)),
        update_time: Some(convert::timestamp(definition.updated_at)),
        overlap_time: definition.overlap_until.map(convert::timestamp),
        etag: definition.etag,
    }
}

fn jwt_definition(jwt: JwtDefinition) -> v1::JwtDefinition {
    v1::JwtDefinition {
        issuer: jwt.issuer,
        username: jwt.username,
        audience: jwt.audience,
        algorithms: jwt.algorithms.into_iter().map(str::to_owned).collect(),
        clock_skew: Some(convert::proto_duration(jwt.clock_skew)),
        public_keys: jwt.public_keys,
        jwks_url: jwt.jwks_url,
    }
}
