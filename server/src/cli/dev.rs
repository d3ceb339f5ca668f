//! The first start of `serve --dev`: creates keys, users and a caller, and prints commands to try.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::app::attribute::{AttributeToSet, Owner};
use crate::app::caller::{CallerToCreate, operator};
use crate::app::client::{ActingInput, ClientInput};
use crate::app::definition::{DefinitionSecret, DefinitionToCreate, KindToCreate};
use crate::app::link::{DefinitionKey, LinkToCreate};
use crate::app::login::PasswordLogin;
use crate::app::user::UserChange;
use crate::app::{App, Context};
use crate::clock::Clock;
use crate::config::Config;
use crate::crypto::{Keyring, random_password};
use crate::error::Error;
use crate::model::caller::{Apps, Flags, Grants};
use crate::model::id::UserId;
use lanyard_client::secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::connection::{read_json, write_json};
use super::exit::{Exit, Failure};
use super::output::{Output, say};
use super::secrets::in_file;

const SUPER_USER: &str = "admin";
const DEMO_USER: &str = "demo";
const DEMO_DEFINITION: &str = "reporting";
const CALLER: &str = "dev";
/// Dev folders are not expected to live longer.
const KEY_LIFETIME: Duration = Duration::from_hours(365 * 24);

/// The `credentials.json` of `serve --dev`. Only its owner can read it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    pub(crate) endpoint: String,
    #[serde(with = "in_file")]
    pub(crate) caller_key: SecretString,
    super_user: UserCredentials,
    demo_user: UserCredentials,
    /// Absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    demo_definition: Option<DefinitionCredentials>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserCredentials {
    username: String,
    #[serde(with = "in_file")]
    password: SecretString,
}

/// The basic-auth definition linked to the demo user.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DefinitionCredentials {
    username: String,
    #[serde(with = "in_file")]
    secret: SecretString,
}

impl UserCredentials {
    fn new(username: &str) -> Self {
        Self { username: username.to_owned(), password: random_password().as_str().into() }
    }

    fn password(&self) -> zeroize::Zeroizing<String> {
        self.password.expose_secret().to_owned().into()
    }
}

impl Credentials {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("credentials.json")
    }

    pub(crate) fn read(data_dir: &Path) -> Result<Option<Self>, Failure> {
        read_json(&Self::path(data_dir))
    }
}

pub(crate) fn make_private_dir(dir: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", dir.display())))
}

/// Creates the folder and the key file if missing.
pub(crate) fn prepare(config: &Config, data_dir: &Path) -> Result<(), Failure> {
    make_private_dir(data_dir)?;
    if !config.keys.file.exists() {
        Keyring::generate(Clock::system().now()).save(&config.keys.file)?;
    }
    Ok(())
}

/// Seeds a new folder and prints, once, how to use it. Later starts print where the credentials are.
pub(crate) async fn welcome(
    app: &App,
    config: &Config,
    addr: SocketAddr,
    data_dir: &Path,
    output: Output,
) -> Result<(), Failure> {
    let scheme = if config.server.tls.cert.is_some() { "https" } else { "http" };
    let endpoint = format!("{scheme}://{addr}");
    let path = Credentials::path(data_dir);
    let is_first = match Credentials::read(data_dir)? {
        Some(credentials) if credentials.endpoint == endpoint => false,
        Some(credentials) => {
            write_json(&path, &Credentials { endpoint: endpoint.clone(), ..credentials }).map(|()| false)?
        }
        None => {
            let credentials = make(app, config, &endpoint).await?;
            write_json(&path, &credentials)?;
            if !output.is_json() {
                say(&banner(&credentials, data_dir))?;
            }
            true
        }
    };
    if output.is_json() {
        let file = path.display().to_string();
        say(&serde_json::json!({ "endpoint": endpoint, "credentials_file": file }).to_string())?;
    } else if !is_first {
        say(&format!("Lanyard serves at {endpoint}. Users and keys are in {}.", path.display()))?;
    }
    Ok(())
}

async fn make(app: &App, config: &Config, endpoint: &str) -> Result<Credentials, Failure> {
    let context = operator(config, app.clock().now());
    let (super_user, demo_user) = (UserCredentials::new(SUPER_USER), UserCredentials::new(DEMO_USER));
    let named = |user: &UserCredentials, display_name: &str| {
        vec![UserChange::Username(user.username.clone()), UserChange::DisplayName(display_name.to_owned())]
    };
    let mut admin = named(&super_user, "Administrator");
    admin.push(UserChange::IsSuperUser(true));
    let made = app.create_user_by_operator(&context, admin, super_user.password()).await;
    if matches!(made, Err(Error::UsernameTaken)) {
        let problem = "the database has users, but their credentials.json is gone: restore it, or remove the folder \
                       (with all that is in it) to begin anew";
        return Err(Failure::new(Exit::Failed, problem));
    }
    made?;
    let demo = named(&demo_user, "Demo User");
    let demo = app.create_user_by_operator(&context, demo, demo_user.password()).await?;
    let demo_definition = seed_links(app, &context, &super_user, demo.user_id).await?;
    let caller = CallerToCreate {
        name: CALLER.to_owned(),
        spiffe_id: None,
        grants: Grants::all(),
        apps: Apps::All,
        flags: Flags { may_assert_client_address: true, may_relay_super_users: true },
        max_in_flight: None,
        key_lifetime: Some(KEY_LIFETIME),
    };
    let (_, key) = app.create_caller(&context, caller).await?;
    let caller_key = key.expect("a caller with a key lifetime has a key").expose().into();
    let demo_definition = Some(demo_definition);
    Ok(Credentials { endpoint: endpoint.to_owned(), caller_key, super_user, demo_user, demo_definition })
}

