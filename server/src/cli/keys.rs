//! `lanyard keys`: the key file.

use clap::{Args, Subcommand, ValueEnum};
use lanyard_server::clock::Clock;
use lanyard_server::crypto::{KeyPurpose, Keyring};
use serde::Serialize;
use serde_json::json;

use super::exit::{Exit, Failure, Outcome};
use super::operator;
use super::output::{Output, View};
use super::settings::Settings;

/// The key file: what tokens are hashed, values sealed and the audit trail chained with
#[derive(Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a key file with one key for each purpose, readable by you only
    Init(Settings),
    /// List number and age of each key; never the keys
    List(Settings),
    Rotate(Rotate),
}

/// Put a new key first; running servers take it when they are restarted
///
/// Of token keys two live: the new one, and the one before it. Sessions and caller keys that are still hashed under an older one
/// would end, so the command refuses while there are any. All servers that share the key file must be restarted with the new
/// one before tokens made by one of them are good on the others.
#[derive(Args)]
struct Rotate {
    /// Which key
    #[arg(long)]
    purpose: Purpose,
    /// End the sessions and caller keys that are still hashed under the key that drops out
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, ValueEnum)]
enum Purpose {
    /// Hashes of tokens and caller keys
    Token,
    /// Values sealed at rest
    Seal,
    /// The chain of the audit trail
    Audit,
}

impl From<Purpose> for KeyPurpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Token => Self::Token,
            Purpose::Seal => Self::Seal,
            Purpose::Audit => Self::Audit,
        }
    }
}

const fn name(purpose: KeyPurpose) -> &'static str {
    match purpose {
        KeyPurpose::Token => "token",
        KeyPurpose::Seal => "seal",
        KeyPurpose::Audit => "audit",
    }
}

#[derive(Serialize)]
struct KeyView {
    purpose: &'static str,
    key_id: u16,
    is_current: bool,
    creation_time: String,
}

impl View for KeyView {
    const FIELDS: &'static [&'static str] = &["purpose", "key_id", "is_current", "creation_time"];
    const COLUMNS: &'static [&'static str] = Self::FIELDS;
}

impl Keys {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        match self.verb {
            Verb::Init(settings) => init(&settings, output),
            Verb::List(settings) => list(&settings, output),
            Verb::Rotate(rotate) => rotate.run(output).await,
        }
    }
}

fn init(settings: &Settings, output: Output) -> Outcome {
    let file = settings.load()?.keys.file;
    let shown = file.display().to_string();
    if file.exists() {
        return Err(Failure::new(Exit::Failed, format!("{shown} is there already: it stays as it is")));
    }
    if let Some(folder) = file.parent() {
        super::dev::make_private_dir(folder)?;
    }
    Keyring::generate(Clock::system().now()).save(&file)?;
    output.done(
        &json!({ "file": shown }),
        &format!("{shown} has new keys. Whoever loses it loses all sessions: keep a copy."),
    )
}

fn list(settings: &Settings, output: Output) -> Outcome {
    let keyring = Keyring::load(&settings.load()?.keys.file)?;
    let views: Vec<_> = KeyPurpose::ALL
        .into_iter()
        .flat_map(|purpose| keyring.list(purpose).enumerate().map(move |(i, key)| (purpose, i == 0, key)))
        .map(|(purpose, is_current, (key_id, created))| KeyView {
            purpose: name(purpose),
            key_id,
            is_current,
            creation_time: created.to_string(),
        })
        .collect();
    output.list("keys", &views, false)
}

impl Rotate {
    async fn run(self, output: Output) -> Outcome {
        let config = self.settings.load()?;
        let purpose = self.purpose.into();
        let mut keyring = Keyring::load(&config.keys.file)?;
        let before: Vec<u16> = keyring.list(purpose).map(|(id, _)| id).collect();
        keyring.rotate(purpose, Clock::system().now());
        let after: Vec<u16> = keyring.list(purpose).map(|(id, _)| id).collect();
        let dropped: Vec<u16> = before.into_iter().filter(|id| !after.contains(id)).collect();
        if !self.force {
            for key_id in dropped {
                refuse_if_used(&config, key_id).await?;
            }
        }
        keyring.save(&config.keys.file)?;
        let (purpose, key_id) = (name(purpose), after[0]);
        let text = format!("{purpose} key {key_id} is the current one. Restart the servers to make them use it.");
        output.done(&json!({ "purpose": purpose, "key_id": key_id }), &text)
    }
}

async fn refuse_if_used(config: &lanyard_server::config::Config, key_id: u16) -> Result<(), Failure> {
    let store = operator::open(config).await?;
    let used = store.live_hashes(key_id).await?;
    store.close().await?;
    if used.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "token key {key_id} would drop out, and what is hashed under it would end (live sessions: {}, caller keys: {}). \
         Wait for the sessions and rotate the callers, or use --force",
        used.sessions, used.caller_keys
    );
    Err(Failure::new(Exit::Failed, problem))
}
