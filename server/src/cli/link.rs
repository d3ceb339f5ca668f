//! `lanyard link`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use lanyard_client::Subject;
use lanyard_client::secrecy::{ExposeSecret, SecretString};
use lanyard_client::v1::create_linked_auth_request::Proof;
use lanyard_client::v1::definition_ref::Definition;
use lanyard_client::v1::{
    BasicAuthCredential, CreateLinkedAuthRequest, DefinitionName, DefinitionRef, DeleteLinkedAuthRequest,
    JwtCredential, LinkedAuth, ListLinkedAuthRequest, UpdateLinkedAuthRequest,
};
use serde_json::json;

use super::connection::{Acting, Limit, Remote};
use super::definition::number;
use super::exit::{Exit, Failure, Outcome};
use super::output::{Output, say, say_json};
use super::secrets::{Passwords, secret_file};
use super::user::user_id;
use super::view::{LinkView, LinkedUserView};

/// Linked accounts: which definitions log which user in
#[derive(Args)]
pub(crate) struct Link {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    List(Acting<List>),
    Create(Acting<Create>),
    CreateOwn(Acting<CreateOwn>),
    Update(Acting<Update>),
    Delete(Acting<Delete>),
    Lookup(Remote<Lookup>),
}

/// List the links of a user, oldest first
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanyard link list
  lanyard link list --user demo --app CRM --remote-addr 127.0.0.1 --correlation-id ID")]
struct List {
    /// Those of this user (name or usr_...); another than oneself needs a super-user [default: the acting user]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

/// Link a definition to a user; needs a super-user
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanyard link create demo 7
  lanyard link create demo 'CRM of Alice'
  lanyard link create demo basic_auth:reporting --inactive")]
struct Create {
    /// User (name or usr_...)
    user: String,
    /// Definition: its number, its name, or its type and username: `basic_auth:NAME`, `jwt:SUBJECT`
    definition: String,
    /// Nobody can log in with it before it is turned on
    #[arg(long)]
    inactive: bool,
}

/// Link a definition to oneself, by a credential of it; where the app allows it, within five minutes of a login by password
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanyard link create-own --basic-auth reporting --secret-file reporting.secret
  lanyard link create-own --jwt --secret-file token.jwt")]
struct CreateOwn {
    #[command(flatten)]
    kind: ProofKind,
    /// The secret of the definition (else `LANYARD_SECRET`) or the token (else `LANYARD_JWT`) is in this file
    #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    passwords: Passwords,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct ProofKind {
    /// Username of the basic-auth definition
    #[arg(long, value_name = "USERNAME")]
    basic_auth: Option<String>,
    /// The proof is a JSON web token
    #[arg(long)]
    jwt: bool,
}

/// Turn a link on or off; the sessions that began with one that is turned off end. Needs a super-user
#[derive(Args)]
struct Update {
    /// Link (lnk_...)
    link_id: String,
    /// What it shall be
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    active: bool,
    /// Refuse if the link was changed since this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
}

/// Remove a link; the sessions that began with it end. Needs a super-user
#[derive(Args)]
struct Delete {
    /// Link (lnk_...)
    link_id: String,
    /// Refuse if the link was changed since this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
}

/// Tell whom definitions are linked to; needs no user, but a caller that may
#[derive(Args)]
struct Lookup {
    /// Definitions: numbers, or types and usernames: `basic_auth:NAME`, `jwt:SUBJECT`
    #[arg(required = true)]
    definitions: Vec<DefinitionArg>,
}

/// `7`, `basic_auth:reporting`, `jwt:somebody`.
#[derive(Clone, Debug)]
struct DefinitionArg(Definition);

impl FromStr for DefinitionArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(number) = text.parse() {
            return Ok(Self(Definition::AuthId(number)));
        }
        match text.split_once(':') {
            Some((auth_type @ ("basic_auth" | "jwt"), username)) => {
                let (auth_type, auth_username) = (auth_type.to_owned(), username.to_owned());
                Ok(Self(Definition::AuthName(DefinitionName { auth_type, auth_username })))
            }
            _ => Err("is neither a number nor basic_auth:NAME nor jwt:SUBJECT"),
        }
    }
}

