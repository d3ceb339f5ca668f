//! Lanyard as it is measured: built, given data, started, reached.

use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lanyard_proto::v1::create_session_request::Credential;
use lanyard_proto::v1::{
    ClientInfo, CreateSessionRequest, CreateSessionResponse, CreateUserRequest, CreateUserResponse, PasswordCredential,
    User,
};
use tempfile::TempDir;

use crate::hashing::Cost;
use crate::load::Client;
use crate::target::{self, Cores, Place, Process};
use crate::{Result, seed};

pub(crate) const CREATE_SESSION: &str = "/lanyard.v1.SessionService/CreateSession";
const CREATE_USER: &str = "/lanyard.v1.UserService/CreateUser";
const LOG_LINES_SHOWN: usize = 20;

/// Where the end user is said to be.
pub(crate) fn client_info() -> ClientInfo {
    ClientInfo { current_app: "default".into(), remote_addr: "192.0.2.10".into(), user_agent: String::new() }
}

/// What differs between the servers that are measured; all else is as a new installation has it.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) place: Place,
    pub(crate) cost: Cost,
    pub(crate) cached: bool,
    pub(crate) cache_capacity: u64,
    pub(crate) audit_reads: AuditReads,
    /// None: no telemetry is sent.
    pub(crate) traced: Option<Traced>,
}

/// Where telemetry is sent, and how many of the calls are traced.
#[derive(Clone, Copy)]
pub(crate) struct Traced {
    pub(crate) to: SocketAddr,
    pub(crate) ratio: f64,
}

impl Setting {
    pub(crate) const DEFAULT: Self = Self {
        place: Place::Server,
        cost: Cost::DEFAULT,
        cached: true,
        cache_capacity: 1_000_000,
        audit_reads: AuditReads::All,
        traced: None,
    };
}

impl Default for Setting {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Which reads leave a row in the audit trail.
#[derive(Clone, Copy)]
pub(crate) enum AuditReads {
    /// As in a new installation.
    All,
    /// Those of others' data.
    Others,
}

/// What a server has to work with: a folder with its keys and its database, or the URL of the latter.
pub(crate) struct Data {
    folder: TempDir,
    database: String,
    pub(crate) caller_key: String,
    super_user: (String, String),
}

/// A user who can log in.
pub(crate) struct Account {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// A running server.
pub(crate) struct Lanyard {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    pub(crate) started_in: Duration,
}

/// What is started, and where.
pub(crate) struct Site {
    pub(crate) program: PathBuf,
    pub(crate) cores: Cores,
}

impl Site {
    /// A first start, which makes keys, schema, super-user and caller. `database`: a URL, or SQLite in the folder.
    pub(crate) async fn install(&self, database: Option<String>) -> Result<Data> {
        let folder = tempfile::Builder::new().prefix("lanyard-bench-").tempdir()?;
        let database = database.unwrap_or_else(|| format!("sqlite://{}/lanyard.db", folder.path().display()));
        let mut data = Data { folder, database, caller_key: String::new(), super_user: Default::default() };
        self.start(&data, &Setting { place: Place::All, ..Setting::default() }).await?.process.stop().await?;
        let file = data.folder.path().join("credentials.json");
        let credentials: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
        let text = |pointer| {
            let value = credentials.pointer(pointer).and_then(serde_json::Value::as_str);
            value.map(str::to_owned).ok_or_else(|| format!("credentials.json has no {pointer}"))
        };
        data.caller_key = text("/caller_key")?;
        data.super_user = (text("/super_user/username")?, text("/super_user/password")?);
        Ok(data)
    }

