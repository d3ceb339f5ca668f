//! Definitions: external credentials, each of one principal. A link gives one to one user.

use std::time::Duration;

use serde_json::json;
use zeroize::Zeroizing;

use super::audit::Event;
use crate::clock::{Micros, Time};
use crate::crypto::Keyring;
use crate::crypto::jwt::{self, Algorithm};
use crate::error::{Error, Result};
use crate::model::definition::MaterialSource;
use crate::model::session::AuthType;
use crate::store::{DefinitionRow, Tx};

pub(in crate::app) mod material;
mod verbs;

use material::{Material, overlap_of};

/// The request field of the accepted algorithms.
const ALGORITHMS: &str = "definition.jwt.algorithms";
const MAX_NAME: usize = 128;
const MAX_CLAIM: usize = 512;
const DEFAULT_CLOCK_SKEW: Duration = Duration::from_mins(1);
const MAX_CLOCK_SKEW: Duration = Duration::from_mins(5);
const MAX_OVERLAP: Duration = Duration::from_hours(30 * 24);

/// An external credential, with public verification material only.
#[derive(Clone, Debug)]
pub struct Definition {
    pub auth_id: i64,
    pub name: String,
    pub is_active: bool,
    pub is_internal: bool,
    pub kind: DefinitionKind,
    pub created_at: Time,
    pub updated_at: Time,
    /// Until when the secret or keys from before the last rotation are accepted.
    pub overlap_until: Option<Time>,
    pub etag: String,
}

#[derive(Clone, Debug)]
pub enum DefinitionKind {
    BasicAuth { username: String },
    Jwt(JwtDefinition),
}

#[derive(Clone, Debug)]
pub struct JwtDefinition {
    pub issuer: String,
    pub username: String,
    pub audience: String,
    pub algorithms: Vec<&'static str>,
    pub clock_skew: Duration,
    /// A JWK set; empty if there is none.
    pub public_keys: String,
    /// Empty if there is none.
    pub jwks_url: String,
}

/// A definition to create.
pub struct DefinitionToCreate {
    pub name: String,
    pub is_active: bool,
    pub is_internal: bool,
    pub kind: KindToCreate,
    pub secret: DefinitionSecret,
}

pub enum KindToCreate {
    BasicAuth { username: String },
    Jwt { issuer: String, username: String, audience: String, algorithms: Vec<String>, clock_skew: Option<Duration> },
}

/// Verification material, as received. Public keys are handled as a secret until it is certain that no private key is
/// among them.
pub enum DefinitionSecret {
    Secret(Zeroizing<String>),
    PublicKeys(Zeroizing<String>),
    JwksUrl(String),
}

/// A requested change of one field.
#[derive(Clone, Debug)]
pub enum DefinitionChange {
    Name(String),
    IsActive(bool),
    Audience(String),
    Algorithms(Vec<String>),
    /// `None`: the default.
    ClockSkew(Option<Duration>),
}

/// Filters of a definition list.
#[derive(Clone, Debug, Default)]
pub struct ListDefinitions {
    pub auth_type: Option<AuthType>,
    pub name: Option<String>,
}

/// A new secret or keys for a definition.
pub struct Rotation {
    pub secret: DefinitionSecret,
    /// How long the current ones stay valid.
    pub overlap: Duration,
    pub revoke_sessions: bool,
    /// Must match unless it is empty.
    pub etag: String,
}

impl DefinitionChange {
    const fn name(&self) -> &'static str {
        match self {
            Self::Name(_) => "name",
            Self::IsActive(_) => "is_active",
            Self::Audience(_) => "jwt.audience",
            Self::Algorithms(_) => "jwt.algorithms",
            Self::ClockSkew(_) => "jwt.clock_skew",
        }
    }

    const fn is_of_jwt(&self) -> bool {
        matches!(self, Self::Audience(_) | Self::Algorithms(_) | Self::ClockSkew(_))
    }

    fn apply(&self, keyring: &Keyring, row: &mut DefinitionRow) -> Result<()> {
        if self.is_of_jwt() && row.auth_type != AuthType::Jwt {
            return Err(Error::invalid("update_mask", "names a field of a jwt definition, and this is none"));
        }
        match self {
            Self::Name(name) => row.name = check_text("definition.name", name, MAX_NAME)?,
            Self::IsActive(is_active) => row.is_active = *is_active,
            Self::Audience(audience) => row.audience = check_text("definition.jwt.audience", audience, MAX_CLAIM)?,
            Self::Algorithms(names) => {
                let algorithms = check_algorithms(names)?;
                Material::current(keyring, row)?.check_algorithms(ALGORITHMS, &algorithms)?;
                row.algorithms = names.join(",");
            }
            Self::ClockSkew(skew) => row.clock_skew_micros = check_clock_skew(*skew)?,
        }
        Ok(())
    }
}

