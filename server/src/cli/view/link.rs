//! Views of links.

use lanyard_client::v1;
use serde::Serialize;

use super::time;
use crate::cli::output::View;

/// The first ten fields are those of Zato SSO.
#[derive(Serialize)]
pub(crate) struct LinkView {
    user_id: String,
    auth_type: String,
    auth_username: String,
    auth_id: i64,
    creation_time: Option<String>,
    is_active: bool,
    is_internal: bool,
    auth_source: String,
    auth_principal: String,
    has_ext_principal: bool,
    link_id: String,
    last_used_time: Option<String>,
    etag: String,
}

impl View for LinkView {
    const FIELDS: &'static str = "link_id user_id auth_type auth_username auth_id is_active is_internal \
         creation_time last_used_time etag";
    const COLUMNS: &'static str = "link_id auth_type auth_username auth_id is_active creation_time last_used_time";
}

impl From<v1::LinkedAuth> for LinkView {
    fn from(link: v1::LinkedAuth) -> Self {
        Self {
            user_id: link.user_id,
            auth_type: link.auth_type,
            auth_username: link.auth_username,
            auth_id: link.auth_id,
            creation_time: time(link.creation_time),
            is_active: link.is_active,
            is_internal: link.is_internal,
            auth_source: link.auth_source,
            auth_principal: link.auth_principal,
            has_ext_principal: link.has_ext_principal,
            link_id: link.link_id,
            last_used_time: time(link.last_used_time),
            etag: link.etag,
        }
    }
}

/// The user a definition is linked to; all `None` if unlinked.
#[derive(Serialize)]
pub(crate) struct LinkedUserView {
    user_id: Option<String>,
    link_id: Option<String>,
    auth_id: Option<i64>,
    is_active: Option<bool>,
}

impl View for LinkedUserView {
    const FIELDS: &'static str = "user_id link_id auth_id is_active";
    const COLUMNS: &'static str = Self::FIELDS;
}

impl From<Option<v1::LinkedUser>> for LinkedUserView {
    fn from(user: Option<v1::LinkedUser>) -> Self {
        let (auth_id, is_active) = user.as_ref().map(|user| (user.auth_id, user.is_active)).unzip();
        let (user_id, link_id) = user.map(|user| (user.user_id, user.link_id)).unzip();
        Self { user_id, link_id, auth_id, is_active }
    }
}
