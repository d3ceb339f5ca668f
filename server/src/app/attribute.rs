//! Attributes: small named values of users and sessions.

use std::time::Duration;

use uuid::Uuid;

use super::App;
use super::audit::Event;
use super::client::Acting;
use super::page::{Page, PageRequest, Query};
use crate::clock::Time;
use crate::crypto::Keyring;
use crate::error::{Error, Result};
use crate::model::audit::Operation;
use crate::model::id::{SessionId, UserId};
use crate::store::{AttributeRow, Tx};

/// Maximum attributes of one user or session.
const MAX_ATTRIBUTES: u32 = 256;
/// Maximum attributes of one call.
const MAX_PER_CALL: usize = 64;
const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 16 * 1024;
/// The resolution of timestamps in both databases.
const MIN_TTL: Duration = Duration::from_micros(1);
/// Keeps the expiry within the dates that every language can represent.
const MAX_TTL: Duration = Duration::from_hours(100 * 365 * 24);

/// The owner of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    User(UserId),
    Session(SessionId),
}

impl Owner {
    /// The owner column of its rows.
    const fn key(self) -> Uuid {
        match self {
            Self::User(user) => user.uuid(),
            Self::Session(session) => session.uuid(),
        }
    }
}

/// An attribute to create or replace.
#[derive(Clone)]
pub struct AttributeToSet {
    pub name: String,
    pub value: String,
    pub seal: bool,
    /// `None`: as long as its owner.
    pub ttl: Option<Duration>,
    /// If not empty, the current etag must match.
    pub etag: String,
}

/// An attribute, unsealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    pub value: String,
    pub is_sealed: bool,
    pub expires_at: Option<Time>,
    pub created_at: Time,
    pub updated_at: Time,
    pub etag: String,
}

impl std::fmt::Debug for Attribute {
    /// Omits the value, a possible secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attribute").field("name", &self.name).field("etag", &self.etag).finish_non_exhaustive()
    }
}

/// Names appear in logs and listings, so the alphabet is restricted.
fn check_name(field: impl FnOnce() -> String, name: &str) -> Result<()> {
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || b"._-:/".contains(&b);
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_legal) {
        return Err(Error::invalid(field(), "must be 1 to 128 of letters, digits and . _ - : /"));
    }
    Ok(())
}

fn check_names(names: &[String]) -> Result<()> {
    names.iter().enumerate().try_for_each(|(position, name)| check_name(|| format!("names[{position}]"), name))
}

fn check(attributes: &[AttributeToSet]) -> Result<()> {
    check_count(attributes.len(), "attributes")?;
    for (position, attribute) in attributes.iter().enumerate() {
        check_name(|| format!("attributes[{position}].name"), &attribute.name)?;
        if attribute.value.len() > MAX_VALUE {
            return Err(Error::invalid(format!("attributes[{position}].value"), "is longer than 16 KiB"));
        }
        if attribute.ttl.is_some_and(|ttl| !(MIN_TTL..=MAX_TTL).contains(&ttl)) {
            return Err(Error::invalid(
                format!("attributes[{position}].ttl"),
                "must be from 1 microsecond to 100 years: leave it out for no expiry",
            ));
        }
        if attributes[..position].iter().any(|earlier| earlier.name == attribute.name) {
            return Err(Error::invalid(format!("attributes[{position}].name"), "is there twice"));
        }
    }
    Ok(())
}

fn check_count(count: usize, field: &'static str) -> Result<()> {
    if count == 0 || count > MAX_PER_CALL {
        return Err(Error::invalid(field, "must have 1 to 64 entries"));
    }
    Ok(())
}

fn seal_context<'a>(owner: &'a Uuid, name: &'a str) -> [&'a [u8]; 4] {
    [b"attribute", owner.as_bytes(), name.as_bytes(), b"value"]
}

