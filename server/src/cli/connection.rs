//! The connection to a server, and the user on whose behalf a command acts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::crypto::write_private;
use clap::Args;
use lanyard_client::secrecy::SecretString;
use lanyard_client::v1::ClientInfo;
use lanyard_client::{Client, CorrelationId, PagedRequest, Pages, Subject, Ust};
use serde::{Deserialize, Serialize};

use super::dev::Credentials;
use super::exit::{Exit, Failure};
use super::secrets::{in_file, secret, secret_file};
use super::settings::DATA_DIR;

const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:50051";
/// Page size of lists: the server's maximum.
const PAGE: usize = 200;

// A verb that calls a server. No `///` here or on the next two: clap would show it instead of the verb's help.
#[derive(Args)]
pub(crate) struct Remote<V: Args> {
    #[command(flatten)]
    pub(crate) verb: V,
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// ID of this call in logs, traces and the audit trail; a new one if not given
    #[arg(long, value_name = "ID", help_heading = "Connection")]
    correlation_id: Option<CorrelationId>,
}

impl<V: Args> Remote<V> {
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let client = self.connection.connect().await?;
        Ok(match &self.correlation_id {
            Some(id) => client.with_correlation_id(id.clone()),
            None => client,
        })
    }
}

// A verb that calls a server on behalf of a user.
#[derive(Args)]
pub(crate) struct Acting<V: Args> {
    #[command(flatten)]
    remote: Remote<V>,
    #[command(flatten)]
    holder: Holder,
}

impl<V: Args> Acting<V> {
    pub(crate) async fn connect(self) -> Result<(V, Subject), Failure> {
        let ust = self.holder.ust(&self.remote.connection)?;
        let client = self.remote.connect().await?;
        Ok((self.remote.verb, client.on_behalf_of(&ust)))
    }
}

// Like `Acting`, for a verb whose own `--correlation-id` is a filter.
#[derive(Args)]
pub(crate) struct ActingWithoutId<V: Args> {
    #[command(flatten)]
    verb: V,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    holder: Holder,
}

impl<V: Args> ActingWithoutId<V> {
    pub(crate) async fn connect(self) -> Result<(V, Subject), Failure> {
        let ust = self.holder.ust(&self.connection)?;
        Ok((self.verb, self.connection.connect().await?.on_behalf_of(&ust)))
    }
}

#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Server [default: the one of `serve --dev` in DIR, else port 50051 on this machine]
    #[arg(long, value_name = "URL", env = "LANYARD_ENDPOINT")]
    endpoint: Option<String>,
    /// API key of the calling service (better from the environment or a file) [default: the one of `serve --dev` in DIR]
    #[arg(long, value_name = "KEY", env = "LANYARD_CALLER_KEY", hide_env_values = true, value_parser = secret)]
    caller_key: Option<SecretString>,
    /// File with the API key
    #[arg(long, value_name = "FILE", env = "LANYARD_CALLER_KEY_FILE", conflicts_with = "caller_key")]
    caller_key_file: Option<PathBuf>,
    /// Authority that signed the server's certificate (PEM) [default: those of the system]
    #[arg(long, value_name = "FILE", env = "LANYARD_CA")]
    ca: Option<PathBuf>,
    /// Certificate of the calling service, instead of a key (PEM)
    #[arg(long, value_name = "FILE", env = "LANYARD_CERT", requires = "key")]
    cert: Option<PathBuf>,
    /// Private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", env = "LANYARD_KEY", requires = "cert")]
    key: Option<PathBuf>,
    /// App in which the user acts [default: the app named default]
    #[arg(long, value_name = "APP", env = "LANYARD_APP")]
    app: Option<String>,
    /// Address of the user; believed only from callers that may say so
    #[arg(long, value_name = "ADDRESS")]
    remote_addr: Option<String>,
    /// How long a call may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Folder of `serve --dev` and of `session login --save`
    #[arg(long, value_name = "DIR", env = "LANYARD_DATA_DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,
}

impl Connection {
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let credentials = Credentials::read(&self.data_dir)?;
        let endpoint = self.endpoint_with(credentials.as_ref());
        let mut builder = Client::builder(&endpoint).deadline(self.timeout);
        if let Some(key) = self.key_for(&endpoint, credentials)? {
            builder = builder.api_key(key);
        }
        if let Some(ca) = &self.ca {
            builder = builder.ca(read(ca)?);
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            builder = builder.identity(read(cert)?, read(key)?);
        }
        let client = builder.connect().await.map_err(|error| {
            let failure = Failure::from(error);
            Failure { message: format!("{endpoint}: {}", failure.message), ..failure }
        })?;
        Ok(client.with_client_info(ClientInfo {
            current_app: self.app.clone().unwrap_or_default(),
            remote_addr: self.remote_addr.clone().unwrap_or_default(),
            user_agent: concat!("lanyard/", env!("CARGO_PKG_VERSION")).to_owned(),
        }))
    }

    fn endpoint_with(&self, credentials: Option<&Credentials>) -> String {
        let given = self.endpoint.as_deref().or(credentials.map(|credentials| credentials.endpoint.as_str()));
        given.unwrap_or(DEFAULT_ENDPOINT).trim_end_matches('/').to_owned()
    }

    fn endpoint(&self) -> Result<String, Failure> {
        Ok(self.endpoint_with(Credentials::read(&self.data_dir)?.as_ref()))
    }

    /// A saved key is sent only to the endpoint it was saved with.
    fn key_for(&self, endpoint: &str, credentials: Option<Credentials>) -> Result<Option<SecretString>, Failure> {
        if let Some(file) = &self.caller_key_file {
            return secret_file(file).map(Some);
        }
        if self.caller_key.is_some() || self.cert.is_some() {
            return Ok(self.caller_key.clone());
        }
        Ok(credentials.filter(|credentials| credentials.endpoint == endpoint).map(|credentials| credentials.caller_key))
    }
}

