//! Calls on one core beside the echo: verify from memory and from the database, batches, lists, renewals, logins.

use std::sync::Arc;

use bytes::Buf;
use lanyard_proto::v1::{BatchVerifySessionsRequest, ListSessionsRequest, RenewSessionRequest, SessionToVerify};
use prost::encoding::decode_varint;

use super::rounds::{Rounds, Side, median};
use super::{Bench, CONNECTIONS, Echo, Name, has_first_field, verify_call};
use crate::Result;
use crate::charts::Series;
use crate::lanyard::{Account, CREATE_SESSION, Data, Lanyard, Setting, client_info, login_request};
use crate::load::{Call, Client};
use crate::report::rounded;

const BATCH_VERIFY: &str = "/lanyard.v1.SessionService/BatchVerifySessions";
const LIST: &str = "/lanyard.v1.SessionService/ListSessions";
const RENEW: &str = "/lanyard.v1.SessionService/RenewSession";
const BATCH: usize = 100;
/// Calls under way at once: for those that memory answers, and for those that wait for a database or a hash.
pub(super) const MANY: usize = 256;
pub(super) const SOME: usize = 64;
const FEW: usize = 16;
const CURVE: [usize; 5] = [1, 4, 16, 64, 256];

impl Bench {
    /// All that a server with the usual settings is asked.
    pub(super) async fn usual(
        &mut self,
        data: &Data,
        server: &Lanyard,
        echo: &Echo,
        usts: &[String],
        accounts: &[Account],
    ) -> Result<()> {
        let client = Client::connect(server.addr, CONNECTIONS, Some(&data.caller_key)).await?;
        let process = &server.process;
        let verify_all = verify_call(usts);
        // Every session is in memory before anything is measured.
        client.sweep(&verify_all, SOME).await?;
        let some = every_tenth(usts);
        let verify = verify_call(&some);
        self.report.note(format!(
            "cached verify, its curve and batches ask for every tenth session ({} of {}), verify_hit_100k for all",
            some.len(),
            usts.len()
        ));
        let hit = Side { process, client: &client, call: &verify, streams: MANY };
        let side = |call, streams| Side { process, client: &client, call, streams };
        let length = self.plan.length;

        self.scenario(Name::VerifyHit, async |bench| bench.verify_hit(echo, &hit).await).await;
        self.scenario(Name::Concurrency, async |bench| bench.concurrency(echo, &hit).await).await;
        self.scenario(Name::VerifyHit100k, async |bench| {
            bench.verify_hit_100k(echo, &Side { call: &verify_all, ..hit }).await
        })
        .await;
        let batch = batch_call(&some, BATCH, false);
        self.scenario(Name::Batch100, async |bench| bench.batch(&hit, &side(&batch, FEW)).await).await;
        let list = Call::new(LIST, usts.iter().map(|ust| list_request(ust)), has_first_field);
        self.scenario(Name::ListSessions, async |bench| {
            bench.beside_echo("list_sessions", echo, &side(&list, SOME), length).await.map(drop)
        })
        .await;
        let renew = Call::new(RENEW, usts.iter().map(|ust| renew_request(ust)), has_first_field);
        self.scenario(Name::Renew, async |bench| {
            bench.beside_echo("renew", echo, &side(&renew, SOME), length).await.map(drop)
        })
        .await;
        let login = login_call(accounts);
        let login_length = self.plan.login_length;
        self.scenario(Name::CreateWithHash, async |bench| {
            bench.beside_echo("create_with_hash", echo, &side(&login, FEW), login_length).await.map(drop)
        })
        .await;
        Ok(())
    }

    async fn verify_hit(&mut self, echo: &Echo, hit: &Side<'_>) -> Result<()> {
        let rounds = self.beside_echo("verify_hit", echo, hit, self.plan.length).await?;
        self.report.figure("verify_cpu_over_echo", rounded(rounds.ratio(|one| one.cpu)));
        self.report.note(self.what_limits(&rounds));
        // The echo at the rate at which the server was measured, for the curve and for its own line.
        let rate = median(rounds.subject.iter().map(|one| one.per_second)) / 2.0;
        let mut reference = Rounds::default();
        reference.subject = rounds.base;
        for _ in 0..self.plan.rounds {
            let latency = self.latency("echo", &echo.side(), rate, self.plan.length).await?;
            reference.add_latency(&latency)?;
        }
        self.row("echo", &reference, None);
        self.report.figure("latency_calls_per_second", rounded(rate));
        self.report.latency = vec![
            Series::of_percentiles("bare tonic echo", &reference.all_latency),
            Series::of_percentiles("VerifySession (cached)", &rounds.all_latency),
        ];
        Ok(())
    }

    /// Over all sessions.
    async fn verify_hit_100k(&mut self, echo: &Echo, hit: &Side<'_>) -> Result<()> {
        // The generator has as many bodies to reach for on both sides.
        let base = Side { call: hit.call, ..echo.side() };
        let mut ratios = Vec::new();
        for _ in 0..self.plan.rounds {
            let base = self.throughput("verify_hit_100k", &base, self.plan.length).await?;
            let subject = self.throughput("verify_hit_100k", hit, self.plan.length).await?;
            ratios.push(subject.per_second / base.per_second);
        }
        self.report.figure("verify_hit_100k_over_echo", rounded(median(ratios)));
        Ok(())
    }

