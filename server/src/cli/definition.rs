//! `lanyard definition`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use lanyard_client::prost_types::FieldMask;
use lanyard_client::secrecy::ExposeSecret;
use lanyard_client::v1::definition::Kind;
use lanyard_client::v1::{
    self, BasicAuthDefinition, DefinitionSecret, DeleteDefinitionRequest, JwtDefinition, ListDefinitionsRequest,
    RotateDefinitionSecretRequest, UpdateDefinitionRequest,
};
use lanyard_client::{DefinitionChange, Subject, prost_types};
use serde_json::json;

use super::connection::{Acting, Limit};
use super::exit::{Exit, Failure, Outcome};
use super::output::{Output, say, say_json};
use super::secrets::{Passwords, secret_file};
use super::view::DefinitionView;

/// External credentials that can be linked to users; super-users only
#[derive(Args)]
pub(crate) struct Definition {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Create(Acting<Create>),
    List(Acting<List>),
    Show(Acting<Which>),
    Update(Acting<Update>),
    Delete(Acting<Delete>),
    Rotate(Acting<Rotate>),
}

/// Add a definition
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanyard definition create 'CRM of Alice' --basic-auth crm-alice
  lanyard definition create 'Alice at the IdP' --jwt alice --issuer https://idp.example.org \\
      --audience crm --algorithm RS256 --jwks-url https://idp.example.org/keys")]
