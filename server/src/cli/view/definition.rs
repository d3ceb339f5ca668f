//! Views of definitions.

use lanyard_client::v1;
use serde::Serialize;

use super::time;
use crate::cli::output::View;

#[derive(Serialize)]
pub(crate) struct DefinitionView {
    auth_id: i64,
    name: String,
    auth_type: &'static str,
    username: String,
    is_active: bool,
    is_internal: bool,
    #[serde(flatten)]
    jwt: Option<JwtView>,
    creation_time: Option<String>,
    update_time: Option<String>,
    overlap_time: Option<String>,
    etag: String,
}

#[derive(Serialize)]
struct JwtView {
    issuer: String,
    audience: String,
    algorithms: Vec<String>,
    clock_skew: Option<String>,
    public_keys: String,
    jwks_url: String,
}

impl View for DefinitionView {
    const FIELDS: &'static str = "auth_id name auth_type username issuer audience algorithms clock_skew jwks_url \
         public_keys is_active is_internal creation_time update_time overlap_time etag";
    const COLUMNS: &'static str = "auth_id name auth_type username issuer is_active is_internal update_time";
}

impl From<v1::Definition> for DefinitionView {
    fn from(definition: v1::Definition) -> Self {
        use v1::definition::Kind;

        let (auth_type, username, jwt) = match definition.kind {
            Some(Kind::BasicAuth(basic_auth)) => ("basic_auth", basic_auth.username, None),
            Some(Kind::Jwt(jwt)) => {
                let clock_skew = jwt.clock_skew.and_then(|skew| std::time::Duration::try_from(skew).ok());
                let view = JwtView {
                    issuer: jwt.issuer,
                    audience: jwt.audience,
                    algorithms: jwt.algorithms,
                    clock_skew: clock_skew.map(|skew| humantime::format_duration(skew).to_string()),
                    public_keys: jwt.public_keys,
                    jwks_url: jwt.jwks_url,
                };
                ("jwt", jwt.username, Some(view))
            }
            None => ("", String::new(), None),
        };
        Self {
            auth_id: definition.auth_id,
            name: definition.name,
            auth_type,
            username,
            is_active: definition.is_active,
            is_internal: definition.is_internal,
            jwt,
            creation_time: time(definition.creation_time),
            update_time: time(definition.update_time),
            overlap_time: time(definition.overlap_time),
            etag: definition.etag,
        }
    }
}
