//! What being seen costs: cached verification without telemetry, with one call in a hundred traced, and with all.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;

use super::hot::MANY;
use super::rounds::{Side, median};
use super::{Bench, CONNECTIONS, verify_call};
use crate::Result;
use crate::lanyard::{Data, Lanyard, Setting, Traced};
use crate::load::{Call, Client};
use crate::report::rounded;

/// Sessions of each user: all together are as many as cached verification is measured with elsewhere.
const SESSIONS_OF_EACH: u64 = 1;
const RATIO: f64 = 0.01;

/// One of the servers that are compared, with data of its own.
struct Subject {
    server: Lanyard,
    client: Client,
    verify: Arc<Call>,
    // Removed when the server has ended.
    _data: Data,
}

impl Subject {
    fn side(&self) -> Side<'_> {
        Side { process: &self.server.process, client: &self.client, call: &self.verify, streams: MANY }
    }
}

impl Bench {
    pub(super) async fn verify_with_telemetry(&mut self) -> Result<()> {
        let sink = start_sink()?;
        let without = self.subject(None).await?;
        let with = self.subject(Some(Traced { to: sink, ratio: RATIO })).await?;
        let full = self.subject(Some(Traced { to: sink, ratio: 1.0 })).await?;
        let (name, length) = ("verify_with_telemetry", self.plan.length);
        let (mut ratios, mut full_ratios) = (Vec::new(), Vec::new());
        for _ in 0..self.plan.rounds {
            // The reference on both sides: what changes meanwhile hits both.
            let before = self.throughput(name, &without.side(), length).await?.per_second;
            let some = self.throughput(name, &with.side(), length).await?.per_second;
            let between = self.throughput(name, &without.side(), length).await?.per_second;
            let all = self.throughput(name, &full.side(), length).await?.per_second;
            ratios.push(some / f64::midpoint(before, between));
            full_ratios.push(all / between);
        }
        self.report.figure("verify_with_telemetry_over_without", rounded(median(ratios)));
        self.report.figure("verify_with_full_sampling_over_without", rounded(median(full_ratios)));
        for subject in [without, with, full] {
            subject.server.process.stop().await?;
        }
        Ok(())
    }

    async fn subject(&mut self, traced: Option<Traced>) -> Result<Subject> {
        let data = self.site.install(None).await?;
        let usts = self.seed(&data, self.plan.users, SESSIONS_OF_EACH).await?;
        let server = self.site.start(&data, &Setting { traced, ..Setting::default() }).await?;
        let client = Client::connect(server.addr, CONNECTIONS, Some(&data.caller_key)).await?;
        let verify = verify_call(&usts);
        // Every session is in memory before anything is measured.
        client.sweep(&verify, MANY).await?;
        Ok(Subject { server, client, verify, _data: data })
    }
}

/// Takes everything by HTTP and keeps nothing, on a thread of its own that ends with this process.
fn start_sink() -> Result<SocketAddr> {
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let addr = socket.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("sink".to_owned()).spawn(move || {
        runtime.block_on(async {
            let take = async |body: Bytes| drop(body);
            let pages = Router::new().fallback(take).layer(DefaultBodyLimit::disable());
            axum::serve(TcpListener::from_std(socket)?, pages).await
        })
    })?;
    Ok(addr)
}