    pub(crate) async fn start(&self, data: &Data, setting: &Setting) -> Result<Lanyard> {
        let folder = data.folder.path();
        let addr = target::free_address()?;
        let config = folder.join("bench.toml");
        std::fs::write(&config, configuration(data, setting, addr)?)?;
        let log = folder.join("server.log");
        let output = File::create(&log)?;
        let mut command = Command::new(&self.program);
        command.args(["serve", "--dev", "--data-dir"]).arg(folder).arg("--config").arg(&config);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let begun = Instant::now();
        let mut process = self.cores.spawn(setting.place, &mut command)?;
        match process.until(begun, async || target::serving(addr).await).await {
            Ok(started_in) => Ok(Lanyard { process, addr, started_in }),
            Err(problem) => Err(format!("{problem}\n{}", last_lines(&log)).into()),
        }
    }
}

fn configuration(data: &Data, setting: &Setting, addr: SocketAddr) -> Result<String> {
    let mut toml = String::new();
    writeln!(toml, "[server]\nlisten = \"{addr}\"\ndrain_delay = \"0s\"")?;
    // One caller makes all the load: what it may is what all may.
    writeln!(toml, "max_in_flight = 100000\nmax_in_flight_per_caller = 100000")?;
    writeln!(toml, "[database]\nurl = \"{}\"", data.database)?;
    writeln!(toml, "[keys]\nfile = \"{}\"", data.keys().display())?;
    writeln!(toml, "[password]\nmemory_kib = {}\niterations = {}", setting.cost.memory_kib, setting.cost.iterations)?;
    writeln!(toml, "[session]\nidle = \"{}s\"", seed::IDLE.as_secs())?;
    let mode = if setting.cached { "on" } else { "off" };
    writeln!(toml, "[cache]\nmode = \"{mode}\"\ncapacity = {}", setting.cache_capacity)?;
    let reads = match setting.audit_reads {
        AuditReads::All => "all",
        AuditReads::Others => "others",
    };
    writeln!(toml, "[audit]\nreads = \"{reads}\"")?;
    if let Some(Traced { to, ratio }) = setting.traced {
        writeln!(toml, "[admin]\nlisten = \"127.0.0.1:0\"")?;
        writeln!(toml, "[telemetry]\nexporter = \"otlp\"\nprotocol = \"http/protobuf\"\nendpoint = \"http://{to}\"")?;
        writeln!(toml, "sampling_ratio = {ratio:.2}\nmetrics.delay = \"1s\"")?;
    }
    Ok(toml)
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

impl Data {
    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    /// Users with so many live sessions each, put into the database while no server runs; their tokens.
    pub(crate) async fn seed(&self, users: u64, sessions_per_user: u64) -> Result<Vec<String>> {
        seed::sessions(&self.database, &self.keys(), users, sessions_per_user).await
    }

    /// Definitions, linked to the users that were put there before; their numbers.
    pub(crate) async fn seed_links(&self, definitions: u64, links_per_user: u64) -> Result<Vec<i64>> {
        seed::links(&self.database, &self.keys(), definitions, links_per_user).await
    }

    /// Users with passwords, made through the front door.
    pub(crate) async fn accounts(&self, server: &Lanyard, count: usize) -> Result<Vec<Account>> {
        let client = Client::connect(server.addr, 1, Some(&self.caller_key)).await?;
        let (username, password) = self.super_user.clone();
        let login = login_request(&Account { username, password });
        let acting: CreateSessionResponse = client.rpc(CREATE_SESSION, &login).await?;
        let mut accounts = Vec::with_capacity(count);
        for number in 0..count {
            let account = Account {
                username: format!("bench-{number}"),
                password: format!("correct horse battery staple {number}"),
            };
            let request = CreateUserRequest {
                ust: acting.ust.clone(),
                client: Some(client_info()),
                user: Some(User { username: account.username.clone(), ..User::default() }),
                password: account.password.clone(),
                ..CreateUserRequest::default()
            };
            client.rpc::<_, CreateUserResponse>(CREATE_USER, &request).await?;
            accounts.push(account);
        }
        Ok(accounts)
    }
}

pub(crate) fn login_request(account: &Account) -> CreateSessionRequest {
    CreateSessionRequest {
        client: Some(client_info()),
        credential: Some(Credential::Password(PasswordCredential {
            username: account.username.clone(),
            password: account.password.clone(),
            totp_code: String::new(),
            new_password: String::new(),
        })),
    }
}

/// The server of this workspace, as its sources are now, in the profile that this program was built in.
pub(crate) fn build() -> Result<PathBuf> {
    let ourselves = std::env::current_exe()?;
    // target/<profile>/bench
    let folder = ourselves.parent().ok_or("a program lies in a folder")?;
    let target = folder.parent().ok_or("cargo's folder has a parent")?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("tests/ lies in the workspace")?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace).args(["build", "--quiet", "--workspace", "--bin", "lanyard"]);
    cargo.args(["--profile", profile()?.as_str()]).arg("--target-dir").arg(target);
    if !cargo.status()?.success() {
        return Err("the server does not build".into());
    }
    Ok(folder.join("lanyard"))
}

/// The profile that this program was built in, by the name of the folder that cargo put it into.
pub(crate) fn profile() -> Result<String> {
    let ourselves = std::env::current_exe()?;
    let folder = ourselves.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or("debug");
    Ok(if folder == "debug" { "dev".to_owned() } else { folder.to_owned() })
}
