//! What is measured, in which order, and what the figures are made of.

mod hot;
mod links;
mod logins;
mod million;
mod rounds;
mod telemetry;

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use lanyard_proto::v1::verify_session_response::Verdict;
use lanyard_proto::v1::{VerifySessionRequest, VerifySessionResponse};
use lanyard_tests::support::postgres;
use prost::Message;
use tempfile::NamedTempFile;
use tokio::net::TcpStream;

use self::hot::every_tenth;
use crate::hashing::Cost;
use crate::lanyard::{self, Account, Data, Lanyard, Setting, Site, client_info};
use crate::load::{Call, Client};
use crate::report::{Report, rounded};
use crate::target::{self, Cores, MachineTime, Place, Process};
use crate::{Result, RunArgs};

pub(crate) const VERIFY: &str = "/lanyard.v1.SessionService/VerifySession";
const CONNECTIONS: usize = 4;
/// Cores that others may use on a machine that counts as quiet.
const QUIET: f64 = 0.1;
const SESSIONS_PER_USER: u64 = 10;

/// The scenarios, by the beginning of their keys in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Name {
    VerifyHit,
    #[value(name = "verify_hit_100k")]
    VerifyHit100k,
    Concurrency,
    Batch100,
    ListSessions,
    Renew,
    CreateWithHash,
    CreateWithoutHash,
    VerifyMissSqlite,
    VerifyMissPostgres,
    ListLinks,
    #[value(name = "list_links_100k")]
    ListLinks100k,
    ListLinksAudited,
    ListLinksFirstPostgres,
    Lookup,
    Login,
    LoginFlood,
    VerifyWithTelemetry,
    Start,
    Memory,
}

impl Name {
    /// Those that the usual server runs for.
    const USUAL: [Self; 7] = [
        Self::VerifyHit,
        Self::VerifyHit100k,
        Self::Concurrency,
        Self::Batch100,
        Self::ListSessions,
        Self::Renew,
        Self::CreateWithHash,
    ];
    /// Those that have servers of other settings, on the same database.
    const SPECIAL: [Self; 4] = [Self::CreateWithoutHash, Self::VerifyMissSqlite, Self::Login, Self::LoginFlood];
    const LINKS: [Self; 4] = [Self::ListLinks, Self::ListLinks100k, Self::ListLinksAudited, Self::Lookup];
}

/// How much of everything.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    rounds: usize,
    length: Duration,
    /// Where a call takes a hundredth of a second, rounds must be longer to hold enough of them.
    login_length: Duration,
    users: u64,
    accounts: usize,
    /// Those who log in beside bare hashing: so many that none reaches the quota of sessions.
    below_quota: usize,
    stored_users: u64,
    definitions: u64,
}

impl Plan {
    fn of(args: &RunArgs) -> Self {
        let quick = Self {
            rounds: 3,
            length: Duration::from_millis(700),
            login_length: Duration::from_secs(3),
            users: 10_000,
            accounts: 32,
            below_quota: 256,
            stored_users: 100_000,
            definitions: 100_000,
        };
        if args.smoke {
            let (length, login_length) = (Duration::from_millis(100), Duration::from_millis(300));
            return Self {
                rounds: 1,
                length,
                login_length,
                users: 20,
                accounts: 4,
                below_quota: 16,
                stored_users: 100,
                definitions: 300,
            };
        }
        if args.quick {
            return quick;
        }
        Self {
            rounds: 7,
            length: Duration::from_secs(3),
            login_length: Duration::from_secs(6),
            below_quota: 1_024,
            ..quick
        }
    }
}

/// The reference server.
struct Echo {
    process: Process,
    client: Client,
    call: Arc<Call>,
    // Read once, at its start.
    _answer: NamedTempFile,
}

/// All that a scenario needs.
pub(crate) struct Bench {
    args: Args,
    plan: Plan,
    site: Site,
    report: Report,
    progress: ProgressBar,
}

struct Args {
    only: Vec<Name>,
}