struct Create {
    /// Its unique name
    name: String,
    #[command(flatten)]
    kind: KindArgs,
    /// Nobody can log in with it until it is turned on
    #[arg(long)]
    inactive: bool,
    /// It is for the operators' own use
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    jwt: JwtArgs,
    #[command(flatten)]
    secret: SecretArgs,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct KindArgs {
    /// The username of a username and secret
    #[arg(long, value_name = "USERNAME")]
    basic_auth: Option<String>,
    /// The `sub` of a JWT
    #[arg(long, value_name = "SUB", requires_all = ["issuer", "audience", "algorithm"])]
    jwt: Option<String>,
}

#[derive(Args)]
#[command(next_help_heading = "JWT")]
struct JwtArgs {
    /// The `iss` that tokens must have
    #[arg(long, conflicts_with = "basic_auth")]
    issuer: Option<String>,
    /// What `aud` must contain
    #[arg(long, conflicts_with = "basic_auth")]
    audience: Option<String>,
    /// Algorithms that are accepted, separated by commas, such as RS256 and ES256
    #[arg(long, value_name = "ALGORITHM", value_delimiter = ',', conflicts_with = "basic_auth")]
    algorithm: Vec<String>,
    /// By how much clocks may differ [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "basic_auth")]
    clock_skew: Option<Duration>,
}

/// List definitions in the order of their numbers
#[derive(Args)]
struct List {
    /// Only of this type
    #[arg(long = "type")]
    auth_type: Option<Type>,
    /// Only the one with exactly this name
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Type {
    BasicAuth,
    Jwt,
}

/// Show a definition, without its secret
#[derive(Args)]
struct Which {
    /// Number or name
    definition: String,
}

/// Change a definition: what is given, and nothing else
///
/// One that is turned off logs nobody in, and the sessions that began with it end.
#[derive(Args)]
struct Update {
    /// Number or name
    definition: String,
    #[command(flatten)]
    changes: Changes,
    /// Refuse if somebody changed it since this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct Changes {
    #[arg(long)]
    name: Option<String>,
    /// Can anybody log in with it?
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
    /// What `aud` of tokens must contain
    #[arg(long)]
    audience: Option<String>,
    /// Algorithms that are accepted, in the place of those so far, separated by commas
    #[arg(long, value_name = "ALGORITHM", value_delimiter = ',')]
    algorithm: Vec<String>,
    /// By how much clocks may differ
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    clock_skew: Option<Duration>,
}

/// Remove a definition with its link, and end the sessions that began with it
#[derive(Args)]
struct Delete {
    /// Number or name
    definition: String,
    /// Refuse if somebody changed it since this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
}

/// Give a definition another secret or other keys
#[derive(Args)]
struct Rotate {
    /// Number or name
    definition: String,
    /// How long those before keep working [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    overlap: Option<Duration>,
    /// End the sessions that began with it: somebody else may have had its secret
    #[arg(long)]
    revoke_sessions: bool,
    /// Refuse if somebody changed it since this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    secret: SecretArgs,
}

// What credentials are verified against. Without a file or URL, `passwords` reads a secret.
#[derive(Args)]
#[command(next_help_heading = "Secret or keys [default: a secret that is asked for, or LANYARD_SECRET]")]
struct SecretArgs {
    /// File with the secret
    #[arg(long, value_name = "FILE", group = "source")]
    secret_file: Option<PathBuf>,
    /// File with the public keys of who signs tokens: PEM, or a JWK set
    #[arg(long, value_name = "FILE", group = "source")]
    public_keys: Option<PathBuf>,
    /// URL of a JWK set
    #[arg(long, value_name = "URL", group = "source")]
    jwks_url: Option<String>,
    #[command(flatten)]
    passwords: Passwords,
}

impl Definition {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        match self.verb {
            Verb::Create(create) => {
                let (create, subject) = create.connect().await?;
                let (definition, secret) = create.into_parts()?;
                output.one(&DefinitionView::from(subject.create_definition(definition, secret).await?))
            }
            Verb::List(list) => {
                let (List { auth_type, name, limit }, subject) = list.connect().await?;
                let auth_type = auth_type.map_or("", Type::name).to_owned();
                let page_size = limit.page_size();
                let request = ListDefinitionsRequest { auth_type, name, page_size, ..Default::default() };
                let (definitions, has_more) = limit.collect(subject.list_definitions(request)).await?;
                let views: Vec<_> = definitions.into_iter().map(DefinitionView::from).collect();
                output.list("definitions", &views, has_more)
            }
            Verb::Show(which) => {
                let (Which { definition }, subject) = which.connect().await?;
                let auth_id = number(&subject, &definition).await?;
                output.one(&DefinitionView::from(subject.get_definition(auth_id).await?))
            }
            Verb::Update(update) => {
                let (Update { definition, changes, etag }, subject) = update.connect().await?;
                let auth_id = number(&subject, &definition).await?;
                let (asked, paths) = changes.into_definition()?;
                let request = UpdateDefinitionRequest {
                    definition: Some(v1::Definition { auth_id, etag, ..asked }),
                    update_mask: Some(FieldMask { paths }),
                    ..UpdateDefinitionRequest::default()
                };
                changed(subject.update_definition(request).await?, output)
            }
            Verb::Delete(delete) => {
                let (Delete { definition, etag }, subject) = delete.connect().await?;
                let auth_id = number(&subject, &definition).await?;
                let request = DeleteDefinitionRequest { auth_id, etag, ..DeleteDefinitionRequest::default() };
                let count = subject.call(request).await?.revoked_count;
                let text = format!("The definition {auth_id} is removed. Sessions ended: {count}.");
                output.done(&json!({ "auth_id": auth_id, "revoked_count": count }), &text)
            }
            Verb::Rotate(rotate) => {
                let (Rotate { definition, overlap, revoke_sessions, etag, secret }, subject) = rotate.connect().await?;
                let auth_id = number(&subject, &definition).await?;
                let request = RotateDefinitionSecretRequest {
                    auth_id,
                    secret: Some(secret.read()?),
                    overlap: overlap.map(|overlap| duration("--overlap", overlap)).transpose()?,
                    revoke_sessions,
                    etag,
                    ..RotateDefinitionSecretRequest::default()
                };
                changed(subject.rotate_definition_secret(request).await?, output)
            }
        }
    }
}

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Self::BasicAuth => "basic_auth",
            Self::Jwt => "jwt",
        }
    }
}

