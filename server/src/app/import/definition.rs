//! Imports definitions: principals are kept, Zato's secrets and keys are not.

use std::collections::{HashMap, HashSet};

use zeroize::Zeroizing;

use super::{CHUNK, ImportOptions, JwtIssuer, Line, RowKind, Step, is_not_false, reason};
use crate::app::App;
use crate::app::definition::material::Material;
use crate::app::definition::{DefinitionSecret, DefinitionToCreate, KindToCreate, algorithms_of, new_row};
use crate::clock::Time;
use crate::crypto::PasswordHash;
use crate::error::Result;
use crate::model::session::AuthType;
use crate::store::{DefinitionRow, ZatoDefinition, ZatoTables};

/// Maximum bytes of a name.
const MAX_NAME: usize = 128;

/// A definition that links may refer to.
pub(super) struct Credential {
    pub(super) auth_id: i64,
    pub(super) auth_type: AuthType,
    pub(super) username: String,
    /// It existed before the import and may have a link.
    pub(super) exists: bool,
}

/// The plan for definitions.
pub(super) struct Definitions {
    pub(super) steps: Vec<Step<DefinitionRow>>,
    /// By their ID in Zato; `Err`: why it is not imported.
    credentials: HashMap<i64, std::result::Result<Credential, String>>,
    are_given: bool,
}

impl Definitions {
    pub(super) async fn plan(app: &App, zato: &ZatoTables, options: &ImportOptions, now: Time) -> Result<Self> {
        let jwt = match &options.jwt {
            Some(jwt) => Some((jwt.clone(), jwt.material(app, now).await?)),
            None => None,
        };
        let mut planned =
            Self { steps: Vec::new(), credentials: HashMap::new(), are_given: zato.definitions.is_some() };
        let linked: HashSet<_> = zato.links.iter().filter_map(|link| link.auth_id).collect();
        let mut wanted = Vec::new();
        for definition in zato.definitions.iter().flatten() {
            let is_wanted = !options.linked_only || linked.contains(&definition.id);
            match definition.sec_type.as_str() {
                "basic_auth" | "jwt" if is_wanted => wanted.push(definition),
                "basic_auth" | "jwt" => {}
                other => {
                    let reason = format!("definition {} is of type {other}, with which nobody logs in", definition.id);
                    planned.credentials.insert(definition.id, Err(reason));
                }
            }
        }
        let mut ids = IdAllocator::after(app.parts.store.highest_auth_id().await?, &wanted);
        let (mut principals, mut names) = (HashMap::new(), HashSet::new());
        for definitions in wanted.chunks(CHUNK) {
            let mut translated = Vec::with_capacity(definitions.len());
            for definition in definitions {
                translated.push((*definition, translate(app, definition, jwt.as_ref(), now)?));
            }
            let rows = || translated.iter().filter_map(|(_, step)| step.row.as_ref());
            let existing = existing(app, rows()).await?;
            let wanted_names: Vec<_> = rows().map(|row| row.name.clone()).collect();
            names.extend(app.parts.store.existing_definition_names(&wanted_names).await?);
            for (definition, step) in translated {
                planned.add(definition, step, &existing, (&mut principals, &mut names), &mut ids);
            }
        }
        Ok(planned)
    }

    fn add(
        &mut self,
        definition: &ZatoDefinition,
        Step { mut line, row }: Step<DefinitionRow>,
        existing: &HashMap<Principal, i64>,
        (principals, names): (&mut HashMap<Principal, i64>, &mut HashSet<String>),
        ids: &mut IdAllocator,
    ) {
        let Some(mut row) = row else { return self.refuse(definition.id, line) };
        let principal = principal(&row);
        if let Some(first) = principals.get(&principal) {
            let line = line.refused(format!("its username is that of definition {first}"));
            return self.refuse(definition.id, line);
        }
        principals.insert(principal.clone(), definition.id);
        let (auth_id, exists) = match existing.get(&principal) {
            Some(auth_id) => (*auth_id, true),
            None => (ids.assign(definition.id, &mut line), false),
        };
        let credential = Credential { auth_id, auth_type: row.auth_type, username: row.username.clone(), exists };
        self.credentials.insert(definition.id, Ok(credential));
        if exists {
            return self.steps.push(Step::skip(line.already_exists(Some(auth_id.to_string()))));
        }
        if !names.insert(row.name.clone()) {
            row.name = disambiguated_name(&row.name, auth_id, names);
            line.changed(format!("its name is taken: it is called {}", row.name));
        }
        (row.auth_id, line.id) = (auth_id, Some(auth_id.to_string()));
        self.steps.push(Step { line, row: Some(row) });
    }

    fn refuse(&mut self, id: i64, line: Line) {
        let reason = format!("definition {id} was refused: {}", line.remarks.join("; "));
        self.credentials.insert(id, Err(reason));
        self.steps.push(Step::skip(line));
    }

