//! Rounds: the reference and the subject in turn, and the median of what they came to.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::{Bench, Echo};
use crate::Result;
use crate::load::{Call, Client, Outcome, histogram};
use crate::report::Row;
use crate::target::Process;

/// One of the two that are compared.
pub(super) struct Side<'a> {
    pub(super) process: &'a Process,
    pub(super) client: &'a Client,
    pub(super) call: &'a Arc<Call>,
    /// Calls always under way in a closed loop.
    pub(super) streams: usize,
}

/// A closed loop's figures.
#[derive(Clone, Copy)]
pub(super) struct Throughput {
    pub(super) per_second: f64,
    /// Processor time of the server, in microseconds a call.
    pub(super) cpu: f64,
    pub(super) busy: f64,
}

/// An open loop's, in microseconds.
#[derive(Clone, Copy)]
struct Latency {
    p50: f64,
    p99: f64,
    p999: f64,
}

/// What all rounds of one scenario came to.
pub(super) struct Rounds {
    pub(super) base: Vec<Throughput>,
    pub(super) subject: Vec<Throughput>,
    latency: Vec<Latency>,
    /// Of all rounds together, for the curves.
    pub(super) all_latency: Histogram<u64>,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { base: Vec::new(), subject: Vec::new(), latency: Vec::new(), all_latency: histogram() }
    }
}

impl Rounds {
    pub(super) fn add_latency(&mut self, latency: &Histogram<u64>) -> Result<()> {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| micros(latency, quantile));
        self.latency.push(Latency { p50, p99, p999 });
        self.all_latency.add(latency)?;
        Ok(())
    }

    /// Each round's ratio, and of these the median: what disturbs a round disturbs both of its halves.
    pub(super) fn ratio(&self, of: impl Fn(&Throughput) -> f64) -> f64 {
        median(self.base.iter().zip(&self.subject).map(|(base, subject)| of(subject) / of(base)))
    }
}

pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

pub(super) fn micros(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1e3
}

impl Echo {
    pub(super) fn side(&self) -> Side<'_> {
        Side { process: &self.process, client: &self.client, call: &self.call, streams: 256 }
    }
}

impl Bench {
    pub(super) async fn rounds(
        &mut self,
        name: &'static str,
        base: &Side<'_>,
        subject: &Side<'_>,
        length: Duration,
    ) -> Result<Rounds> {
        let mut rounds = Rounds::default();
        for _ in 0..self.plan.rounds {
            rounds.base.push(self.throughput(name, base, self.plan.length).await?);
            let throughput = self.throughput(name, subject, length).await?;
            rounds.subject.push(throughput);
            let latency = self.latency(name, subject, throughput.per_second / 2.0, length).await?;
            rounds.add_latency(&latency)?;
        }
        Ok(rounds)
    }

    pub(super) async fn throughput(
        &mut self,
        name: &'static str,
        side: &Side<'_>,
        length: Duration,
    ) -> Result<Throughput> {
        let (outcome, cpu) = side.client.closed(side.call, side.streams, length, || side.process.cpu()).await?;
        self.all_answered(name, &outcome);
        if outcome.answered == 0 {
            return Err(outcome.first_problem.unwrap_or_else(|| "no call was answered".to_owned()).into());
        }
        Ok(Throughput {
            per_second: outcome.per_second(),
            cpu: cpu.as_secs_f64() * 1e6 / outcome.answered as f64,
            busy: cpu.as_secs_f64() / outcome.elapsed.as_secs_f64(),
        })
    }

    pub(super) async fn latency(
        &mut self,
        name: &'static str,
        side: &Side<'_>,
        per_second: f64,
        length: Duration,
    ) -> Result<Histogram<u64>> {
        let outcome = side.client.open(side.call, per_second, length).await?;
        self.all_answered(name, &outcome);
        Ok(outcome.latency)
    }

    pub(super) fn all_answered(&mut self, name: &str, outcome: &Outcome) {
        if outcome.broken + outcome.refused == 0 {
            return;
        }
        let problem = outcome.first_problem.as_deref().unwrap_or_default();
        let (broken, refused) = (outcome.broken, outcome.refused);
        self.report.failure(format!("{name}: {broken} calls broke and {refused} were refused; first: {problem}"));
    }

    /// A line of the table from the rounds' medians.
    pub(super) fn row(&mut self, name: &'static str, rounds: &Rounds, over_echo: Option<f64>) {
        let subject = |of: fn(&Throughput) -> f64| median(rounds.subject.iter().map(of));
        let latency = |of: fn(&Latency) -> f64| median(rounds.latency.iter().map(of));
        self.report.row(Row {
            name,
            per_second: subject(|one| one.per_second),
            over_echo,
            p50: latency(|one| one.p50),
            p99: latency(|one| one.p99),
            p999: latency(|one| one.p999),
            cpu: subject(|one| one.cpu),
            busy: subject(|one| one.busy),
        });
    }

    /// The usual scenario: one kind of call beside the echo.
    pub(super) async fn beside_echo(
        &mut self,
        name: &'static str,
        echo: &Echo,
        subject: &Side<'_>,
        length: Duration,
    ) -> Result<Rounds> {
        let rounds = self.rounds(name, &echo.side(), subject, length).await?;
        self.row(name, &rounds, Some(rounds.ratio(|one| one.per_second)));
        Ok(rounds)
    }
}
