//! `lanyard attribute`.

use std::io::Read;
use std::time::Duration;

use clap::{Args, Subcommand};
use lanyard_client::Subject;
use lanyard_client::prost_types;
use lanyard_client::v1::attribute_owner::Owner;
use lanyard_client::v1::{AttributeOwner, AttributeToSet, ListAttributesRequest};
use serde_json::json;

use super::connection::{Acting, Limit};
use super::exit::{Exit, Failure, Outcome};
use super::output::Output;
use super::user::user_id;
use super::view::AttributeView;

/// Named values of users and sessions
#[derive(Args)]
pub(crate) struct Attribute {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Set(Acting<Set>),
    List(Acting<List>),
    Delete(Acting<Delete>),
}

#[derive(Args)]
#[group(multiple = false)]
struct OwnerArgs {
    /// Those of a user (name or usr_...); another than oneself needs a super-user [default: the acting user]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Those of a session (ses_...)
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
}

/// Create or replace attributes: all of them or, with an error, none
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanyard attribute set crm:team=north crm:desk=7 --ttl 8h
  lanyard attribute set phone --seal < phone.txt")]
struct Set {
    /// NAME=VALUE, or one NAME alone: then its value is standard input, to the last byte but the end of the last line
    #[arg(required = true, value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// Store them encrypted
    #[arg(long)]
    seal: bool,
    /// How long they live
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// Refuse if the attribute was changed since this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    owner: OwnerArgs,
}

/// List attributes in the order of their names
#[derive(Args)]
struct List {
    /// Only these [default: all]
    names: Vec<String>,
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    limit: Limit,
}

/// Remove attributes: all that are named or, if one is not there, none
#[derive(Args)]
struct Delete {
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    owner: OwnerArgs,
}

impl Attribute {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        match self.verb {
            Verb::Set(set) => {
                let (set, subject) = set.connect().await?;
                let owner = set.owner.resolve(&subject).await?;
                let attributes = subject.set_attributes(owner, set.attributes()?).await?;
                let views: Vec<_> = attributes.into_iter().map(AttributeView::from).collect();
                output.list("attributes", &views, false)
            }
            Verb::List(list) => {
                let (List { names, owner, limit }, subject) = list.connect().await?;
                let owner = owner.resolve(&subject).await?.map(|owner| AttributeOwner { owner: Some(owner) });
                let page_size = limit.page_size();
                let request = ListAttributesRequest { owner, names, page_size, ..ListAttributesRequest::default() };
                let (attributes, has_more) = limit.collect(subject.list_attributes(request)).await?;
                let views: Vec<_> = attributes.into_iter().map(AttributeView::from).collect();
                output.list("attributes", &views, has_more)
            }
            Verb::Delete(delete) => {
                let (Delete { names, owner }, subject) = delete.connect().await?;
                let count = subject.delete_attributes(owner.resolve(&subject).await?, names).await?;
                output.done(&json!({ "deleted_count": count }), &format!("Attributes removed: {count}."))
            }
        }
    }
}

impl OwnerArgs {
    async fn resolve(&self, subject: &Subject) -> Result<Option<Owner>, Failure> {
        Ok(match (&self.user, &self.session) {
            (Some(user), _) => Some(Owner::UserId(user_id(subject, user).await?)),
            (None, Some(session)) => Some(Owner::SessionId(session.clone())),
            (None, None) => None,
        })
    }
}

impl Set {
    fn attributes(&self) -> Result<Vec<AttributeToSet>, Failure> {
        let without_value = self.attributes.iter().filter(|attribute| !attribute.contains('=')).count();
        if without_value > 1 {
            return Err(Failure::new(Exit::Usage, "only one attribute can take its value from standard input"));
        }
        self.attributes.iter().map(|attribute| self.attribute(attribute)).collect()
    }

    fn attribute(&self, attribute: &str) -> Result<AttributeToSet, Failure> {
        let (name, value) = match attribute.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (attribute, value_of_stdin()?),
        };
        let too_long = |_| Failure::new(Exit::Usage, "--ttl is too long");
        let ttl = self.ttl.map(prost_types::Duration::try_from).transpose().map_err(too_long)?;
        Ok(AttributeToSet { name: name.to_owned(), value, seal: self.seal, ttl, etag: self.etag.clone() })
    }
}

fn value_of_stdin() -> Result<String, Failure> {
    let mut value = String::new();
    std::io::stdin().lock().read_to_string(&mut value)?;
    Ok(value.strip_suffix('\n').map(str::to_owned).unwrap_or(value))
}
