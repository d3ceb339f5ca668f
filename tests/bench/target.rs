//! What is measured: servers in processes of their own, on cores of their own.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use rustix::thread::CpuSet;

use crate::Result;
use crate::load::Client;

const START_LIMIT: Duration = Duration::from_mins(2);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Where a process runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The core of the server under test.
    Server,
    /// The core of the generator.
    Load,
    /// All cores.
    All,
}

/// The cores this machine lets us use, and how they are shared out.
#[derive(Clone)]
pub(crate) struct Cores {
    all: CpuSet,
    pinned: Option<(usize, usize)>,
}

impl Cores {
    /// With two cores or more, the first is the server's and the second is ours. Pinning may be refused (or there may
    /// be one core only): then everything runs everywhere, and the report says so.
    pub(crate) fn detect() -> Result<Self> {
        let all = rustix::thread::sched_getaffinity(None)?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
        let mut cores = Self { all, pinned: usable.next().zip(usable.next()) };
        if cores.place_self(Place::Load).is_err() {
            cores.pinned = None;
        }
        Ok(cores)
    }

    pub(crate) fn count(&self) -> u32 {
        self.all.count()
    }

    pub(crate) fn pinned(&self) -> bool {
        self.pinned.is_some()
    }

    /// Moves the calling thread, and the threads and processes that it starts from now on.
    pub(crate) fn place_self(&self, place: Place) -> io::Result<()> {
        let set = match (self.pinned, place) {
            (None, _) | (_, Place::All) => self.all,
            (Some((server, _)), Place::Server) => only(server),
            (Some((_, load)), Place::Load) => only(load),
        };
        Ok(rustix::thread::sched_setaffinity(None, &set)?)
    }

    /// A process keeps the cores of the thread that started it, so ours moves there for that moment.
    pub(crate) fn spawn(&self, place: Place, command: &mut Command) -> io::Result<Process> {
        let before = rustix::thread::sched_getaffinity(None)?;
        self.place_self(place)?;
        let child = command.spawn();
        rustix::thread::sched_setaffinity(None, &before)?;
        Ok(Process(child?))
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// A child that does not outlive us.
pub(crate) struct Process(Child);

impl Process {
    /// What it prints until it ends, if it ends well.
    pub(crate) fn output(mut self) -> Result<String> {
        let mut text = String::new();
        self.0.stdout.take().ok_or("nobody asked for the output")?.read_to_string(&mut text)?;
        let status = self.0.wait()?;
        if status.success() { Ok(text) } else { Err(format!("a process ended with {status}").into()) }
    }

    /// Processor time used so far, by all threads.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_millis(ticks(self.0.id(), 2) * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// Memory of its own that is resident. Pages of files do not count: the kernel takes them back when it needs them.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon in /proc")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// Waits until `probe` says yes; how long that took since `since`.
    pub(crate) async fn until(&mut self, since: Instant, probe: impl AsyncFn() -> bool) -> Result<Duration> {
        while since.elapsed() < START_LIMIT {
            if let Some(status) = self.0.try_wait()? {
                return Err(format!("the server ended with {status} before it served").into());
            }
            if probe().await {
                return Ok(since.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err("the server does not get to SERVING".into())
    }

    /// Asks it to end, and waits for that; meanwhile our connections to it hear that they shall end too.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.0.id())?).ok_or("a process has an id")?;
        rustix::process::kill_process(pid, Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_LIMIT {
            if self.0.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err("the server does not stop".into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `grpc.health.v1.HealthCheckResponse`, of which one field matters.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

/// Does the gRPC health check say SERVING?
pub(crate) async fn serving(addr: SocketAddr) -> bool {
    let Ok(client) = Client::connect(addr, 1, None).await else { return false };
    let answer = client.rpc::<(), HealthCheckResponse>("/grpc.health.v1.Health/Check", &()).await;
    answer.is_ok_and(|answer| answer.status == SERVING)
}

/// Processor time since the machine was started, of everybody and of ourselves with the children that have ended.
#[derive(Clone, Copy)]
pub(crate) struct MachineTime {
    everybody: u64,
    ourselves: u64,
    passed: Instant,
}

impl MachineTime {
    pub(crate) fn now() -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let total = stat.lines().next().unwrap_or_default();
        // user, nice, system, (idle, iowait,) irq, softirq
        let spent: Vec<u64> = total.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        let everybody =
            spent.iter().enumerate().filter(|(field, _)| matches!(field, 0..=2 | 5..=6)).map(|(_, ticks)| ticks);
        Ok(Self { everybody: everybody.sum(), ourselves: ticks("self", 4), passed: Instant::now() })
    }

    /// How many cores others used since then.
    pub(crate) fn others_since(self) -> Result<f64> {
        let now = Self::now()?;
        let others = (now.everybody - self.everybody).saturating_sub(now.ourselves - self.ourselves);
        let elapsed = now.passed - self.passed;
        Ok(others as f64 / rustix::param::clock_ticks_per_second() as f64 / elapsed.as_secs_f64())
    }
}

/// User and system time of a process; four fields are these two and those of its children that have ended.
fn ticks(process: impl std::fmt::Display, fields: usize) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name, in parentheses, may contain anything; utime and stime are the 12th and 13th field after it.
    let (_, rest) = stat.rsplit_once(')').unwrap_or_default();
    rest.split_whitespace().skip(11).take(fields).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// An address of loopback with a port that was free a moment ago.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}
