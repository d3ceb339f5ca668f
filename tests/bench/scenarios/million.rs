//! A million sessions: how soon a server with them serves, and what each takes in memory.

use super::hot::batch_call;
use super::rounds::median;
use super::{Bench, CONNECTIONS, Name, SESSIONS_PER_USER};
use crate::Result;
use crate::lanyard::{Data, Setting};
use crate::load::Client;
use crate::report::rounded;
use crate::target::Place;

/// The most that `BatchVerifySessions` takes.
const BATCH: usize = 500;
const BATCHES_UNDER_WAY: usize = 8;

impl Bench {
    pub(super) async fn with_a_million(&mut self) -> Result<()> {
        self.progress.set_message("storing a million sessions");
        let data = self.site.install(None).await?;
        let usts = self.seed(&data, self.plan.stored_users, SESSIONS_PER_USER).await?;
        self.report.figure("stored_sessions", usts.len());
        self.scenario(Name::Start, async |bench| bench.start(&data).await).await;
        self.scenario(Name::Memory, async |bench| bench.memory(&data, &usts).await).await;
        Ok(())
    }

    fn setting(&self) -> Setting {
        // Some room beyond what is put in: a cache in parts may fill one part before the others.
        let capacity = self.plan.stored_users * SESSIONS_PER_USER * 5 / 4;
        Setting { place: Place::All, cache_capacity: capacity, ..Setting::default() }
    }

    async fn start(&mut self, data: &Data) -> Result<()> {
        let mut seconds = Vec::new();
        for _ in 0..self.plan.rounds {
            let server = self.site.start(data, &self.setting()).await?;
            seconds.push(server.started_in.as_secs_f64());
            server.process.stop().await?;
        }
        self.report.figure("start_seconds_1m", rounded(median(seconds)));
        Ok(())
    }

    async fn memory(&mut self, data: &Data, usts: &[String]) -> Result<()> {
        let server = self.site.start(data, &self.setting()).await?;
        let client = Client::connect(server.addr, CONNECTIONS, Some(&data.caller_key)).await?;
        // The first calls fill what is there once and for all: buffers, the pages that SQLite keeps.
        let (first, others) = usts.split_at(usts.len() / 20);
        self.load(&client, first).await?;
        let before = server.process.memory()?;
        self.load(&client, others).await?;
        let after = server.process.memory()?;
        let bytes = after.saturating_sub(before) as f64 / others.len() as f64;
        self.report.figure("bytes_per_cached_session", rounded(bytes));
        self.report.figure("memory_with_all_sessions_bytes", after);
        server.process.stop().await
    }

    /// Has the server keep the sessions of these tokens. Noted activity is memory too, but not the cache's: this only
    /// looks.
    async fn load(&mut self, client: &Client, usts: &[String]) -> Result<()> {
        let loaded = client.sweep(&batch_call(usts, BATCH, true), BATCHES_UNDER_WAY).await?;
        self.all_answered("memory", &loaded);
        Ok(())
    }
}
