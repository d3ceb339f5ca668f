//! Linked accounts: which definitions belong to which user. This module reads links; `change` writes them.

use std::collections::HashMap;
use std::sync::Arc;

use super::App;
use super::Context;
use super::audit::Event;
use super::client::{Acting, ClientInput};
use super::login::credential;
use super::page::{Page, PageRequest, Query};
use crate::error::{Error, Result};
use crate::model::audit::{Operation, Reason};
use crate::model::id::{LinkId, UserId};
use crate::model::link::LinkEntry;
use crate::model::session::AuthType;
use crate::store::{NamedDefinition, UserLinks};

mod change;

/// Maximum definitions of one lookup.
const MAX_PER_CALL: usize = 500;

/// Identifies a definition by ID, or by type and username.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionKey {
    Id(i64),
    Name(AuthType, String),
}

impl DefinitionKey {
    fn name(&self) -> Option<(AuthType, &str)> {
        match self {
            Self::Id(_) => None,
            Self::Name(auth_type, username) => Some((*auth_type, username)),
        }
    }
}

/// A link that a super-user creates.
#[derive(Clone, Debug)]
pub struct LinkToCreate {
    pub user: UserId,
    pub definition: DefinitionKey,
    pub is_active: bool,
}

/// A link that a user creates for themselves.
pub struct OwnLinkToCreate {
    /// If set, it must be the acting user.
    pub user: Option<UserId>,
    pub proof: credential::ExternalCredential,
}

/// The audit reason of a refusal; `None` for server faults, which are not audited.
const fn refusal(error: &Error) -> Option<Reason> {
    Some(match error {
        Error::SuperUserRequired => Reason::SuperUserRequired,
        Error::UserNotFound => Reason::UserNotFound,
        Error::DefinitionNotFound => Reason::DefinitionNotFound,
        Error::LinkNotFound => Reason::LinkNotFound,
        Error::LinkUnavailable => Reason::LinkUnavailable,
        Error::UserNotEligible => Reason::UserNotEligible,
        Error::LastLoginMethod => Reason::LastLoginMethod,
        Error::ReauthenticationRequired => Reason::ReauthenticationRequired,
        Error::EtagMismatch => Reason::EtagMismatch,
        Error::InvalidField { .. } => Reason::InvalidField,
        Error::SessionInvalid => Reason::SessionEndedMeanwhile,
        Error::LoginFailed => Reason::DefinitionChangedMeanwhile,
        Error::LoginThrottled { .. } => Reason::Throttled,
        Error::KeysUnavailable { .. } => Reason::KeysUnavailable,
        _ => return None,
    })
}

/// Whose links to list. Only super-users may list someone else's.
enum ListedLinks {
    Own(UserId),
    OfAnother(UserId),
}

impl ListedLinks {
    fn of(acting: &Acting<'_>, user: Option<UserId>) -> Self {
        match user {
            Some(user) if user != acting.user() => Self::OfAnother(user),
            _ => Self::Own(acting.user()),
        }
    }
}

impl App {
    /// Audits `outcome` if it is a refusal, and returns it.
    async fn audit_if_refused<T>(&self, event: Event, outcome: Result<T>) -> Result<T> {
        if let Some(reason) = outcome.as_ref().err().and_then(refusal) {
            self.write_event(event.refused(reason)).await?;
        }
        outcome
    }

    /// The links of the acting user, if they are cached and fit on one page.
    pub fn list_links_cached(
        &self,
        acting: &Acting<'_>,
        user: Option<UserId>,
        page: &PageRequest<'_>,
    ) -> Option<Arc<UserLinks>> {
        let ListedLinks::Own(owner) = ListedLinks::of(acting, user) else { return None };
        if !page.is_first() {
            return None;
        }
        let fits = |links: &Arc<UserLinks>| links.len() as u64 <= page.limit();
        let links = self.parts.store.cached_links(owner).filter(fits)?;
        let is_recorded = self
            .own_read_event(acting, Operation::LinkList)
            .is_none_or(|event| self.parts.store.try_record_read(event));
        is_recorded.then_some(links)
    }

