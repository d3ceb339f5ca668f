//! Shutdown: soft (finish calls in flight) or hard (now).

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A shutdown signal. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Stop {
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens for SIGTERM and SIGINT: the first requests a soft stop, the second a hard one.
    pub fn on_signals() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = Self::new();
        let signalled = stop.clone();
        tokio::spawn(async move {
            for ask in [Self::softly, Self::hard as fn(&Self)] {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!(signal = name, again = signalled.is_soft(), "told to stop");
                ask(&signalled);
            }
        });
        Ok(stop)
    }

    /// Requests a soft stop.
    pub fn softly(&self) {
        self.soft.cancel();
    }

    /// Requests a hard stop.
    pub fn hard(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    pub fn is_soft(&self) -> bool {
        self.soft.is_cancelled()
    }

    pub fn is_hard(&self) -> bool {
        self.hard.is_cancelled()
    }

    /// Waits for a soft or hard stop.
    pub async fn asked(&self) {
        self.soft.cancelled().await;
    }

    /// Waits for a hard stop.
    pub async fn asked_hard(&self) {
        self.hard.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_asks_softly_and_the_second_hard() {
        let stop = Stop::on_signals().expect("signals can be listened to");
        assert!(!stop.is_soft());
        kill_process(getpid(), Signal::TERM).expect("a signal to ourselves");
        stop.asked().await;
        assert!(!stop.is_hard());
        kill_process(getpid(), Signal::INT).expect("a signal to ourselves");
        stop.asked_hard().await;
    }
}
