//! `lanyard caller`: opens the database directly. No RPC creates callers, so a stolen key cannot.

use std::time::Duration;

use crate::app::caller::{CallerInfo, CallerToCreate};
use crate::clock::Time;
use crate::model::caller::{Apps, Flags, Grant, Grants};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::exit::Outcome;
use super::operator::Operator;
use super::output::{Output, View};
use super::settings::Settings;

/// The services that call Lanyard, and their keys (on the machine of the database)
#[derive(Args)]
pub(crate) struct Caller {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Create(Create),
    /// List callers
    List(Settings),
    Rotate(Rotate),
    Revoke(Revoke),
}

/// Make a caller and its key, which is shown once
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanyard caller create shop --grant session.verify --in-app shop
  lanyard caller create portal --grant session.create,session.verify,session.write --may-assert-client-address
  lanyard caller create console --all-grants --may-relay-super-users --expires-in 30d
  lanyard caller create gateway --grant session.verify --no-key --spiffe-id spiffe://example.org/gateway")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag on the command line")]
struct Create {
    /// Letters, digits and . _ - /
    name: String,
    /// What it may call; can be given often
    #[arg(long, value_delimiter = ',', required_unless_present = "all_grants", value_parser = grants())]
    grant: Vec<Grant>,
    /// It may call everything
    #[arg(long, conflicts_with = "grant")]
    all_grants: bool,
    /// App that it may name; can be given often [default: all]
    #[arg(long, value_name = "APP", value_delimiter = ',')]
    in_app: Vec<String>,
    /// What it says of the user's address is believed
    #[arg(long)]
    may_assert_client_address: bool,
    /// It may act for super-users; without it their tokens are good for verification only
    #[arg(long)]
    may_relay_super_users: bool,
    /// Calls under way at once [default: as configured]
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u32>,
    /// The URI in its client certificate, by which it is known too
    #[arg(long, value_name = "URI")]
    spiffe_id: Option<String>,
    /// How long the key is good
    #[arg(long, value_name = "DURATION", default_value = "365d", value_parser = humantime::parse_duration)]
    expires_in: Duration,
    /// No key, only a certificate
    #[arg(long, requires = "spiffe_id")]
    no_key: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Make a new key for a caller, which is shown once; those so far go on for a while
#[derive(Args)]
struct Rotate {
    name: String,
    /// How long the new key is good
    #[arg(long, value_name = "DURATION", default_value = "365d", value_parser = humantime::parse_duration)]
    expires_in: Duration,
    /// How long those so far go on
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    overlap: Duration,
    #[command(flatten)]
    settings: Settings,
}

/// End a caller and all its keys; running servers know within seconds
#[derive(Args)]
struct Revoke {
    name: String,
    #[command(flatten)]
    settings: Settings,
}

fn grants() -> impl TypedValueParser<Value = Grant> {
    PossibleValuesParser::new(Grant::ALL.iter().map(|grant| grant.name())).try_map(|name| name.parse::<Grant>())
}

#[derive(Serialize)]
struct CallerView {
    caller_id: String,
    name: String,
    grants: Vec<String>,
    apps: Vec<String>,
    flags: Vec<String>,
    max_in_flight: Option<u32>,
    spiffe_id: Option<String>,
    creation_time: String,
    revoke_time: Option<String>,
    key_expire_time: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl View for CallerView {
    const FIELDS: &'static str = "name caller_id grants apps flags max_in_flight spiffe_id creation_time \
         revoke_time key_expire_time key";
    const COLUMNS: &'static str = "name apps creation_time revoke_time key_expire_time spiffe_id flags grants";
}

impl CallerView {
    fn new(caller: CallerInfo, key: Option<String>) -> Self {
        let names = |text: &str| text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self {
            caller_id: caller.id.to_string(),
            grants: names(&caller.grants),
            apps: names(&caller.apps),
            flags: names(&caller.flags),
            name: caller.name,
            max_in_flight: caller.max_in_flight,
            spiffe_id: caller.spiffe_id,
            creation_time: caller.created_at.to_string(),
            revoke_time: caller.revoked_at.as_ref().map(Time::to_string),
            key_expire_time: caller.key_expiries.iter().map(Time::to_string).collect(),
            key,
        }
    }
}

impl Caller {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        match self.verb {
            Verb::Create(create) => create.run(output).await,
            Verb::List(settings) => {
                let operator = Operator::open(&settings).await?;
                let callers = operator.app.list_callers().await?;
                operator.close().await?;
                let views: Vec<_> = callers.into_iter().map(|caller| CallerView::new(caller, None)).collect();
                output.list("callers", &views, false)
            }
            Verb::Rotate(rotate) => {
                let operator = Operator::open(&rotate.settings).await?;
                let Rotate { name, expires_in, overlap, .. } = rotate;
                let key = operator.app.rotate_caller(&operator.context, &name, expires_in, overlap).await?;
                operator.close().await?;
                let (key, until) = (key.expose(), humantime::format_duration(overlap));
                let text =
                    format!("{key}\n\nThe keys of {name} so far go on for {until}. This one is not shown again.");
                output.done(&json!({ "name": name, "key": key }), &text)
            }
            Verb::Revoke(revoke) => {
                let operator = Operator::open(&revoke.settings).await?;
                operator.app.revoke_caller(&operator.context, &revoke.name).await?;
                operator.close().await?;
                let text = format!("{} is revoked; running servers know within seconds.", revoke.name);
                output.done(&json!({ "name": revoke.name, "revoked": true }), &text)
            }
        }
    }
}

impl Create {
    async fn run(self, output: Output) -> Outcome {
        let new = CallerToCreate {
            name: self.name,
            spiffe_id: self.spiffe_id,
            grants: if self.all_grants { Grants::all() } else { self.grant.into_iter().collect() },
            apps: if self.in_app.is_empty() { Apps::All } else { Apps::Only(self.in_app) },
            flags: Flags {
                may_assert_client_address: self.may_assert_client_address,
                may_relay_super_users: self.may_relay_super_users,
            },
            max_in_flight: self.max_in_flight,
            key_lifetime: (!self.no_key).then_some(self.expires_in),
        };
        let operator = Operator::open(&self.settings).await?;
        let (caller, key) = operator.app.create_caller(&operator.context, new).await?;
        operator.close().await?;
        output.one(&CallerView::new(caller, key.as_ref().map(|key| key.expose().to_owned())))?;
        if key.is_some() {
            output.note("The key is not shown again.");
        }
        Ok(super::exit::Exit::Ok)
    }
}
