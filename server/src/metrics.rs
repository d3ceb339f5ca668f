//! Figures for Prometheus. Each room keeps its own and registers them here; nobody is named in a label.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// All figures of a server; clones are the same.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("lanyard");
        registry.register("build", "The running program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self { registry: Arc::new(Mutex::new(registry)) }
    }

    /// Adds figures; their names get the prefix `lanyard_`.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock());
    }

    /// Everything, in the text format of `OpenMetrics`.
    pub fn text(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry.lock()).expect("writing to a String does not fail");
        page
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
