//! `lanyard keys`: the key file.

use crate::clock::Clock;
use crate::crypto::{KeyPurpose, Keyring};
use clap::{Args, Subcommand, ValueEnum};
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
    Promote(Promote),
}

/// Put a new key first; running servers take it when they are restarted
///
/// Of token keys two live: the new one, and the one before it. Sessions and caller keys that are still hashed under an older one
/// would end, so the command refuses while there are any.
///
/// Where several servers share the key file, what one makes with a key that another has not read is not good there. So that
/// no call fails meanwhile: --stage the new key, restart the servers one by one, `keys promote` it, restart them again.
#[derive(Args)]
struct Rotate {
    /// Which key
    #[arg(long)]
    purpose: Purpose,
    /// Put the new key behind the current one: servers understand it and do not use it until `keys promote`
    #[arg(long)]
    stage: bool,
    /// End the sessions and caller keys that are still hashed under the key that drops out
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Make the staged key the current one; running servers take it when they are restarted
#[derive(Args)]
struct Promote {
    /// Which key
    #[arg(long)]
    purpose: Purpose,
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

pub(super) const fn name(purpose: KeyPurpose) -> &'static str {
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
    is_staged: bool,
    creation_time: String,
}

impl View for KeyView {
    const FIELDS: &'static str = "purpose key_id is_current is_staged creation_time";
    const COLUMNS: &'static str = Self::FIELDS;
}

impl Keys {
    pub(crate) async fn run(self, output: Output) -> Outcome {
        match self.verb {
            Verb::Init(settings) => init(&settings, output),
            Verb::List(settings) => list(&settings, output),
            Verb::Rotate(rotate) => rotate.run(output).await,
            Verb::Promote(promote) => promote.run(output),
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
            is_staged: keyring.staged(purpose) == Some(key_id),
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
        if let Some(staged) = keyring.staged(purpose) {
            let problem = format!("{} key {staged} is staged: `lanyard keys promote` comes first", name(purpose));
            return Err(Failure::new(Exit::Failed, problem));
        }
        let now = Clock::system().now();
        if self.stage {
            keyring.stage(purpose, now);
        } else {
            keyring.rotate(purpose, now);
        }
        let after: Vec<u16> = keyring.list(purpose).map(|(id, _)| id).collect();
        let dropped: Vec<u16> = before.into_iter().filter(|id| !after.contains(id)).collect();
        if !self.force {
            for key_id in dropped {
                refuse_if_used(&config, key_id).await?;
            }
        }
        keyring.save(&config.keys.file)?;
        let purpose_name = name(purpose);
        if let Some(key_id) = keyring.staged(purpose) {
            let text =
                format!("{purpose_name} key {key_id} is staged. Restart the servers one by one, then promote it.");
            return output.done(&json!({ "purpose": purpose_name, "key_id": key_id, "is_staged": true }), &text);
        }
        is_current(purpose_name, after[0], output)
    }
}

impl Promote {
    fn run(self, output: Output) -> Outcome {
        let file = self.settings.load()?.keys.file;
        let purpose = self.purpose.into();
        let mut keyring = Keyring::load(&file)?;
        let Some(key_id) = keyring.promote(purpose) else {
            let problem = format!("no {} key is staged: `lanyard keys rotate --stage` stages one", name(purpose));
            return Err(Failure::new(Exit::Failed, problem));
        };
        keyring.save(&file)?;
        is_current(name(purpose), key_id, output)
    }
}

fn is_current(purpose: &str, key_id: u16, output: Output) -> Outcome {
    let text = format!("{purpose} key {key_id} is the current one. Restart the servers to make them use it.");
    output.done(&json!({ "purpose": purpose, "key_id": key_id, "is_staged": false }), &text)
}

async fn refuse_if_used(config: &crate::config::Config, key_id: u16) -> Result<(), Failure> {
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
