use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;

use super::*;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log(pretty: bool, level: &str) -> Log {
    Log { format: if pretty { LogFormat::Pretty } else { LogFormat::Json }, level: level.to_owned() }
}

/// The lines that `happening` logs.
fn logged(log: &Log, happening: impl FnOnce()) -> String {
    let page = Page::default();
    let writer = page.clone();
    let layers = vec![console(log, move || writer.clone())];
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layers), happening);
    String::from_utf8(page.0.lock().clone()).expect("text")
}

fn a_call() {
    let call = tracing::info_span!("rpc", correlation_id = "order-7");
    call.in_scope(|| {
        tracing::info_span!("query").in_scope(|| tracing::info!(rows = 3, "read"));
        tracing::debug!("not asked for");
    });
}

#[test]
fn the_database_library_is_quiet_unless_it_is_asked_to_speak() {
    let says_so = |level: &str| {
        let text = logged(&log(false, level), || {
            tracing::info!(target: "sea_orm::database", "Connecting");
            tracing::info!("ours");
        });
        assert!(text.contains("ours"), "{text}");
        text.contains("Connecting")
    };
    assert!(!says_so("info"));
    assert!(says_so("info,sea_orm=info"));
}

#[test]
fn a_line_within_a_call_carries_the_correlation_id() {
    let line = logged(&log(false, "info"), a_call);
    let json: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(json["spans"][0]["correlation_id"], "order-7");
    assert_eq!((&json["message"], &json["rows"]), (&"read".into(), &3.into()));
    assert!(json.get("trace_id").is_none(), "there is no trace: {line}");
    assert!(logged(&log(true, "info"), a_call).contains("order-7"));
}

#[test]
fn a_line_within_a_trace_names_it() {
    use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};

    let ids = SpanContext::new(7.into(), 9.into(), TraceFlags::SAMPLED, true, TraceState::default());
    let context = opentelemetry::Context::new().with_remote_span_context(ids);
    let line = logged(&log(false, "info"), || {
        let _within = context.attach();
        a_call();
    });
    let json: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(json["trace_id"], "00000000000000000000000000000007");
    assert_eq!(json["span_id"], "0000000000000009");
    assert_eq!((&json["message"], &json["spans"][0]["correlation_id"]), (&"read".into(), &"order-7".into()));
}
