//! Parses times given as arguments.

use std::time::{Duration, UNIX_EPOCH};

use crate::clock::{Clock, Time};
use lanyard_client::prost_types::Timestamp;

/// A time, or a duration from now.
pub(crate) fn future(text: &str) -> Result<Timestamp, String> {
    moment(text, |from_now| Clock::system().now() + from_now)
}

/// A time, or a duration ago.
pub(crate) fn past(text: &str) -> Result<Timestamp, String> {
    moment(text, |ago| Clock::system().now() - ago)
}

fn moment(text: &str, from_now: impl FnOnce(Duration) -> Time) -> Result<Timestamp, String> {
    let time = match humantime::parse_rfc3339_weak(text) {
        Ok(time) => Time::default() + time.duration_since(UNIX_EPOCH).unwrap_or_default(),
        Err(_) => from_now(humantime::parse_duration(text).map_err(|_| {
            "is neither a time such as 2026-01-31T12:00:00Z nor a duration such as 90d or 1h30m".to_owned()
        })?),
    };
    let (seconds, nanos) = time.to_unix();
    Ok(Timestamp { seconds, nanos: i32::try_from(nanos).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_future_is_a_time_or_how_long_from_now_on() {
        assert_eq!(future("2026-01-02T03:04:05Z").map(|time| time.seconds), Ok(1_767_323_045));
        let (now, _) = Clock::system().now().to_unix();
        let tomorrow = future("1d").expect("a duration").seconds;
        assert!((now + 86_400..now + 86_460).contains(&tomorrow), "{tomorrow}");
        assert!(future("soon").is_err());
    }

    #[test]
    fn the_past_is_a_time_or_how_long_ago() {
        assert_eq!(past("2026-01-02T03:04:05Z").map(|time| time.seconds), Ok(1_767_323_045));
        let (now, _) = Clock::system().now().to_unix();
        let hour_ago = past("1h").expect("a duration").seconds;
        assert!((now - 3_660..=now - 3_600).contains(&hour_ago), "{hour_ago}");
        assert!(past("recently").is_err());
    }
}