fn read(row: AttributeRow, keyring: &Keyring) -> Result<Attribute> {
    let value = if row.is_sealed {
        keyring.open(&seal_context(&row.owner_id, &row.name), &row.value).map_err(Error::internal)?
    } else {
        row.value
    };
    Ok(Attribute {
        name: row.name,
        value: String::from_utf8(value).map_err(|_| Error::internal("a stored attribute is not UTF-8"))?,
        is_sealed: row.is_sealed,
        expires_at: row.expires_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
        etag: row.version.to_string(),
    })
}

impl App {
    /// The owner, if the acting user has access; `None`: the acting user.
    async fn owner(&self, acting: &Acting<'_>, operation: Operation, owner: Option<Owner>) -> Result<Owner> {
        let owner = owner.unwrap_or(Owner::User(acting.user()));
        match owner {
            Owner::User(user) if user == acting.user() => {}
            Owner::User(user) => self.require_super_user(acting, operation, Some(user), None).await?,
            Owner::Session(session) if session == acting.session.session_id || acting.is_super_user() => {}
            Owner::Session(session) => {
                let row = self.parts.store.session(session).await?;
                // A regular user cannot tell someone else's session from a missing one.
                if row.is_none_or(|row| row.user_id != acting.user()) {
                    self.require_super_user(acting, operation, None, Some(session)).await?;
                }
            }
        }
        Ok(owner)
    }

    /// Creates or replaces attributes atomically.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn set_attributes(
        &self,
        acting: &Acting<'_>,
        owner: Option<Owner>,
        attributes: Vec<AttributeToSet>,
    ) -> Result<Vec<Attribute>> {
        check(&attributes)?;
        let owner = self.owner(acting, Operation::AttributeSet, owner).await?;
        let names: Vec<&str> = attributes.iter().map(|attribute| attribute.name.as_str()).collect();
        let event = event(acting, Operation::AttributeSet, owner).detail(serde_json::json!({ "names": names }));
        let attributes = std::sync::Arc::new(attributes);
        let rows = self.parts.store.write(move |tx| {
            let (event, attributes) = (event.clone(), std::sync::Arc::clone(&attributes));
            Box::pin(async move {
                let now = tx.clock().now();
                let user = lock_owner(tx, owner, now).await?;
                let rows = put(tx, owner, &attributes, now).await?;
                if tx.attribute_count(owner.key(), now).await? > u64::from(MAX_ATTRIBUTES) {
                    return Err(Error::AttributeQuotaReached { limit: MAX_ATTRIBUTES });
                }
                finish(tx, event, owner, user);
                Ok(rows)
            })
        });
        rows.await?.into_iter().map(|row| read(row, &self.parts.keyring)).collect()
    }

    /// One page of attributes that have not expired.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn list_attributes(
        &self,
        acting: &Acting<'_>,
        owner: Option<Owner>,
        names: Vec<String>,
        page: PageRequest<'_>,
    ) -> Result<Page<Attribute>> {
        if names.len() > MAX_PER_CALL {
            return Err(Error::invalid("names", "has more than 64 entries"));
        }
        check_names(&names)?;
        let owner = self.owner(acting, Operation::AttributeList, owner).await?;
        let now = self.parts.clock.now();
        let query = Query::new("attributes", acting.user(), &format!("{owner:?}{names:?}"));
        let after = page.cursor(&self.parts.keyring, &query, now)?;
        let after = after.map(|bytes| String::from_utf8(bytes).map_err(|_| Error::PageTokenInvalid)).transpose()?;
        let rows = self.parts.store.attributes(owner.key(), &names, after.as_deref(), now, page.limit() + 1).await?;
        match owner {
            Owner::User(user) if rows.is_empty() => {
                self.parts.store.user(user).await?.ok_or(Error::UserNotFound)?;
            }
            Owner::User(_) => {}
            // Attributes outlive their session until it is purged.
            Owner::Session(session) => self.require_live_session(session, now).await?,
        }
        match owner {
            Owner::User(user) if user != acting.user() => {
                self.audit_read(acting, Operation::AttributeList, Some(user), None).await?;
            }
            Owner::Session(session) if session != acting.session.session_id => {
                self.audit_read(acting, Operation::AttributeList, None, Some(session)).await?;
            }
            _ => self.audit_own_read(acting, Operation::AttributeList, None).await?,
        }
        let page = page.take(rows, |row| row.name.clone().into_bytes(), &self.parts.keyring, &query, now);
        let items = page.items.into_iter().map(|row| read(row, &self.parts.keyring)).collect::<Result<_>>()?;
        Ok(Page { items, next_page_token: page.next_page_token })
    }

    /// Deletes attributes, all or none; returns how many.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn delete_attributes(
        &self,
        acting: &Acting<'_>,
        owner: Option<Owner>,
        mut names: Vec<String>,
    ) -> Result<u64> {
        check_count(names.len(), "names")?;
        check_names(&names)?;
        names.sort_unstable();
        names.dedup();
        let owner = self.owner(acting, Operation::AttributeDelete, owner).await?;
        let event = event(acting, Operation::AttributeDelete, owner).detail(serde_json::json!({ "names": names }));
        self.parts
            .store
            .write(move |tx| {
                let (event, names) = (event.clone(), names.clone());
                Box::pin(async move {
                    let now = tx.clock().now();
                    let user = lock_owner(tx, owner, now).await?;
                    let deleted = tx.delete_attributes(owner.key(), &names, now).await?;
                    if deleted != names.len() as u64 {
                        return Err(Error::AttributeNotFound);
                    }
                    finish(tx, event, owner, user);
                    Ok(deleted)
                })
            })
            .await
    }

    async fn require_live_session(&self, session: SessionId, now: Time) -> Result<()> {
        let row = self.parts.store.session(session).await?;
        let live = row.filter(|row| row.revoked_at.is_none() && row.expires_at > now);
        live.map(drop).ok_or(Error::SessionNotFound)
    }
}