impl Create {
    fn into_parts(self) -> Result<(v1::Definition, DefinitionSecret), Failure> {
        let kind = match (self.kind.basic_auth, self.kind.jwt) {
            (Some(username), _) => Kind::BasicAuth(BasicAuthDefinition { username }),
            (None, sub) => Kind::Jwt(JwtDefinition {
                issuer: self.jwt.issuer.unwrap_or_default(),
                username: sub.unwrap_or_default(),
                audience: self.jwt.audience.unwrap_or_default(),
                algorithms: self.jwt.algorithm,
                clock_skew: self.jwt.clock_skew.map(|skew| duration("--clock-skew", skew)).transpose()?,
                ..JwtDefinition::default()
            }),
        };
        let definition = v1::Definition {
            name: self.name,
            is_active: !self.inactive,
            is_internal: self.internal,
            kind: Some(kind),
            ..v1::Definition::default()
        };
        Ok((definition, self.secret.read()?))
    }
}

impl Changes {
    /// Returns the given fields and the paths of their update mask.
    fn into_definition(self) -> Result<(v1::Definition, Vec<String>), Failure> {
        let (mut definition, mut jwt, mut paths) = (v1::Definition::default(), JwtDefinition::default(), Vec::new());
        let mut change = |path: &str| paths.push(path.to_owned());
        if let Some(name) = self.name {
            definition.name = name;
            change("name");
        }
        if let Some(is_active) = self.active {
            definition.is_active = is_active;
            change("is_active");
        }
        if let Some(audience) = self.audience {
            jwt.audience = audience;
            change("jwt.audience");
        }
        if !self.algorithm.is_empty() {
            jwt.algorithms = self.algorithm;
            change("jwt.algorithms");
        }
        if let Some(skew) = self.clock_skew {
            jwt.clock_skew = Some(duration("--clock-skew", skew)?);
            change("jwt.clock_skew");
        }
        definition.kind = Some(Kind::Jwt(jwt));
        Ok((definition, paths))
    }
}

impl SecretArgs {
    fn read(self) -> Result<DefinitionSecret, Failure> {
        let mut secret = DefinitionSecret::default();
        if let Some(url) = self.jwks_url {
            secret.jwks_url = url;
        } else if let Some(file) = self.public_keys {
            let text = std::fs::read_to_string(&file);
            secret.public_keys =
                text.map_err(|error| Failure::new(Exit::Config, format!("{}: {error}", file.display())))?;
        } else {
            let text = match self.secret_file {
                Some(file) => secret_file(&file)?,
                None => self.passwords.chosen_other("Secret of the definition: ", "LANYARD_SECRET")?,
            };
            text.expose_secret().clone_into(&mut secret.secret);
        }
        Ok(secret)
    }
}

/// Resolves a number or name to the number.
pub(super) async fn number(subject: &Subject, definition: &str) -> Result<i64, Failure> {
    if let Ok(auth_id) = definition.parse() {
        return Ok(auth_id);
    }
    let request = ListDefinitionsRequest { name: definition.to_owned(), ..ListDefinitionsRequest::default() };
    let found = subject.list_definitions(request).next_page().await?.and_then(|mut page| page.pop());
    let found = found.ok_or_else(|| Failure::new(Exit::NotFound, format!("no definition is called {definition:?}")));
    Ok(found?.auth_id)
}

fn changed(change: DefinitionChange, output: Output) -> Outcome {
    let (view, count) = (DefinitionView::from(change.definition), change.revoked_count);
    if output.is_json() {
        return say_json(&json!({ "definition": view, "revoked_count": count }));
    }
    output.one(&view)?;
    say(&format!("Sessions ended: {count}."))
}

fn duration(option: &str, duration: Duration) -> Result<prost_types::Duration, Failure> {
    duration.try_into().map_err(|_| Failure::new(Exit::Usage, format!("{option} is too long")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_names_what_was_given_and_nothing_else() {
        let nothing = || Changes { name: None, active: None, audience: None, algorithm: Vec::new(), clock_skew: None };
        let (asked, paths) = Changes { active: Some(false), ..nothing() }.into_definition().unwrap();
        assert_eq!((asked.is_active, paths), (false, vec!["is_active".to_owned()]));
        let all = Changes {
            name: Some("n".to_owned()),
            active: Some(true),
            audience: Some("a".to_owned()),
            algorithm: vec!["ES256".to_owned()],
            clock_skew: Some(Duration::ZERO),
        };
        let (_, paths) = all.into_definition().unwrap();
        assert_eq!(paths, ["name", "is_active", "jwt.audience", "jwt.algorithms", "jwt.clock_skew"]);
    }
}