// The source of the user's token.
#[derive(Args)]
#[command(next_help_heading = "User")]
pub(crate) struct Holder {
    /// Token of the user (better from the environment or a file) [default: the one of `session login --save`]
    #[arg(long, value_name = "UST", env = "LANYARD_UST", hide_env_values = true, value_parser = secret)]
    ust: Option<SecretString>,
    /// File with the token
    #[arg(long, value_name = "FILE", conflicts_with = "ust")]
    ust_file: Option<PathBuf>,
}

impl Holder {
    pub(crate) fn ust(&self, connection: &Connection) -> Result<Ust, Failure> {
        if let Some(ust) = &self.ust {
            return Ok(Ust::new(ust.clone()));
        }
        if let Some(file) = &self.ust_file {
            return secret_file(file).map(Ust::new);
        }
        let saved = SavedSession::read(connection)?;
        let saved = saved.ok_or_else(|| {
            let problem = "no token: log in with `lanyard session login --save`, or give --ust-file or LANYARD_UST";
            Failure::new(Exit::Usage, problem)
        })?;
        Ok(Ust::new(saved.ust))
    }

    /// Does the token come from `session login --save`?
    pub(crate) const fn is_saved(&self) -> bool {
        self.ust.is_none() && self.ust_file.is_none()
    }
}

/// The file of `session login --save`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedSession {
    endpoint: String,
    username: String,
    #[serde(with = "in_file")]
    ust: SecretString,
}

impl SavedSession {
    pub(crate) fn path(connection: &Connection) -> PathBuf {
        connection.data_dir.join("session.json")
    }

    /// A saved token is sent only to its own server.
    fn read(connection: &Connection) -> Result<Option<Self>, Failure> {
        let path = Self::path(connection);
        let Some(saved) = read_json::<Self>(&path)? else { return Ok(None) };
        let endpoint = connection.endpoint()?;
        if saved.endpoint == endpoint {
            return Ok(Some(saved));
        }
        let (path, theirs) = (path.display(), &saved.endpoint);
        let problem = format!("the token in {path} is of {theirs}, not of {endpoint}: log in there");
        Err(Failure::new(Exit::Usage, problem))
    }

    pub(crate) fn write(connection: &Connection, username: &str, ust: &Ust) -> Result<(), Failure> {
        let saved = Self { endpoint: connection.endpoint()?, username: username.to_owned(), ust: ust.expose().into() };
        super::dev::make_private_dir(&connection.data_dir)?;
        write_json(&Self::path(connection), &saved)
    }
}

/// Reads a file of `write_json`; `None` if missing. Errors never quote it, because it holds secrets.
pub(super) fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, Failure> {
    let unusable = |problem: String| Failure::new(Exit::Config, format!("{}: {problem}", path.display()));
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| unusable(format!("line {}, column {}: not what we write", error.line(), error.column()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(error.to_string())),
    }
}

/// Only the owner can read the file.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).expect("plain JSON");
    write_private(path, format!("{text}\n").as_bytes())
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::new(Exit::Config, format!("{}: {error}", path.display())))
}

#[derive(Args, Clone, Copy)]
pub(crate) struct Limit {
    /// At most so many; 0: all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

impl Limit {
    /// One more than the limit, so that `collect` knows whether there are more.
    pub(crate) fn page_size(self) -> i32 {
        let wanted = if self.limit == 0 { PAGE } else { self.limit.saturating_add(1).min(PAGE) };
        i32::try_from(wanted).expect("a page is small")
    }

    /// Up to `limit` items, and whether there are more.
    pub(crate) async fn collect<R: PagedRequest>(self, mut pages: Pages<R>) -> Result<(Vec<R::Item>, bool), Failure> {
        let mut items = Vec::new();
        let is_enough = |count: usize| self.limit != 0 && count > self.limit;
        while !is_enough(items.len()) {
            let Some(page) = pages.next_page().await? else { break };
            items.extend(page);
        }
        let has_more = is_enough(items.len());
        if has_more {
            items.truncate(self.limit);
        }
        Ok((items, has_more))
    }
}
