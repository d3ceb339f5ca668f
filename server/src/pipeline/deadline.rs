//! Deadlines: the caller's or the server's own, whichever is sooner.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::request_headers::RequestHeaders;

/// The deadline of a call. The timer is armed only when the call has to wait: a cached verdict never does.
pub(crate) struct Deadline {
    at: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(crate) fn new(started: Instant, sent: &RequestHeaders<'_>, limit: Duration) -> Self {
        let asked = sent.timeout.and_then(|value| parse(value.as_bytes()));
        Self { at: started + asked.map_or(limit, |asked| asked.min(limit)), timer: None }
    }

    /// Ready once it has expired.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        self.timer.get_or_insert_with(|| Box::pin(sleep_until(at))).as_mut().poll(cx)
    }
}

/// `grpc-timeout`: at most eight digits and a unit. Anything else counts as absent; the server's limit applies anyway.
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn the_sooner_of_the_callers_and_the_servers_limit_holds() {
        let limit = Duration::from_secs(10);
        for (sent, holds) in [
            ("300m", Duration::from_millis(300)),
            ("5S", Duration::from_secs(5)),
            ("0n", Duration::ZERO),
            ("250u", Duration::from_micros(250)),
            ("1M", limit),
            ("99999999H", limit),
            ("", limit),
            ("m", limit),
            ("-1m", limit),
            ("1x", limit),
            ("123456789m", limit),
        ] {
            let started = Instant::now();
            let headers =
                HeaderMap::from_iter([("grpc-timeout".parse().expect("a name"), sent.parse().expect("ASCII"))]);
            assert_eq!(Deadline::new(started, &RequestHeaders::new(&headers), limit).at - started, holds, "{sent:?}");
        }
        let started = Instant::now();
        assert_eq!(Deadline::new(started, &RequestHeaders::default(), limit).at - started, limit);
    }
}
