//! Audit events of reads and of throttled logins, which have no transaction of their own: queued, and written in
//! batches, in order.
//!
//! None is lost while the server runs: readers wait while the queue is full, a failed batch is retried until it
//! succeeds, and the store closes after the queue is empty.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::{Shared, Store};
use crate::error::{Error, Result};
use crate::model::audit::AuditEvent;

/// Capacity of the queue, in events.
const QUEUE: usize = 16_384;
/// Events per transaction: enough to share index pages, few enough not to delay other writers for long.
const BATCH: usize = 4_096;
/// How long the first event of a batch waits for others to share its commit.
const LINGER: Duration = Duration::from_millis(10);
/// Delay before a failed batch is retried.
const RETRY_DELAY: Duration = Duration::from_millis(200);

enum Entry {
    Event(AuditEvent),
    /// Notified when all events before it are written.
    Flush(oneshot::Sender<()>),
}

pub(super) struct ReadLog {
    queue: mpsc::Sender<Entry>,
    receiver: Mutex<Option<mpsc::Receiver<Entry>>>,
}

impl Default for ReadLog {
    fn default() -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE);
        Self { queue, receiver: Mutex::new(Some(receiver)) }
    }
}

impl Store {
    /// Queues an event if there is room.
    pub fn try_record_read(&self, event: AuditEvent) -> bool {
        self.shared.read_log.queue.try_send(Entry::Event(event)).is_ok()
    }

    /// Queues an event; waits for room.
    pub async fn record_read(&self, event: AuditEvent) -> Result<()> {
        self.shared.read_log.queue.send(Entry::Event(event)).await.map_err(|_| Error::ShuttingDown)
    }

    /// Waits until all events queued so far are written, but at most for `limit`.
    pub async fn flush_reads(&self, limit: Duration) {
        let (done, written) = oneshot::channel();
        let flush = async {
            if self.shared.read_log.queue.send(Entry::Flush(done)).await.is_ok() {
                let _ = written.await;
            }
        };
        if tokio::time::timeout(limit, flush).await.is_err() {
            tracing::warn!("the database is slow: reads are not in the audit trail yet");
        }
    }

    /// Starts the task that writes events, which ends with the last clone of the store.
    pub(super) fn start_read_log(&self) {
        let Some(mut receiver) = self.shared.read_log.receiver.lock().take() else { return };
        let (conn, shared): (_, Weak<Shared>) = (self.conn.clone(), Arc::downgrade(&self.shared));
        tokio::spawn(async move {
            let mut entries = Vec::with_capacity(BATCH);
            while receiver.recv_many(&mut entries, BATCH).await > 0 {
                let Some(shared) = shared.upgrade() else { return };
                let store = Store { conn: conn.clone(), shared };
                if entries.len() < BATCH && entries.iter().all(|entry| matches!(entry, Entry::Event(_))) {
                    tokio::time::sleep(LINGER).await;
                    entries.extend(std::iter::from_fn(|| receiver.try_recv().ok()).take(BATCH - entries.len()));
                }
                let (mut events, mut flushes) = (Vec::with_capacity(entries.len()), Vec::new());
                for entry in entries.drain(..) {
                    match entry {
                        Entry::Event(event) => events.push(event),
                        Entry::Flush(done) => flushes.push(done),
                    }
                }
                store.write_reads(events).await;
                for done in flushes {
                    let _ = done.send(());
                }
            }
        });
    }

    async fn write_reads(&self, events: Vec<AuditEvent>) {
        if events.is_empty() {
            return;
        }
        let events = Arc::new(events);
        loop {
            let batch = Arc::clone(&events);
            let written = self.write(move |tx| {
                for event in batch.iter() {
                    tx.record_event(event.clone());
                }
                Box::pin(async { Ok(()) })
            });
            match written.await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, waiting = events.len(), "reads are not in the audit trail yet"),
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }
}