impl Definition {
    fn from_row(row: DefinitionRow, now: Time) -> Result<Self> {
        let overlap_until = overlap_of(&row, now);
        let kind = if row.auth_type == AuthType::Jwt {
            let algorithms = algorithms_of(&row)?.into_iter().map(jwt::algorithm_name).collect();
            // Only public material may be shown.
            let public_text =
                |source: MaterialSource| (row.source == source).then(|| String::from_utf8(row.material.clone()));
            let public_text =
                |source| public_text(source).transpose().map(Option::unwrap_or_default).map_err(Error::internal);
            DefinitionKind::Jwt(JwtDefinition {
                issuer: row.issuer.clone(),
                username: row.username.clone(),
                audience: row.audience.clone(),
                algorithms,
                clock_skew: clock_skew_of(&row),
                public_keys: public_text(MaterialSource::KeySet)?,
                jwks_url: public_text(MaterialSource::KeySetUrl)?,
            })
        } else {
            DefinitionKind::BasicAuth { username: row.username.clone() }
        };
        Ok(Self {
            auth_id: row.auth_id,
            name: row.name,
            is_active: row.is_active,
            is_internal: row.is_internal,
            kind,
            created_at: row.created_at,
            updated_at: row.updated_at,
            overlap_until,
            etag: row.version.to_string(),
        })
    }
}

/// The algorithms that a jwt definition accepts.
pub(in crate::app) fn algorithms_of(row: &DefinitionRow) -> Result<Vec<Algorithm>> {
    let names = row.algorithms.split(',').filter(|name| !name.is_empty());
    names.map(|name| jwt::algorithm(name).ok_or_else(|| Error::internal("a stored algorithm is unknown"))).collect()
}

pub(in crate::app) fn clock_skew_of(row: &DefinitionRow) -> Duration {
    row.clock_skew_micros.into()
}

/// Builds the row of a new definition, without ID and verification material.
pub(in crate::app) fn new_row(new: &DefinitionToCreate, now: Time) -> Result<DefinitionRow> {
    let mut row = DefinitionRow {
        auth_id: 0,
        auth_type: AuthType::BasicAuth,
        name: check_text("definition.name", &new.name, MAX_NAME)?,
        username: String::new(),
        issuer: String::new(),
        audience: String::new(),
        algorithms: String::new(),
        clock_skew_micros: Micros::default(),
        source: MaterialSource::Other(0),
        material: Vec::new(),
        previous_source: None,
        previous_material: None,
        previous_until: None,
        is_active: new.is_active,
        is_internal: new.is_internal,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    match &new.kind {
        KindToCreate::BasicAuth { username } => {
            row.username = check_text("definition.basic_auth.username", username, MAX_NAME)?;
            if username.contains(':') {
                return Err(Error::invalid("definition.basic_auth.username", "must not contain a colon"));
            }
        }
        KindToCreate::Jwt { issuer, username, audience, algorithms, clock_skew } => {
            row.auth_type = AuthType::Jwt;
            row.issuer = check_text("definition.jwt.issuer", issuer, MAX_CLAIM)?;
            row.username = check_text("definition.jwt.username", username, MAX_NAME)?;
            row.audience = check_text("definition.jwt.audience", audience, MAX_CLAIM)?;
            check_algorithms(algorithms)?;
            row.algorithms = algorithms.join(",");
            row.clock_skew_micros = check_clock_skew(*clock_skew)?;
        }
    }
    Ok(row)
}

fn check_text(field: &'static str, text: &str, longest: usize) -> Result<String> {
    if text.is_empty() || text.len() > longest {
        return Err(Error::invalid(field, format!("must have 1 to {longest} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::invalid(field, "must not contain control characters"));
    }
    Ok(text.to_owned())
}

fn check_algorithms(names: &[String]) -> Result<Vec<Algorithm>> {
    if names.is_empty() {
        return Err(Error::invalid(ALGORITHMS, "is empty: name those that tokens may be signed with"));
    }
    let mut algorithms = Vec::new();
    for name in names {
        let algorithm = jwt::algorithm(name).ok_or_else(|| {
            Error::invalid(
                ALGORITHMS,
                "has an unknown one: HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and \
                 EdDSA are known",
            )
        })?;
        if algorithms.contains(&algorithm) {
            return Err(Error::invalid(ALGORITHMS, "has one twice"));
        }
        algorithms.push(algorithm);
    }
    Ok(algorithms)
}

fn check_clock_skew(skew: Option<Duration>) -> Result<Micros> {
    let skew = skew.unwrap_or(DEFAULT_CLOCK_SKEW);
    if skew > MAX_CLOCK_SKEW {
        return Err(Error::invalid("definition.jwt.clock_skew", "is more than five minutes"));
    }
    Ok(skew.into())
}

fn check_etag(row: &DefinitionRow, etag: &str) -> Result<()> {
    if etag.is_empty() || etag == row.version.to_string() { Ok(()) } else { Err(Error::EtagMismatch) }
}

/// Completes the event with the definition's ID and linked user.
async fn with_definition_detail(tx: &Tx, event: Event, auth_id: i64, mut detail: serde_json::Value) -> Result<Event> {
    detail["auth_id"] = json!(auth_id);
    let event = event.detail(detail);
    let link = tx.link_of_definition(auth_id).await?;
    Ok(match link {
        Some(link) => event.target(link.user_id),
        None => event,
    })
}

fn touch(row: &mut DefinitionRow, now: Time) {
    row.updated_at = now;
    row.version += 1;
}

fn check_overlap(overlap: Duration) -> Result<()> {
    if overlap > MAX_OVERLAP { Err(Error::invalid("overlap", "is more than 30 days")) } else { Ok(()) }
}