    async fn concurrency(&mut self, echo: &Echo, hit: &Side<'_>) -> Result<()> {
        let mut curves = [("bare tonic echo", Vec::new()), ("VerifySession (cached)", Vec::new())];
        for streams in CURVE {
            let (mut base, mut subject) = (Vec::new(), Vec::new());
            for _ in 0..self.plan.rounds {
                let length = self.plan.length / 2;
                base.push(self.throughput("echo", &Side { streams, ..echo.side() }, length).await?.per_second);
                subject.push(self.throughput("concurrency", &Side { streams, ..*hit }, length).await?.per_second);
            }
            for ((name, points), values) in curves.iter_mut().zip([base, subject]) {
                let per_second = median(values);
                points.push((streams as f64, per_second));
                let key = if name.starts_with("bare") { "echo" } else { "verify_hit" };
                self.report.figure(format!("{key}_per_second_at_{streams}"), rounded(per_second));
            }
        }
        self.report.by_concurrency =
            curves.into_iter().map(|(name, points)| Series { name: name.to_owned(), points }).collect();
        Ok(())
    }

    /// Beside single verifications, not the echo: what counts is the tokens.
    async fn batch(&mut self, single: &Side<'_>, batch: &Side<'_>) -> Result<()> {
        let rounds = self.rounds("batch100", single, batch, self.plan.length).await?;
        self.row("batch100", &rounds, None);
        let tokens = rounds.ratio(|one| one.per_second) * BATCH as f64;
        self.report.figure("batch100_over_single", rounded(tokens));
        Ok(())
    }

    pub(super) async fn create_without_hash(
        &mut self,
        data: &Data,
        setting: &Setting,
        echo: &Echo,
        accounts: &[Account],
    ) -> Result<()> {
        let server = self.site.start(data, setting).await?;
        let client = Client::connect(server.addr, CONNECTIONS, Some(&data.caller_key)).await?;
        let login = login_call(accounts);
        // The first login of each still pays for the hash that is stored, and replaces it.
        client.sweep(&login, FEW).await?;
        let side = Side { process: &server.process, client: &client, call: &login, streams: FEW };
        self.beside_echo("create_without_hash", echo, &side, self.plan.length).await?;
        server.process.stop().await
    }

    pub(super) async fn verify_miss(
        &mut self,
        name: &'static str,
        data: &Data,
        echo: &Echo,
        usts: &[String],
    ) -> Result<()> {
        let setting = Setting { cached: false, ..Setting::default() };
        let server = self.site.start(data, &setting).await?;
        let client = Client::connect(server.addr, CONNECTIONS, Some(&data.caller_key)).await?;
        let verify = verify_call(usts);
        let side = Side { process: &server.process, client: &client, call: &verify, streams: SOME };
        self.beside_echo(name, echo, &side, self.plan.length).await?;
        server.process.stop().await
    }

    fn what_limits(&self, rounds: &Rounds) -> String {
        let busy = median(rounds.base.iter().map(|one| one.busy));
        if busy >= 0.95 || !self.site.cores.pinned() {
            return format!("the echo used {:.0} % of its core", busy * 100.0);
        }
        format!("the echo used only {:.0} % of its core: the generator is the limit, ratios are too good", busy * 100.0)
    }
}

/// The sessions that cached verification is measured with, one of each user: all together are more than the processor's
/// caches hold, and to reach for them measures the memory of the machine more than the server.
pub(super) fn every_tenth(usts: &[String]) -> Vec<String> {
    usts.iter().step_by(10).cloned().collect()
}

pub(super) fn login_call(accounts: &[Account]) -> Arc<Call> {
    Call::new(CREATE_SESSION, accounts.iter().map(login_request), has_first_field)
}

pub(super) fn batch_call(usts: &[String], size: usize, peek: bool) -> Arc<Call> {
    let requests = usts.chunks(size).map(|usts| BatchVerifySessionsRequest {
        sessions: usts.iter().map(|ust| SessionToVerify { ust: ust.clone(), client: None }).collect(),
        client: Some(client_info()),
        peek,
    });
    Call::new(BATCH_VERIFY, requests, all_good)
}

/// Each verdict begins with its first field, a session; each link and linked user with the user. Looked at without
/// decoding, which would cost the generator more than the answer costs the server.
pub(super) fn all_good(mut message: &[u8]) -> bool {
    let mut count = 0;
    while has_first_field(message) {
        message.advance(1);
        let verdict = decode_varint(&mut message).ok().and_then(|size| message.split_at_checked(size as usize));
        let Some((_, rest)) = verdict.filter(|(verdict, _)| has_first_field(verdict)) else { return false };
        message = rest;
        count += 1;
    }
    message.is_empty() && count > 0
}

fn list_request(ust: &str) -> ListSessionsRequest {
    ListSessionsRequest { ust: ust.to_owned(), client: Some(client_info()), ..ListSessionsRequest::default() }
}

fn renew_request(ust: &str) -> RenewSessionRequest {
    RenewSessionRequest { ust: ust.to_owned(), client: Some(client_info()), rotate: false }
}
