//! Imports links. Of several links of one definition, only the first is taken.

use std::collections::HashMap;

use super::definition::{Credential, Definitions};
use super::user::{ImportedUser, Users};
use super::{CHUNK, Line, RowKind, Step, creation_time, is_not_false, is_true};
use crate::app::App;
use crate::clock::Time;
use crate::error::Result;
use crate::model::id::{LinkId, UserId};
use crate::model::link::LinkEntry;
use crate::store::{LinkedAuthRow, ZatoLink};

/// The user of a definition.
struct Owner {
    user_id: UserId,
    display_name: String,
    /// The existing link; `None` if it is only planned.
    link: Option<LinkId>,
}

pub(super) async fn plan(
    app: &App,
    links: Vec<ZatoLink>,
    users: &Users,
    definitions: &Definitions,
    now: Time,
) -> Result<Vec<Step<LinkedAuthRow>>> {
    let mut dated: Vec<_> =
        links.into_iter().map(|link| (creation_time(link.creation_time.as_ref(), now), link)).collect();
    // Links without a time come last, so that they never win over one that has a time.
    dated.sort_by_key(|(time, link)| (time.is_none(), *time, link.id));
    let mut owners = owners(app, &dated, users, definitions).await?;
    Ok(dated.iter().map(|(time, link)| plan_link(link, *time, users, definitions, &mut owners, now)).collect())
}

/// The owners of definitions that existed before the import.
async fn owners(
    app: &App,
    links: &[(Option<Time>, ZatoLink)],
    users: &Users,
    definitions: &Definitions,
) -> Result<HashMap<i64, Owner>> {
    let names = users.names();
    let credentials = links.iter().filter_map(|(_, link)| definitions.credential(link.auth_id?).ok());
    let mut existing: Vec<i64> =
        credentials.filter(|credential| credential.exists).map(|credential| credential.auth_id).collect();
    existing.sort_unstable();
    existing.dedup();
    let mut owners = HashMap::new();
    for auth_ids in existing.chunks(CHUNK) {
        let found = app.parts.store.links_of_definitions(auth_ids).await?;
        owners.extend(found.into_iter().map(|link: LinkEntry| {
            let display_name =
                names.get(&link.user_id).map_or_else(|| link.user_id.to_string(), |name| (*name).to_owned());
            (link.auth_id, Owner { user_id: link.user_id, display_name, link: Some(link.link_id) })
        }));
    }
    Ok(owners)
}

fn plan_link(
    row: &ZatoLink,
    time: Option<Time>,
    users: &Users,
    definitions: &Definitions,
    owners: &mut HashMap<i64, Owner>,
    now: Time,
) -> Step<LinkedAuthRow> {
    let auth_id = row.auth_id.map_or_else(|| "without a number".to_owned(), |id| id.to_string());
    let mut line = Line::new(RowKind::Link, &row.id, format!("{} - {} {auth_id}", row.user_id, auth_type(row)));
    let (user, credential) = match user_and_definition(row, users, definitions) {
        Ok(found) => found,
        Err(reason) => return Step::skip(line.refused(reason)),
    };
    line.name = format!("{} - {} {}", user.username, credential.auth_type.name(), credential.username);
    if let Some(owner) = owners.get(&credential.auth_id) {
        return Step::skip(if owner.user_id == user.user_id {
            line.already_exists(owner.link.map(|link| link.to_string()))
        } else {
            line.refused(format!(
                "the definition is linked to {} already, and belongs to one user only",
                owner.display_name
            ))
        });
    }
    if user.is_foreign_super_user {
        return Step::skip(line.refused("the user is a super-user here, whom it must not log in"));
    }
    let created_at = time.unwrap_or_else(|| {
        line.changed("when it was made is unknown or in the future: it is now");
        now
    });
    owners.insert(credential.auth_id, Owner { user_id: user.user_id, display_name: user.username.clone(), link: None });
    // The ID contains the time, and links are listed by ID.
    let link_id = LinkId::new(created_at);
    line.id = Some(link_id.to_string());
    let imported = LinkedAuthRow {
        link_id,
        user_id: user.user_id,
        auth_id: credential.auth_id,
        is_active: is_not_false(row.is_active.as_ref()),
        is_internal: is_true(row.is_internal.as_ref()),
        created_at,
        updated_at: now,
        last_used_at: None,
        version: 1,
    };
    Step { line, row: Some(imported) }
}

/// User and definition of a link, or why it lacks one.
fn user_and_definition<'a>(
    link: &ZatoLink,
    users: &'a Users,
    definitions: &'a Definitions,
) -> std::result::Result<(&'a ImportedUser, &'a Credential), String> {
    let user = users.imported(&link.user_id)?;
    let Some(auth_id) = link.auth_id.filter(|_| !is_true(link.has_ext_principal.as_ref())) else {
        return Err("it is to an account outside Zato, not to a definition".to_owned());
    };
    let credential = definitions.credential(auth_id)?;
    if auth_type(link) != credential.auth_type.name() {
        return Err(format!("it says that definition {auth_id} is of type {}, but it is not", auth_type(link)));
    }
    Ok((user, credential))
}

/// Zato prefixes the type with `zato.`.
fn auth_type(link: &ZatoLink) -> &str {
    link.auth_type.strip_prefix("zato.").unwrap_or(&link.auth_type)
}
