//! Logs: JSON for machines, pretty for a person at a terminal, both on standard error. A line within a call carries the
//! call's span, and with it the correlation ID.

use std::io::{IsTerminal, stderr};
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// What others say of every migration and statement is not for an operator; who wants it names them in the level.
const QUIET: &str = "sea_orm=warn,sea_orm_migration=warn,sqlx=warn";

/// Starts logging for the whole process, once. A second call keeps what is there.
pub fn init(log: &Log) {
    let pretty = match log.format {
        LogFormat::Json => false,
        LogFormat::Pretty => true,
        LogFormat::Auto => stderr().is_terminal(),
    };
    if subscriber(pretty, &log.level, stderr).try_init().is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

fn subscriber<W>(pretty: bool, level: &str, writer: W) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // The level was checked with the rest of the configuration.
    let filter = EnvFilter::try_new(format!("{QUIET},{level}")).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    if pretty {
        return Box::new(builder.with_ansi(stderr().is_terminal()).with_target(false).finish());
    }
    // The list and not only the innermost span: the correlation ID stands in the outermost.
    Box::new(builder.json().flatten_event(true).with_current_span(false).with_span_list(true).finish())
}

/// A panic is a log line like any other, with the spans it happened in.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("(no text)");
    tracing::error!(location, message, "panicked");
}

#[cfg(test)]
mod tests {
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

    fn logged(pretty: bool) -> String {
        let page = Page::default();
        let writer = page.clone();
        tracing::subscriber::with_default(subscriber(pretty, "info", move || writer.clone()), || {
            let call = tracing::info_span!("rpc", correlation_id = "order-7");
            call.in_scope(|| {
                tracing::info_span!("query").in_scope(|| tracing::info!(rows = 3, "read"));
                tracing::debug!("not asked for");
            });
        });
        String::from_utf8(page.0.lock().clone()).expect("text")
    }

    #[test]
    fn the_database_library_is_quiet_unless_it_is_asked_to_speak() {
        let says_so = |level: &str| {
            let page = Page::default();
            let writer = page.clone();
            tracing::subscriber::with_default(subscriber(false, level, move || writer.clone()), || {
                tracing::info!(target: "sea_orm_migration::migrator::exec", "Applying migration");
                tracing::info!("ours");
            });
            let text = String::from_utf8(page.0.lock().clone()).expect("text");
            assert!(text.contains("ours"), "{text}");
            text.contains("Applying")
        };
        assert!(!says_so("info"));
        assert!(says_so("info,sea_orm_migration=info"));
    }

    #[test]
    fn a_line_within_a_call_carries_the_correlation_id() {
        let line = logged(false);
        let json: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        assert_eq!(json["spans"][0]["correlation_id"], "order-7");
        assert_eq!((&json["message"], &json["rows"]), (&"read".into(), &3.into()));
        assert!(logged(true).contains("order-7"));
    }
}
