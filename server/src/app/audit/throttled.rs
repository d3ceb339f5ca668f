//! Throttled logins in the audit trail: one event per minute, user, caller and app, with a count. Each refusal costs its sender
//! nothing, so an event each would let anybody fill the disk.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Event;
use crate::app::App;
use crate::clock::Time;
use crate::model::audit::{AuditEvent, Reason};
use crate::model::id::UserId;

/// How long refusals are counted before their event is written.
pub(in crate::app) const INTERVAL: Duration = Duration::from_mins(1);
/// Different events that are counted at once; beyond it all are written early.
const CAPACITY: usize = 4_096;

/// Refusals that differ in time, address and correlation ID only.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    target: Option<UserId>,
    caller: String,
    app: String,
    detail: String,
}

struct Count {
    first: AuditEvent,
    last_time: Time,
    refusals: u64,
}

/// Refusals that are counted and not yet written.
#[derive(Default)]
pub(in crate::app) struct ThrottledLogins(Mutex<HashMap<Key, Count>>);

impl ThrottledLogins {
    /// Counts a refusal. True if so many different ones are counted that they should be written now.
    fn count(&self, event: AuditEvent) -> bool {
        let key = Key {
            target: event.target,
            caller: event.caller.clone(),
            app: event.app.clone(),
            detail: event.detail.clone(),
        };
        let mut counts = self.0.lock();
        let last_time = event.time;
        let count = counts.entry(key).or_insert(Count { first: event, last_time, refusals: 0 });
        count.last_time = last_time;
        count.refusals += 1;
        counts.len() >= CAPACITY
    }

    /// Takes out what was counted, as events in the order of their first refusals.
    fn take(&self) -> Vec<AuditEvent> {
        let mut events: Vec<_> = self.0.lock().drain().map(|(_, count)| count.into_event()).collect();
        events.sort_unstable_by_key(|event| event.time);
        events
    }
}

impl Count {
    fn into_event(self) -> AuditEvent {
        let Self { mut first, last_time, refusals } = self;
        if refusals > 1 {
            let mut detail = serde_json::from_str(&first.detail).unwrap_or_else(|_| json!({}));
            if let Value::Object(fields) = &mut detail {
                fields.insert("count".to_owned(), refusals.into());
                fields.insert("last_time".to_owned(), last_time.to_string().into());
            }
            first.detail = detail.to_string();
        }
        first
    }
}

impl App {
    /// Audits a throttled login, within [`INTERVAL`].
    pub(in crate::app) async fn audit_throttled_login(&self, event: Event) {
        let event = event.refused(Reason::Throttled).at(&self.parts.clock);
        if self.parts.throttled_logins.count(event) {
            self.write_throttled().await;
        }
    }

    /// Queues the events of all throttled logins so far.
    pub(in crate::app) async fn write_throttled(&self) {
        for event in self.parts.throttled_logins.take() {
            if let Err(error) = self.parts.store.record_read(event).await {
                tracing::warn!(%error, "throttled logins are not in the audit trail");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audit::Operation;

    fn event(caller: &str, micros: i64, detail: &str) -> AuditEvent {
        AuditEvent {
            time: Time::from_micros(micros),
            correlation_id: format!("call-{micros}"),
            operation: Operation::SessionCreate,
            reason: Some(Reason::Throttled),
            caller: caller.to_owned(),
            subject: None,
            target: None,
            session: None,
            app: "default".to_owned(),
            remote_addr: "192.0.2.1".to_owned(),
            detail: detail.to_owned(),
        }
    }

    #[test]
    fn makes_one_event_of_refusals_that_differ_in_time_only() {
        let logins = ThrottledLogins::default();
        let detail = r#"{"auth_type":"jwt"}"#;
        for (caller, micros) in
            [("portal", 1_000_000), ("portal", 2_000_000), ("other", 1_500_000), ("portal", 3_000_000)]
        {
            assert!(!logins.count(event(caller, micros, detail)));
        }
        let events = logins.take();
        let told: Vec<_> = events.iter().map(|event| (event.caller.as_str(), event.correlation_id.as_str())).collect();
        assert_eq!(told, [("portal", "call-1000000"), ("other", "call-1500000")]);
        let detail: Value = serde_json::from_str(&events[0].detail).expect("JSON");
        let expected = json!({ "auth_type": "jwt", "count": 3, "last_time": "1970-01-01T00:00:03.000000Z" });
        assert_eq!(detail, expected);
        assert_eq!(events[1].detail, r#"{"auth_type":"jwt"}"#, "one alone needs no count");
        assert!(logins.take().is_empty());
    }

    #[test]
    fn is_to_be_written_early_rather_than_grow() {
        let logins = ThrottledLogins::default();
        let mut callers = (0..CAPACITY).map(|number| format!("caller-{number}"));
        let last = callers.next_back().expect("at least one");
        assert!(callers.all(|caller| !logins.count(event(&caller, 1, ""))));
        assert!(logins.count(event(&last, 1, "")));
    }
}
