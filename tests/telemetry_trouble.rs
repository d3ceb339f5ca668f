//! A receiver that is away, slow, silent or unwilling: telemetry is dropped and counted, and no call notices.

use std::time::{Duration, Instant};

use lanyard_server::config::{Config, Sampler};
use lanyard_tests::support::installation::{Installation, Program};
use lanyard_tests::support::otlp::{Behaviour, Collector};
use lanyard_tests::support::server::{Database, run};
use lanyard_tests::support::{PATIENCE, eventually, refusing_address};

use crate::telemetry::{Caller, to};

const CALLS: usize = 400;
const SHORT: Duration = Duration::from_millis(200);

/// Everything is sampled, little may wait, and sending is soon given up.
fn hasty(collector: &Collector, config: &mut Config) {
    to(collector, config);
    let telemetry = &mut config.telemetry;
    telemetry.sampler = Sampler::AlwaysOn;
    telemetry.timeout = SHORT;
    telemetry.flush_timeout = SHORT;
    for signal in [&mut telemetry.traces, &mut telemetry.metrics, &mut telemetry.logs] {
        signal.export_timeout = SHORT;
    }
    telemetry.traces.queue = Some(64);
    telemetry.traces.batch = Some(16);
    config.server.drain_delay = Duration::ZERO;
}

pub(crate) async fn installation(collector: &Collector, change: impl FnOnce(&mut Config)) -> Installation {
    Installation::prepare(Database::Sqlite, |config| {
        hasty(collector, config);
        change(config);
    })
    .await
}

/// What the page counts under this beginning of a line.
async fn counted(program: &Program, series: &str) -> u64 {
    let page = program.metrics().await;
    let numbers = page.lines().filter_map(|line| line.strip_prefix(series)?.rsplit_once(' ')?.1.parse::<u64>().ok());
    numbers.sum()
}

const DROPPED: &str = "lanyard_telemetry_dropped_total{signal=\"traces\"";
const EXPORTED: &str = "lanyard_telemetry_exported_total{signal=\"traces\"";

/// All are answered, each in good time.
async fn load(installation: &Installation, program: &Program) {
    let caller = Caller::of(installation, program).await;
    let ust = caller.ust().await;
    let begun = Instant::now();
    for _ in 0..CALLS {
        assert!(caller.verify(&ust, &[]).await, "a call failed");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{CALLS} calls took {took:?}");
}

/// Calls go on as ever, what is lost is counted, and the stop is not held up.
pub(crate) async fn costs_nothing_but_telemetry(installation: &Installation, program: Program, reason: &str) {
    load(installation, &program).await;
    let series = format!("{DROPPED},reason=\"{reason}\"");
    eventually("drops are counted", async || counted(&program, &series).await > 0).await;
    let begun = Instant::now();
    program.process.terminate();
    let (status, output) = program.ended().await;
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(begun.elapsed() < Duration::from_secs(5), "the stop took {:?}", begun.elapsed());
    assert!(output.contains("telemetry is not taken"), "{output}");
}

#[test]
fn a_receiver_that_is_not_there_costs_no_call() {
    run(async {
        let collector = Collector::grpc().await;
        let installation = installation(&collector, |config| {
            config.telemetry.endpoint = Some(format!("http://{}", refusing_address()));
        })
        .await;
        costs_nothing_but_telemetry(&installation, installation.start(), "not_sent").await;
    });
}

#[test]
fn a_receiver_that_never_answers_costs_no_call() {
    run(async {
        let collector = Collector::grpc().await;
        collector.behaves(Behaviour::Silent);
        let installation = installation(&collector, |_| {}).await;
        costs_nothing_but_telemetry(&installation, installation.start(), "queue_full").await;
    });
}

#[test]
fn a_receiver_that_is_full_is_asked_again_until_it_has_room() {
    run(async {
        let collector = Collector::grpc().await;
        collector.behaves(Behaviour::Unavailable);
        let installation = installation(&collector, |_| {}).await;
        let program = installation.start();
        load(&installation, &program).await;
        eventually("drops are counted", async || counted(&program, DROPPED).await > 0).await;
        assert_eq!(counted(&program, EXPORTED).await, 0);
        collector.behaves(Behaviour::Good);
        load(&installation, &program).await;
        eventually("it is taken again", async || counted(&program, EXPORTED).await > 0).await;
        program.process.wait_for_line("that it works again", |line| line.contains("taken again").then_some(()));
    });
}

#[test]
fn a_slow_receiver_gets_what_it_can_take_and_the_rest_is_counted() {
    run(async {
        let collector = Collector::grpc().await;
        collector.behaves(Behaviour::Slow(Duration::from_millis(150)));
        let installation = installation(&collector, |config| {
            config.telemetry.timeout = PATIENCE;
            config.telemetry.traces.export_timeout = PATIENCE;
        })
        .await;
        let program = installation.start();
        load(&installation, &program).await;
        eventually("nothing waits any more", async || {
            counted(&program, "lanyard_telemetry_queued{signal=\"traces\"").await == 0
        })
        .await;
        let (exported, dropped) = (counted(&program, EXPORTED).await, counted(&program, DROPPED).await);
        assert!(exported > 0 && dropped > 0, "{exported} {dropped}");
        assert_eq!(exported, u64::try_from(collector.spans().len()).expect("few"));
        assert!(exported + dropped > u64::try_from(CALLS).expect("few"), "every span is in one of both");
    });
}

#[test]
fn what_the_receiver_refuses_is_dropped_at_once_and_counted() {
    run(async {
        let collector = Collector::grpc().await;
        collector.behaves(Behaviour::Unwilling);
        let installation = installation(&collector, |_| {}).await;
        let program = installation.start();
        load(&installation, &program).await;
        let refused = format!("{DROPPED},reason=\"not_sent\"");
        eventually("refusals are counted", async || counted(&program, &refused).await > 0).await;
        collector.behaves(Behaviour::Picky);
        load(&installation, &program).await;
        let rejected = format!("{DROPPED},reason=\"rejected\"");
        eventually("rejected spans are counted", async || counted(&program, &rejected).await > 0).await;
    });
}