    /// One page of a user's links, oldest first; `None` means the acting user.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn list_links(
        &self,
        acting: &Acting<'_>,
        user: Option<UserId>,
        page: PageRequest<'_>,
    ) -> Result<Page<LinkEntry>> {
        let (target, is_own) = match ListedLinks::of(acting, user) {
            ListedLinks::Own(owner) => (owner, true),
            ListedLinks::OfAnother(target) => {
                self.require_super_user(acting, Operation::LinkList, Some(target), None).await?;
                (target, false)
            }
        };
        let now = self.parts.clock.now();
        let query = Query::new("links", acting.user(), &target.to_string());
        let links = match page.cursor(&self.parts.keyring, &query, now)? {
            None => {
                let links = self.parts.store.links_of_user(target).await?;
                // The extra link shows that there is another page.
                let wanted = usize::try_from(page.limit() + 1).unwrap_or(usize::MAX);
                links.iter().take(wanted).cloned().collect()
            }
            Some(after) => {
                let after = LinkId::from_slice(&after).map_err(|_| Error::PageTokenInvalid)?;
                self.parts.store.links_of_user_after(target, after, page.limit() + 1).await?
            }
        };
        if is_own {
            self.audit_own_read(acting, Operation::LinkList, None).await?;
        } else {
            if links.is_empty() && self.parts.store.user(target).await?.is_none() {
                let event = Event::by(acting, Operation::LinkList).target(target);
                return self.audit_if_refused(event, Err(Error::UserNotFound)).await;
            }
            self.audit_read(acting, Operation::LinkList, Some(target), None).await?;
        }
        Ok(page.take(links, |link| link.link_id.as_bytes().to_vec(), &self.parts.keyring, &query, now))
    }

    /// The links of definitions, in order; `None` if unknown or not linked. Needs no acting user.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn lookup_links(
        &self,
        context: &Context,
        client: ClientInput<'_>,
        definitions: &[DefinitionKey],
    ) -> Result<Vec<Option<LinkEntry>>> {
        let client = self.client(context, client)?;
        if definitions.is_empty() || definitions.len() > MAX_PER_CALL {
            return Err(Error::invalid("definitions", "must have 1 to 500 entries"));
        }
        let auth_ids = self.auth_ids_of(definitions, |position| format!("definitions[{position}].auth_name")).await?;
        let known: Vec<i64> = auth_ids.iter().flatten().copied().collect();
        let links = self.parts.store.links_of_definitions(&known).await?;
        let links: HashMap<i64, LinkEntry> = links.into_iter().map(|link| (link.auth_id, link)).collect();
        let detail = serde_json::json!({ "definitions": definitions.len(), "links": links.len() });
        self.audit_read_event(Event::new(&client, Operation::LinkLookup).detail(detail)).await?;
        Ok(auth_ids.into_iter().map(|auth_id| auth_id.and_then(|auth_id| links.get(&auth_id).cloned())).collect())
    }

    /// The IDs of definitions, in order; `None` for unknown names. `field`: the request field of a position.
    async fn auth_ids_of(
        &self,
        definitions: &[DefinitionKey],
        field: impl Fn(usize) -> String,
    ) -> Result<Vec<Option<i64>>> {
        let wanted: Vec<(AuthType, &str)> = definitions.iter().filter_map(DefinitionKey::name).collect();
        let found = if wanted.is_empty() { Vec::new() } else { self.parts.store.definitions_named(&wanted).await? };
        let found: HashMap<(AuthType, &str), &NamedDefinition> =
            found.iter().map(|definition| ((definition.auth_type, definition.username.as_str()), definition)).collect();
        let auth_id =
            |(position, key): (usize, &DefinitionKey)| match (key, key.name().and_then(|name| found.get(&name))) {
                (DefinitionKey::Id(auth_id), _) => Ok(Some(*auth_id)),
                (DefinitionKey::Name(..), Some(definition)) if definition.definitions > 1 => {
                    Err(Error::invalid(field(position), "two issuers have this subject: send `auth_id`"))
                }
                (DefinitionKey::Name(..), definition) => Ok(definition.map(|definition| definition.auth_id)),
            };
        definitions.iter().enumerate().map(auth_id).collect()
    }

    /// The ID of the definition of a new link.
    async fn auth_id_of(&self, definition: &DefinitionKey) -> Result<i64> {
        let auth_ids =
            self.auth_ids_of(std::slice::from_ref(definition), |_| "definition.auth_name".to_owned()).await?;
        auth_ids.into_iter().flatten().next().ok_or(Error::DefinitionNotFound)
    }
}

fn etag_matches(etag: &str, version: i64) -> Result<()> {
    if etag.is_empty() || etag == version.to_string() { Ok(()) } else { Err(Error::EtagMismatch) }
}

/// The link was deleted, possibly with its user or definition.
fn or_link_not_found<T>(found: Option<T>) -> Result<T> {
    found.ok_or(Error::LinkNotFound)
}

/// The audit detail common to all changes of links.
fn detail(link: LinkId, auth_id: i64) -> serde_json::Value {
    serde_json::json!({ "link_id": link.to_string(), "auth_id": auth_id })
}