/// Gives a user attributes and a linked account. Both need a session: a temporary one of the super-user.
async fn seed_links(
    app: &App,
    context: &Context,
    super_user: &UserCredentials,
    user: UserId,
) -> Result<DefinitionCredentials, Failure> {
    let attribute = |name: &str, value: &str, seal| AttributeToSet {
        name: name.to_owned(),
        value: value.to_owned(),
        seal,
        ttl: None,
        etag: String::new(),
    };
    let login = PasswordLogin {
        username: super_user.username.clone(),
        password: super_user.password(),
        totp_code: String::new().into(),
        new_password: String::new().into(),
    };
    let login = app.create_session(context, ClientInput::default(), login).await?;
    let acting = ActingInput { ust: login.ust.expose(), client: ClientInput::default() };
    let acting = app.acting(context, acting).await?;
    let attributes = vec![attribute("crm:team", "north", false), attribute("phone", "+44 20 7946 0000", true)];
    app.set_attributes(&acting, Some(Owner::User(user)), attributes).await?;
    let demo_definition =
        DefinitionCredentials { username: DEMO_DEFINITION.to_owned(), secret: random_password().as_str().into() };
    let definition = DefinitionToCreate {
        name: DEMO_DEFINITION.to_owned(),
        is_active: true,
        is_internal: false,
        kind: KindToCreate::BasicAuth { username: demo_definition.username.clone() },
        secret: DefinitionSecret::Secret(demo_definition.secret.expose_secret().to_owned().into()),
    };
    let definition = DefinitionKey::Id(app.create_definition(&acting, definition).await?.auth_id);
    app.create_link(&acting, LinkToCreate { user, definition, is_active: true }).await?;
    app.revoke_session(&acting, None).await?;
    Ok(demo_definition)
}

/// The indented lines must work in any POSIX shell, and in any folder where `program` does.
fn banner(made: &Credentials, data_dir: &Path) -> String {
    let program = program();
    let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let (admin, demo) = (&made.super_user, &made.demo_user);
    let linked = made.demo_definition.as_ref().expect("it was just made");
    let key = made.caller_key.expose_secret();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "Lanyard serves at {endpoint}.\n\n\
         This is the first start in {dir}: there are a database, keys, two users, an account that is linked to\n\
         the second, and a caller now. Their secrets are shown this once. {file}\n\
         keeps them, readable by you only.\n\n\
         \x20   super-user      {admin_name:<9} {admin_password}\n\
         \x20   user            {demo_name:<9} {demo_password}\n\
         \x20   linked account  {linked_name:<9} {linked_secret}\n\
         \x20   caller key      {CALLER:<9} {key}\n",
        endpoint = made.endpoint,
        dir = data_dir.display(),
        file = Credentials::path(&data_dir).display(),
        admin_name = admin.username,
        admin_password = admin.password.expose_secret(),
        demo_name = demo.username,
        demo_password = demo.password.expose_secret(),
        linked_name = linked.username,
        linked_secret = linked.secret.expose_secret(),
    );
    let _ = writeln!(
        text,
        "Try it in another terminal:\n\n\
         \x20   export LANYARD_ENDPOINT={endpoint} LANYARD_CALLER_KEY={key}\n\
         \x20   export LANYARD_DATA_DIR={dir}\n\
         \x20   LANYARD_PASSWORD={demo_password} {program} session login --username {demo_name} --save\n\
         \x20   {program} session verify\n\
         \x20   {program} session list\n\
         \x20   {program} link list\n\
         \x20   {program} session revoke\n\
         \x20   {program} session verify || echo \"exit code $?\"\n\
         \x20   LANYARD_SECRET={linked_secret} {program} session login --basic-auth {linked_name} --save\n\n\
         Ctrl-C stops the server. All commands: {program} --help",
        endpoint = made.endpoint,
        dir = quoted(&data_dir.to_string_lossy()),
        demo_name = demo.username,
        demo_password = demo.password.expose_secret(),
        linked_name = linked.username,
        linked_secret = linked.secret.expose_secret(),
    );
    text
}

/// The program as typed, so that a shell finds it.
fn program() -> String {
    let typed = std::env::args_os().next().unwrap_or_else(|| "lanyard".into());
    quoted(&typed.to_string_lossy())
}

/// Quotes for a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:=@%".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_split_or_expand_is_quoted() {
        assert_eq!(quoted("target/release/lanyard"), "target/release/lanyard");
        assert_eq!(quoted("/my folder/$x"), "'/my folder/$x'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