    /// The definition of an ID in Zato, or why there is none.
    pub(super) fn credential(&self, id: i64) -> std::result::Result<&Credential, String> {
        match self.credentials.get(&id) {
            Some(Ok(credential)) => Ok(credential),
            Some(Err(reason)) => Err(reason.clone()),
            None if self.are_given => Err(format!("there is no definition {id}")),
            None => Err("the definitions are in another database: see --definitions-from".to_owned()),
        }
    }
}

/// Type, issuer and username, which identify a definition.
type Principal = (AuthType, String, String);

fn principal(row: &DefinitionRow) -> Principal {
    (row.auth_type, row.issuer.clone(), row.username.clone())
}

/// The IDs of definitions that exist already.
async fn existing(app: &App, rows: impl Iterator<Item = &DefinitionRow>) -> Result<HashMap<Principal, i64>> {
    let mut usernames: HashMap<(AuthType, String), Vec<String>> = HashMap::new();
    for row in rows {
        usernames.entry((row.auth_type, row.issuer.clone())).or_default().push(row.username.clone());
    }
    let mut existing = HashMap::new();
    for ((auth_type, issuer), usernames) in usernames {
        let found = app.parts.store.definitions_of(auth_type, &issuer, &usernames).await?;
        existing.extend(found.iter().map(|row| (principal(row), row.auth_id)));
    }
    Ok(existing)
}

/// Assigns IDs: the one in Zato if it was never used here, otherwise one above all used and planned IDs.
struct IdAllocator {
    highest_used: i64,
    next: i64,
}

impl IdAllocator {
    fn after(highest_used: i64, definitions: &[&ZatoDefinition]) -> Self {
        let highest = definitions.iter().map(|definition| definition.id).fold(highest_used, i64::max);
        Self { highest_used, next: highest + 1 }
    }

    fn assign(&mut self, zato_id: i64, line: &mut Line) -> i64 {
        if zato_id > self.highest_used {
            return zato_id;
        }
        let assigned = self.next;
        self.next += 1;
        line.changed(format!("its number was given here before: it is {assigned}"));
        assigned
    }
}

fn disambiguated_name(name: &str, auth_id: i64, used_names: &mut HashSet<String>) -> String {
    // Truncates the name at a character boundary, to fit the suffix.
    let suffix = format!(" ({auth_id})");
    let mut end = name.len().min(MAX_NAME - suffix.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let name = format!("{}{suffix}", &name[..end]);
    used_names.insert(name.clone());
    name
}

/// The definition, or the reason for refusing it.
fn translate(
    app: &App,
    definition: &ZatoDefinition,
    jwt: Option<&(JwtIssuer, Material)>,
    now: Time,
) -> Result<Step<DefinitionRow>> {
    let username = definition.username.clone().unwrap_or_default();
    let name = format!("{} {}", definition.sec_type, definition.name);
    let mut line = Line::new(RowKind::Definition, &definition.id, name);
    let no_secret;
    let (kind, material) = if definition.sec_type == "basic_auth" {
        line.changed("its secret does not come along: nobody can log in with it until it is rotated");
        no_secret = Material::Hash(PasswordHash::of_nothing(app.parts.hasher.params())?);
        (KindToCreate::BasicAuth { username }, &no_secret)
    } else {
        let Some((jwt, material)) = jwt else {
            let reason = "its tokens are issued by Zato itself: say who issues them now (--jwt-issuer and the others)";
            return Ok(Step::skip(line.refused(reason)));
        };
        (jwt.kind(username), material)
    };
    let is_active = is_not_false(definition.is_active.as_ref());
    match row_of(definition.name.clone(), is_active, kind, now) {
        Ok(row) => {
            let mut row = DefinitionRow { auth_id: definition.id, ..row };
            material.store_in(&app.parts.keyring, &mut row);
            Ok(Step { line, row: Some(row) })
        }
        Err(error) => Ok(Step::skip(line.refused(reason(error)?))),
    }
}

/// Applies the usual validation. The caller adds the verification material.
fn row_of(name: String, is_active: bool, kind: KindToCreate, now: Time) -> Result<DefinitionRow> {
    let secret = DefinitionSecret::Secret(Zeroizing::default());
    new_row(&DefinitionToCreate { name, is_active, is_internal: false, kind, secret }, now)
}

impl JwtIssuer {
    fn kind(&self, username: String) -> KindToCreate {
        KindToCreate::Jwt {
            issuer: self.issuer.clone(),
            username,
            audience: self.audience.clone(),
            algorithms: self.algorithms.clone(),
            clock_skew: None,
        }
    }

    /// The material that verifies its tokens. Fails once for a bad issuer, instead of once per definition.
    pub(super) async fn material(&self, app: &App, now: Time) -> Result<Material> {
        let kind = self.kind("anybody".to_owned());
        let row = row_of("anybody".to_owned(), true, kind, now)?;
        let material = app.material(AuthType::Jwt, DefinitionSecret::JwksUrl(self.jwks_url.clone())).await?;
        material.check_algorithms("definition.jwt.algorithms", &algorithms_of(&row)?)?;
        Ok(material)
    }
}
