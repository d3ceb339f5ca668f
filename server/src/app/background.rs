//! Background tasks: flush activity, follow the change feed, purge, reload callers, log out of platforms.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::App;
use super::audit::throttled;
use super::caller::REFRESH;
use crate::error::Result;
use crate::model::id::CallerId;
use crate::store::{Follower, Look, Purged};

/// Retention of the change feed: many times as long as a follower may be absent before it starts over.
const FEED_RETENTION: Duration = Duration::from_hours(24);

/// Polls of the feed within `max_revocation_lag`, after which the cache is not used: a few of them may fail.
const LOOKS_PER_LAG: u32 = 20;
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Poll interval while transactions from before the start of following are open.
const BEFORE_SURE: Duration = Duration::from_millis(50);

impl App {
    /// The follower for [`Self::run_background_tasks`]. From now on the cache is used only while it runs.
    pub fn follower(&self) -> Follower {
        self.parts.store.follower(self.parts.max_revocation_lag)
    }

    /// Changes whenever the database has answered the background task that reads the change feed.
    pub fn database_answers(&self) -> watch::Receiver<()> {
        self.parts.database_answers.subscribe()
    }

    /// Runs all tasks until `stop`, then flushes pending activity.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn run_background_tasks(&self, follower: Follower, stop: CancellationToken) {
        tokio::join!(
            self.flush_regularly(&stop),
            // Boxed: its write would double the size of this future.
            Box::pin(self.write_throttled_regularly(&stop)),
            self.purge_regularly(&stop),
            self.reload_regularly(&stop),
            self.follow_changes(follower, &stop),
            self.log_out_of_platforms(&stop)
        );
        if let Err(error) = self.parts.store.flush_activity().await {
            tracing::error!(%error, "activity was not written before the stop");
        }
    }

    async fn write_throttled_regularly(&self, stop: &CancellationToken) {
        while wait(stop, throttled::INTERVAL).await {
            self.write_throttled().await;
        }
        self.write_throttled().await;
    }

    async fn flush_regularly(&self, stop: &CancellationToken) {
        while wait(stop, self.parts.session.activity_flush).await {
            if let Err(error) = self.parts.store.flush_activity().await {
                tracing::warn!(%error, "activity was not written; it is kept and tried again");
            }
        }
    }

    /// Invalidates what other servers changed, and reloads the callers when they changed.
    async fn follow_changes(&self, mut follower: Follower, stop: &CancellationToken) {
        let pause = (self.parts.max_revocation_lag / LOOKS_PER_LAG).min(LONGEST_PAUSE);
        let mut is_failing = false;
        loop {
            let looked = follower.look().await;
            if looked.is_ok() {
                self.parts.database_answers.send_replace(());
            }
            match &looked {
                Err(error) if !is_failing => {
                    tracing::warn!(%error, "the change feed is not read; soon nothing is answered from memory");
                }
                Ok(_) if is_failing => tracing::info!("the change feed is read again"),
                _ => {}
            }
            is_failing = looked.is_err();
            if looked.as_ref().is_ok_and(|look| look.callers_changed) {
                self.try_to_reload_callers().await;
            }
            let pause = match looked {
                Ok(Look { is_partial: true, .. }) => Duration::ZERO,
                Ok(Look { is_sure: false, .. }) => pause.min(BEFORE_SURE),
                _ => pause,
            };
            if !wait(stop, pause).await {
                return;
            }
        }
    }

    async fn purge_regularly(&self, stop: &CancellationToken) {
        let holder = CallerId::new(self.parts.clock.now()).uuid();
        while wait(stop, self.parts.purge.interval).await {
            match self.purge(holder).await {
                Ok(purged) if purged.total() > 0 => tracing::info!(?purged, "purged"),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "purging failed; it is tried again"),
            }
            match self.reseal_platform_credentials().await {
                Ok(resealed) if resealed > 0 => {
                    tracing::info!(resealed, "credentials are sealed under the current key");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "sealing under the current key failed; it is tried again"),
            }
        }
    }

    /// Purges until nothing is left or another server holds the lease; returns what it deleted.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn purge(&self, holder: Uuid) -> Result<Purged> {
        let store = &self.parts.store;
        let mut all = Purged::default();
        loop {
            if !store.acquire_lease("purge", holder, self.parts.purge.interval * 2).await? {
                return Ok(all);
            }
            let now = self.parts.clock.now();
            let batch = u64::from(self.parts.purge.batch);
            let done = store.purge_batch(now - self.parts.session.retention, now - FEED_RETENTION, batch).await?;
            all += done;
            if done.total() == 0 {
                return Ok(all);
            }
        }
    }

    async fn reload_regularly(&self, stop: &CancellationToken) {
        while wait(stop, REFRESH).await {
            self.try_to_reload_callers().await;
        }
    }

    async fn try_to_reload_callers(&self) {
        if let Err(error) = self.reload_callers().await {
            tracing::warn!(%error, "callers were not read anew; those known stay");
        }
    }
}

/// Returns false on `stop`.
async fn wait(stop: &CancellationToken, duration: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(duration) => true,
    }
}