fn event(acting: &Acting<'_>, operation: Operation, owner: Owner) -> Event {
    let event = Event::by(acting, operation);
    match owner {
        Owner::User(user) => event.target(user),
        Owner::Session(session) => event.session(session),
    }
}

/// Locks the owner, which must exist and, if a session, be live. Returns its user.
async fn lock_owner(tx: &Tx, owner: Owner, now: Time) -> Result<UserId> {
    match owner {
        Owner::User(user) => tx.lock_user(user).await?.map(|_| user).ok_or(Error::UserNotFound),
        Owner::Session(session) => {
            let row = tx.lock_session(session).await?;
            let live = row.filter(|row| row.revoked_at.is_none() && row.expires_at > now);
            live.map(|row| row.user_id).ok_or(Error::SessionNotFound)
        }
    }
}

async fn put(tx: &Tx, owner: Owner, attributes: &[AttributeToSet], now: Time) -> Result<Vec<AttributeRow>> {
    let names: Vec<String> = attributes.iter().map(|attribute| attribute.name.clone()).collect();
    let existing = tx.attributes(owner.key(), &names, None, now, names.len() as u64).await?;
    let mut rows = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        let before = existing.iter().find(|row| row.name == attribute.name);
        if !attribute.etag.is_empty() && before.is_none_or(|row| row.version.to_string() != attribute.etag) {
            return Err(Error::EtagMismatch);
        }
        let owner_id = owner.key();
        let value = if attribute.seal {
            tx.keyring().seal(&seal_context(&owner_id, &attribute.name), attribute.value.as_bytes())
        } else {
            attribute.value.clone().into_bytes()
        };
        let row = AttributeRow {
            owner_id,
            name: attribute.name.clone(),
            value,
            is_sealed: attribute.seal,
            expires_at: attribute.ttl.map(|ttl| now + ttl),
            created_at: before.map_or(now, |row| row.created_at),
            updated_at: now,
            version: before.map_or(1, |row| row.version + 1),
        };
        tx.put_attribute(row.clone()).await?;
        rows.push(row);
    }
    Ok(rows)
}

fn finish(tx: &Tx, event: Event, owner: Owner, user: UserId) {
    let session = if let Owner::Session(session) = owner { Some(session) } else { None };
    tx.attributes_changed(Some(user), session);
    tx.audit(event.target(user));
}