impl Link {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        match self.verb {
            Verb::List(verb) => {
                let (List { user, limit }, subject) = verb.connect().await?;
                let user_id = id_of(&subject, user.as_deref()).await?;
                let page_size = limit.page_size();
                let request = ListLinkedAuthRequest { user_id, page_size, ..ListLinkedAuthRequest::default() };
                let (links, has_more) = limit.collect(subject.list_linked_auth(request)).await?;
                let views: Vec<_> = links.into_iter().map(LinkView::from).collect();
                output.list("links", &views, has_more)
            }
            Verb::Create(verb) => {
                let (Create { user, definition, inactive }, subject) = verb.connect().await?;
                let definition = match definition.parse::<DefinitionArg>() {
                    Ok(definition) => definition.0,
                    Err(_) => Definition::AuthId(number(&subject, &definition).await?),
                };
                let request = CreateLinkedAuthRequest {
                    user_id: user_id(&subject, &user).await?,
                    definition: Some(DefinitionRef { definition: Some(definition) }),
                    is_inactive: inactive,
                    ..CreateLinkedAuthRequest::default()
                };
                show(subject.call(request).await?.link, output)
            }
            Verb::CreateOwn(verb) => {
                let (own, subject) = verb.connect().await?;
                show(Some(subject.create_own_linked_auth(own.proof()?).await?), output)
            }
            Verb::Update(verb) => {
                let (Update { link_id, active, etag }, subject) = verb.connect().await?;
                let request =
                    UpdateLinkedAuthRequest { link_id, is_active: active, etag, ..UpdateLinkedAuthRequest::default() };
                let answer = subject.call(request).await?;
                changed(answer.link, answer.revoked_count, output)
            }
            Verb::Delete(verb) => {
                let (Delete { link_id, etag }, subject) = verb.connect().await?;
                let request = DeleteLinkedAuthRequest { link_id, etag, ..DeleteLinkedAuthRequest::default() };
                let count = subject.call(request).await?.revoked_count;
                let text = format!("The link is gone. Sessions ended: {count}.");
                output.done(&json!({ "revoked_count": count }), &text)
            }
            Verb::Lookup(verb) => {
                let client = verb.connect().await?;
                let asked = verb.verb.definitions.into_iter().map(|definition| definition.0);
                let found = client.lookup_linked_auth(asked).await?;
                let views: Vec<_> = found.into_iter().map(LinkedUserView::from).collect();
                output.list("users", &views, false)
            }
        }
    }
}

impl CreateOwn {
    fn proof(&self) -> Result<Proof, Failure> {
        let secret = |prompt: &str, variable| -> Result<SecretString, Failure> {
            match &self.secret_file {
                Some(file) => secret_file(file),
                None => self.passwords.other(prompt, variable),
            }
        };
        Ok(match &self.kind.basic_auth {
            Some(username) => Proof::BasicAuth(BasicAuthCredential {
                username: username.clone(),
                secret: secret(&format!("Secret of {username}: "), "LANYARD_SECRET")?.expose_secret().to_owned(),
            }),
            None => Proof::Jwt(JwtCredential {
                token: secret("Token: ", "LANYARD_JWT")?.expose_secret().to_owned(),
                ..JwtCredential::default()
            }),
        })
    }
}

/// The ID of a user given by name or ID; empty if none is given.
async fn id_of(subject: &Subject, user: Option<&str>) -> Result<String, Failure> {
    match user {
        Some(user) => user_id(subject, user).await,
        None => Ok(String::new()),
    }
}

fn present(link: Option<LinkedAuth>) -> Result<LinkView, Failure> {
    link.map(LinkView::from).ok_or_else(|| Failure::new(Exit::Failed, "the server answered without the link"))
}

fn show(link: Option<LinkedAuth>, output: Output) -> Outcome {
    output.one(&present(link)?)
}

fn changed(link: Option<LinkedAuth>, revoked_count: u64, output: Output) -> Outcome {
    let link = present(link)?;
    if output.is_json() {
        return say_json(&json!({ "link": link, "revoked_count": revoked_count }));
    }
    output.one(&link)?;
    say(&format!("Sessions ended: {revoked_count}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_a_number_or_a_type_and_a_username() {
        let read = |text: &str| text.parse::<DefinitionArg>().map(|arg| arg.0);
        assert_eq!(read("7"), Ok(Definition::AuthId(7)));
        for (text, auth_type, auth_username) in
            [("basic_auth:reporting", "basic_auth", "reporting"), ("jwt:a:b", "jwt", "a:b"), ("jwt:7", "jwt", "7")]
        {
            let name = DefinitionName { auth_type: auth_type.to_owned(), auth_username: auth_username.to_owned() };
            assert_eq!(read(text), Ok(Definition::AuthName(name)));
        }
        for text in ["", "reporting", "password:demo", "basic_auth"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
