//! Logins on all cores: beside bare hashing, and what a flood of them does to verification.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use thread_priority::unix::{RealtimeThreadSchedulePolicy, ThreadSchedulePolicy};
use thread_priority::{ThreadPriority, set_thread_priority_and_policy, thread_native_id};
use tokio::sync::oneshot;

use super::hot::login_call;
use super::rounds::{Rounds, Side, median, micros};
use super::{Bench, CONNECTIONS, Name, verify_call};
use crate::Result;
use crate::charts::Series;
use crate::lanyard::{Account, Data, Lanyard, Setting};
use crate::load::{Call, Client, Outcome, histogram};
use crate::report::rounded;
use crate::target::Place;

/// Logins always under way: enough to keep all hashing threads busy, few enough to be refused none.
const LOGINS_UNDER_WAY: usize = 16;
/// Verifications a second beside the flood: a modest load, so that waiting is the flood's doing.
const VERIFY_RATE: f64 = 2_000.0;
/// The flood: so many times the logins that the machine can hash.
const FLOOD: f64 = 8.0;

/// Calls by a schedule, with connections and a thread of their own: verdicts do not wait in the generator until it is done
/// with answers to logins. The thread goes before all of the server's, where the system allows it: the generator shares the
/// cores with the server, as the other machines that it stands for do not, and what it waited for a core would be counted
/// against the server.
struct Apart {
    addr: SocketAddr,
    caller_key: String,
    call: Arc<Call>,
    rate: f64,
}

impl Apart {
    /// On a thread that ends with it, and its priority as well.
    async fn run(self, length: Duration) -> Result<Outcome> {
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || sender.send(self.run_here(length)).ok());
        receiver.await?
    }

    fn run_here(self, length: Duration) -> Result<Outcome> {
        // Where it may not, the report says so.
        let _ = go_first();
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let client = Client::connect(self.addr, CONNECTIONS, Some(&self.caller_key)).await?;
            client.open(&self.call, self.rate, length).await
        })
    }
}

/// For the calling thread: it need not wait for any that has no such priority.
fn go_first() -> std::result::Result<(), thread_priority::Error> {
    let in_turn = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, in_turn)
}

/// Whether the system lets a thread go first.
fn may_go_first() -> bool {
    std::thread::spawn(|| go_first().is_ok()).join().unwrap_or(false)
}

impl Bench {
    pub(super) async fn logins(&mut self, data: &Data, usts: &[String], accounts: &[Account]) -> Result<()> {
        let server = self.site.start(data, &Setting { place: Place::All, ..Setting::default() }).await?;
        self.scenario(Name::Login, async |bench| bench.login(data, &server, accounts).await).await;
        self.scenario(Name::LoginFlood, async |bench| bench.login_flood(data, &server, usts, accounts).await).await;
        server.process.stop().await
    }

    async fn login(&mut self, data: &Data, server: &Lanyard, accounts: &[Account]) -> Result<()> {
        let client = Client::connect(server.addr, CONNECTIONS, Some(&data.caller_key)).await?;
        let call = login_call(accounts);
        let side = Side { process: &server.process, client: &client, call: &call, streams: LOGINS_UNDER_WAY };
        let mut ratios = Vec::new();
        let mut hashes = Vec::new();
        let mut rounds = Rounds::default();
        for _ in 0..self.plan.rounds {
            let bare = self.bare_hashing(self.plan.login_length).await?;
            let throughput = self.throughput("login", &side, self.plan.login_length).await?;
            let latency = self.latency("login", &side, throughput.per_second / 2.0, self.plan.login_length).await?;
            ratios.push(throughput.per_second / bare);
            hashes.push(bare);
            rounds.subject.push(throughput);
            rounds.add_latency(&latency)?;
        }
        self.row("login", &rounds, None);
        self.report.figure("login_over_argon2", rounded(median(ratios)));
        self.report.figure("argon2_per_second", rounded(median(hashes)));
        Ok(())
    }

    /// Hashes a second of a program that does nothing else.
    async fn bare_hashing(&self, length: Duration) -> Result<f64> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["hashing", "--seconds", &length.as_secs_f64().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let process = self.site.cores.spawn(Place::All, &mut command)?;
        // Waited for elsewhere: this thread has pings of the server to answer.
        let output = tokio::task::spawn_blocking(|| process.output()).await??;
        Ok(output.trim().parse()?)
    }

    async fn login_flood(
        &mut self,
        data: &Data,
        server: &Lanyard,
        usts: &[String],
        accounts: &[Account],
    ) -> Result<()> {
        let rate = FLOOD * self.bare_hashing(Duration::from_secs(1).min(self.plan.login_length)).await?;
        let client = Client::connect(server.addr, CONNECTIONS, Some(&data.caller_key)).await?;
        let (verify, login) = (verify_call(usts), login_call(accounts));
        client.sweep(&verify, LOGINS_UNDER_WAY).await?;
        let length = self.plan.login_length;
        let (mut alone, mut flooded) = (histogram(), histogram());
        let (mut ratios, mut p99) = (Vec::new(), [Vec::new(), Vec::new()]);
        let apart = |call: &Arc<Call>, rate| {
            let calls = Apart { addr: server.addr, caller_key: data.caller_key.clone(), call: call.clone(), rate };
            calls.run(length)
        };
        for _ in 0..self.plan.rounds {
            let calm = apart(&verify, VERIFY_RATE).await?;
            let (storm, logins) = tokio::try_join!(apart(&verify, VERIFY_RATE), apart(&login, rate))?;
            self.all_answered("login_flood", &calm);
            self.all_answered("login_flood", &storm);
            // Logins beyond what can be hashed are refused: that is the server's defence. None may break.
            if logins.broken > 0 {
                self.report.failure(format!("login_flood: {} logins broke: {:?}", logins.broken, logins.first_problem));
            }
            let both = [&calm, &storm].map(|outcome| micros(&outcome.latency, 0.99));
            ratios.push(both[1] / both[0]);
            p99.iter_mut().zip(both).for_each(|(all, one)| all.push(one));
            alone.add(&calm.latency)?;
            flooded.add(&storm.latency)?;
        }
        let goes_first = may_go_first();
        if !goes_first {
            self.report
                .note("login_flood: the generator may not go first, and its waiting for a core is in the figures");
        }
        let [p99_alone, p99_flooded] = p99.map(median);
        self.report.figure("login_flood_generator_goes_first", goes_first);
        self.report.figure("verify_p99_under_login_flood", rounded(median(ratios)));
        self.report.figure("login_flood_verify_alone_p99_us", rounded(p99_alone));
        self.report.figure("login_flood_verify_flooded_p99_us", rounded(p99_flooded));
        self.report.figure("login_flood_logins_per_second", rounded(rate));
        self.report.figure("login_flood_verify_per_second", VERIFY_RATE);
        self.report.login_flood = vec![
            Series::of_percentiles("nobody logs in", &alone),
            Series::of_percentiles(&format!("{rate:.0} logins a second are tried"), &flooded),
        ];
        Ok(())
    }
}