/// Runs what was asked for and says what it came to.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    let program = args.lanyard.clone().map_or_else(lanyard::build, Ok)?;
    let cores = Cores::detect()?;
    let mut bench = Bench {
        args: Args { only: args.only.clone() },
        plan: Plan::of(args),
        site: Site { program, cores },
        report: Report::default(),
        progress: progress(args),
    };
    let (begun, machine) = (Instant::now(), MachineTime::now()?);
    bench.about_the_machine(args)?;
    // One thread, on the core of the generator, makes all the load.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let interrupted = runtime.block_on(async {
        // Dropped on the way, everything that was started ends and everything that was written is removed.
        tokio::select! {
            () = bench.all() => false,
            _ = tokio::signal::ctrl_c() => true,
        }
    });
    if interrupted {
        return Err("interrupted".into());
    }
    bench.report.figure("took_seconds", begun.elapsed().as_secs());
    bench.report.figure("cores_used_by_others", rounded(machine.others_since()?));
    if machine.others_since()? > QUIET {
        bench.report.note("the machine was not quiet: others used its cores meanwhile, and the figures are noisy");
    }
    bench.progress.finish_and_clear();
    bench.report.print();
    if let Some(file) = &args.json {
        bench.report.write_json(file)?;
    }
    if let Some(folder) = &args.svg {
        bench.report.draw(folder)?;
    }
    Ok(if bench.report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn progress(args: &RunArgs) -> ProgressBar {
    let count = if args.only.is_empty() { Name::value_variants().len() } else { args.only.len() };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("the template is well formed");
    // Hides itself where nobody watches.
    ProgressBar::new(count as u64).with_style(style)
}

impl Bench {
    fn about_the_machine(&mut self, args: &RunArgs) -> Result<()> {
        let profile = lanyard::profile()?;
        let cores = &self.site.cores;
        let report = &mut self.report;
        if profile != "dist" && args.lanyard.is_none() {
            report.note(format!("built in the profile {profile}; what is shipped is dist, which is faster"));
        }
        if !cores.pinned() {
            report.note("not pinned: server and generator share the cores, and the figures are noisy");
        }
        report.figure("profile", profile);
        report.figure("quick", args.quick);
        report.figure("smoke", args.smoke);
        report.figure("cores", cores.count());
        report.figure("pinned", cores.pinned());
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        report.figure("cpu", model.map_or("unknown", |(_, name)| name));
        Ok(())
    }

    fn wanted(&self, names: &[Name]) -> bool {
        self.args.only.is_empty() || names.iter().any(|name| self.args.only.contains(name))
    }

    /// One scenario, if it is wanted. What it fails of is reported at the end, and the others go on.
    async fn scenario(&mut self, name: Name, run: impl AsyncFnOnce(&mut Self) -> Result<()>) {
        if !self.wanted(&[name]) {
            return;
        }
        self.progress.set_message(format!("{name:?}"));
        if let Err(problem) = run(self).await {
            self.report.failure(format!("{name:?}: {problem}"));
        }
        self.progress.inc(1);
    }

    async fn all(&mut self) {
        if (self.wanted(&Name::USUAL) || self.wanted(&Name::SPECIAL))
            && let Err(problem) = self.on_sqlite().await
        {
            self.report.failure(problem.to_string());
        }
        self.scenario(Name::VerifyWithTelemetry, async |bench| bench.verify_with_telemetry().await).await;
        self.scenario(Name::VerifyMissPostgres, async |bench| bench.on_postgres().await).await;
        if self.wanted(&Name::LINKS)
            && let Err(problem) = self.links().await
        {
            self.report.failure(problem.to_string());
        }
        self.scenario(Name::ListLinksFirstPostgres, async |bench| bench.links_on_postgres().await).await;
        if self.wanted(&[Name::Start, Name::Memory])
            && let Err(problem) = self.with_a_million().await
        {
            self.report.failure(problem.to_string());
        }
    }

    /// All that one SQLite database of ordinary size is good for, by servers of different settings.
    async fn on_sqlite(&mut self) -> Result<()> {
        self.progress.set_message("preparing");
        let data = self.site.install(None).await?;
        let mut accounts = self.prepare_accounts(&data).await?;
        let below_quota = accounts.split_off(self.plan.accounts);
        let usts = self.seed(&data, self.plan.users, SESSIONS_PER_USER).await?;

        let server = self.site.start(&data, &Setting::default()).await?;
        // Of as many sessions as cached verification, so that the generator reaches for as much memory.
        let echo = self.start_echo(&data, &server, &every_tenth(&usts)).await?;
        if self.wanted(&Name::USUAL) {
            self.usual(&data, &server, &echo, &usts, &accounts).await?;
        }
        server.process.stop().await?;

        let cheap = Setting { cost: Cost::LEAST, ..Setting::default() };
        self.scenario(Name::CreateWithoutHash, async |bench| {
            bench.create_without_hash(&data, &cheap, &echo, &accounts).await
        })
        .await;
        self.scenario(Name::VerifyMissSqlite, async |bench| {
            bench.verify_miss("verify_miss_sqlite", &data, &echo, &usts).await
        })
        .await;
        if self.wanted(&[Name::Login, Name::LoginFlood]) {
            self.site.cores.place_self(Place::All)?;
            self.logins(&data, &usts, &below_quota).await?;
            self.site.cores.place_self(Place::Load)?;
        }
        Ok(())
    }

    async fn on_postgres(&mut self) -> Result<()> {
        // The database runs on the generator's core: on the server's it would be counted against the server.
        let Ok(database) = std::panic::catch_unwind(|| postgres::shared().database()) else {
            self.report.note("verify_miss_postgres was left out: no PostgreSQL");
            return Ok(());
        };
        let data = self.site.install(Some(database.url().to_owned())).await?;
        let usts = self.seed(&data, self.plan.users, SESSIONS_PER_USER).await?;
        let server = self.site.start(&data, &Setting::default()).await?;
        let echo = self.start_echo(&data, &server, &usts).await?;
        server.process.stop().await?;
        self.verify_miss("verify_miss_postgres", &data, &echo, &usts).await
    }

    async fn prepare_accounts(&self, data: &Data) -> Result<Vec<Account>> {
        let server = self.site.start(data, &Setting { place: Place::All, ..Setting::default() }).await?;
        let accounts = data.accounts(&server, self.plan.accounts + self.plan.below_quota).await?;
        server.process.stop().await?;
        Ok(accounts)
    }

    /// Seeding may use all cores.
    async fn seed(&self, data: &Data, users: u64, sessions_per_user: u64) -> Result<Vec<String>> {
        self.site.cores.place_self(Place::All)?;
        let usts = data.seed(users, sessions_per_user).await;
        self.site.cores.place_self(Place::Load)?;
        usts
    }

    /// The echo answers what the server answered, so that the messages are of the same size to the byte.
    async fn start_echo(&mut self, data: &Data, server: &Lanyard, usts: &[String]) -> Result<Echo> {
        let client = Client::connect(server.addr, 1, Some(&data.caller_key)).await?;
        let request = verify_request(&usts[0]);
        let answer: VerifySessionResponse = client.rpc(VERIFY, &request).await?;
        if !matches!(answer.verdict, Some(Verdict::Session(_))) {
            return Err(format!("a session that was seeded is not good: {answer:?}").into());
        }
        self.report.figure("verify_request_bytes", request.encoded_len());
        self.report.figure("verify_response_bytes", answer.encoded_len());
        let file = NamedTempFile::new()?;
        std::fs::write(file.path(), answer.encode_to_vec())?;

        let addr = target::free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["echo", "--listen", &addr.to_string(), "--answer"]).arg(file.path()).stdin(Stdio::null());
        let mut process = self.site.cores.spawn(Place::Server, &mut command)?;
        process.until(Instant::now(), async || TcpStream::connect(addr).await.is_ok()).await?;
        let client = Client::connect(addr, CONNECTIONS, Some(&data.caller_key)).await?;
        Ok(Echo { process, client, call: verify_call(usts), _answer: file })
    }
}

fn verify_request(ust: &str) -> VerifySessionRequest {
    VerifySessionRequest { ust: ust.to_owned(), client: Some(client_info()), peek: false }
}

fn verify_call(usts: &[String]) -> Arc<Call> {
    Call::new(VERIFY, usts.iter().map(|ust| verify_request(ust)), has_first_field)
}

/// In the answers of sessions the first field is what was asked for: a good session, a page, a token.
fn has_first_field(message: &[u8]) -> bool {
    const FIELD_1_OF_BYTES: u8 = 1 << 3 | 2;
    message.first() == Some(&FIELD_1_OF_BYTES)
}
