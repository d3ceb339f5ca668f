//! The standard `OTEL_*` variables, as a layer of `[telemetry]`. Unsupported ones are reported, never refused: they may
//! be set for all services of a host.

use std::collections::BTreeMap;

use super::telemetry::{Attributes, Headers, checked};

const PREFIX: &str = "OTEL_";

/// A layer, and the variables that it ignores.
#[derive(Default)]
pub(super) struct Layer {
    table: toml::Table,
    ignored: Vec<String>,
    has_endpoint: bool,
}

/// Converts the value of a variable to that of a key; `Err` says what is allowed.
type Convert = fn(&str) -> Result<toml::Value, &'static str>;

/// Variables that set one key each.
const KEYS: [(&str, &str, Convert); 23] = [
    ("OTEL_SERVICE_NAME", "service_name", text),
    ("OTEL_RESOURCE_ATTRIBUTES", "resource_attributes", attributes),
    ("OTEL_PROPAGATORS", "propagation", propagation),
    ("OTEL_TRACES_SAMPLER", "sampler", sampler),
    ("OTEL_TRACES_SAMPLER_ARG", "sampling_ratio", ratio),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", "max_attributes", limit),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "max_attributes", limit),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "max_events", limit),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "max_event_attributes", limit),
    ("OTEL_METRICS_EXEMPLAR_FILTER", "exemplars", exemplars),
    ("OTEL_BSP_SCHEDULE_DELAY", "traces.delay", millis),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "traces.queue", count),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "traces.batch", count),
    ("OTEL_BSP_EXPORT_TIMEOUT", "traces.export_timeout", millis),
    ("OTEL_BLRP_SCHEDULE_DELAY", "logs.delay", millis),
    ("OTEL_BLRP_MAX_QUEUE_SIZE", "logs.queue", count),
    ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "logs.batch", count),
    ("OTEL_BLRP_EXPORT_TIMEOUT", "logs.export_timeout", millis),
    ("OTEL_METRIC_EXPORT_INTERVAL", "metrics.delay", millis),
    ("OTEL_METRIC_EXPORT_TIMEOUT", "metrics.export_timeout", millis),
    ("OTEL_TRACES_EXPORTER", "traces.enabled", exporter),
    ("OTEL_METRICS_EXPORTER", "metrics.enabled", exporter),
    ("OTEL_LOGS_EXPORTER", "logs.enabled", exporter),
];

/// Suffixes of `OTEL_EXPORTER_OTLP_` and an optional `TRACES_`, `METRICS_` or `LOGS_`.
const OTLP: [(&str, &str, Convert); 7] = [
    ("ENDPOINT", "endpoint", endpoint),
    ("PROTOCOL", "protocol", protocol),
    ("HEADERS", "headers", headers),
    ("TIMEOUT", "timeout", millis),
    ("CERTIFICATE", "ca_file", text),
    ("CLIENT_CERTIFICATE", "client_cert", text),
    ("CLIENT_KEY", "client_key", text),
];

const SIGNALS: [(&str, &str); 4] = [("", ""), ("TRACES_", "traces."), ("METRICS_", "metrics."), ("LOGS_", "logs.")];

/// Variables that support only one value.
const AS_IT_IS: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative"),
    ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
];

impl Layer {
    pub(super) fn of(environment: &[(String, String)]) -> Self {
        let set = environment.iter().filter(|(name, value)| name.starts_with(PREFIX) && !value.trim().is_empty());
        let mut set: BTreeMap<&str, &str> = set.map(|(name, value)| (name.as_str(), value.trim())).collect();
        let mut layer = Self::default();
        let disabled = set.remove("OTEL_SDK_DISABLED");
        for (name, key, convert) in KEYS {
            let Some(value) = set.remove(name) else { continue };
            layer.put(name, key, value, convert);
        }
        layer.sampler_without_ratio();
        layer.otlp(&mut set);
        for (name, only) in AS_IT_IS {
            if let Some(value) = set.remove(name).filter(|value| !value.eq_ignore_ascii_case(only)) {
                layer.ignore(name, &format!("`{value}` is not supported, it is always `{only}`"));
            }
        }
        for name in set.into_keys() {
            layer.ignore(name, unsupported(name));
        }
        layer.switch(disabled);
        layer
    }

    pub(super) fn toml(&self) -> String {
        let mut all = toml::Table::new();
        all.insert("telemetry".to_owned(), self.table.clone().into());
        all.to_string()
    }

    pub(super) fn into_ignored(self) -> Vec<String> {
        self.ignored
    }

    fn otlp(&mut self, set: &mut BTreeMap<&str, &str>) {
        for (signal, section) in SIGNALS {
            let insecure = set.remove(format!("OTEL_EXPORTER_OTLP_{signal}INSECURE").as_str());
            for (what, key, convert) in OTLP {
                let name = format!("OTEL_EXPORTER_OTLP_{signal}{what}");
                let Some(value) = set.remove(name.as_str()) else { continue };
                let key = format!("{section}{key}");
                if what == "ENDPOINT" {
                    self.has_endpoint |= self.put(&name, &key, &with_scheme(value, insecure), convert);
                } else {
                    self.put(&name, &key, value, convert);
                }
            }
            let name = format!("OTEL_EXPORTER_OTLP_{signal}COMPRESSION");
            if let Some(value) = set.remove(name.as_str()).filter(|value| *value != "none") {
                self.ignore(&name, &format!("`{value}` is not supported: nothing is compressed"));
            }
        }
    }

    /// By the specification, a ratio sampler without an argument samples all.
    fn sampler_without_ratio(&mut self) {
        let by_ratio = |sampler: &toml::Value| sampler.as_str().is_some_and(|name| name.contains("traceidratio"));
        if self.table.get("sampler").is_some_and(by_ratio) {
            self.table.entry("sampling_ratio").or_insert(1.0.into());
        }
    }

    fn switch(&mut self, disabled: Option<&str>) {
        let is_disabled = disabled.is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if let Some(value) = disabled.filter(|value| !is_disabled && !value.eq_ignore_ascii_case("false")) {
            self.ignore("OTEL_SDK_DISABLED", &format!("`{value}` is neither true nor false"));
        }
        let is_wanted = |signal: &str| {
            self.table.get(signal).and_then(|section| section.get("enabled")?.as_bool()).unwrap_or(false)
        };
        let is_on = self.has_endpoint || ["traces", "metrics", "logs"].into_iter().any(is_wanted);
        if is_disabled || is_on {
            self.table.insert("exporter".to_owned(), if is_disabled { "off" } else { "otlp" }.into());
        }
    }

    /// Returns whether the value is valid.
    fn put(&mut self, name: &str, key: &str, value: &str, convert: Convert) -> bool {
        let converted = match convert(value) {
            Ok(converted) => converted,
            Err(problem) => {
                self.ignore(name, problem);
                return false;
            }
        };
        let (section, key) = key.split_once('.').map_or((None, key), |(section, key)| (Some(section), key));
        let table = match section {
            None => Some(&mut self.table),
            Some(section) => self.table.entry(section).or_insert_with(|| toml::Table::new().into()).as_table_mut(),
        };
        table.and_then(|table| table.insert(key.to_owned(), converted));
        true
    }

    fn ignore(&mut self, name: &str, problem: &str) {
        self.ignored.push(format!("{name}: {problem}"));
    }
}

fn with_scheme(endpoint: &str, insecure: Option<&str>) -> String {
    if endpoint.contains("://") {
        return endpoint.to_owned();
    }
    let is_insecure = insecure.is_some_and(|value| value.eq_ignore_ascii_case("true"));
    format!("{}://{endpoint}", if is_insecure { "http" } else { "https" })
}

fn unsupported(name: &str) -> &'static str {
    match name {
        "OTEL_LOG_LEVEL" => "is not supported: set `log.level`",
        "OTEL_EXPORTER_PROMETHEUS_HOST" | "OTEL_EXPORTER_PROMETHEUS_PORT" => "is not supported: set `admin.listen`",
        "OTEL_CONFIG_FILE" | "OTEL_EXPERIMENTAL_CONFIG_FILE" => "is not supported: the configuration is Lanyard's own",
        _ => "is not supported",
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of many that convert, and the others may refuse")]
fn text(value: &str) -> Result<toml::Value, &'static str> {
    Ok(value.into())
}

fn endpoint(value: &str) -> Result<toml::Value, &'static str> {
    checked(value)?;
    text(value)
}

fn attributes(value: &str) -> Result<toml::Value, &'static str> {
    Attributes(value.to_owned()).parse()?;
    text(value)
}

fn headers(value: &str) -> Result<toml::Value, &'static str> {
    Headers::new(value).parse()?;
    text(value)
}

/// Ignores `baggage`: nothing here reads or writes any.
fn propagation(value: &str) -> Result<toml::Value, &'static str> {
    let named: Vec<&str> = value.split(',').map(str::trim).filter(|name| *name != "baggage").collect();
    match named.as_slice() {
        [] | ["none"] => text("none"),
        all if all.iter().all(|name| *name == "tracecontext") => text("tracecontext"),
        _ => Err("only `tracecontext` (with or without `baggage`) and `none` are supported"),
    }
}

fn sampler(value: &str) -> Result<toml::Value, &'static str> {
    const ALL: [&str; 6] = [
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ];
    if ALL.contains(&value) { text(value) } else { Err("is none of the supported samplers: see TELEMETRY.md") }
}

fn ratio(value: &str) -> Result<toml::Value, &'static str> {
    let ratio = value.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.map(Into::into).ok_or("must be a number between 0 and 1")
}

fn number(value: &str) -> Option<i64> {
    value.parse::<u32>().ok().map(i64::from)
}

fn limit(value: &str) -> Result<toml::Value, &'static str> {
    number(value).map(Into::into).ok_or("must be a whole number")
}

fn count(value: &str) -> Result<toml::Value, &'static str> {
    number(value).filter(|count| *count > 0).map(Into::into).ok_or("must be a whole number of at least 1")
}

fn millis(value: &str) -> Result<toml::Value, &'static str> {
    let millis = number(value).filter(|millis| *millis > 0);
    millis.map(|millis| format!("{millis}ms").into()).ok_or("must be milliseconds: a whole number of at least 1")
}

fn exporter(value: &str) -> Result<toml::Value, &'static str> {
    match value {
        "otlp" => Ok(true.into()),
        "none" => Ok(false.into()),
        "prometheus" => Err("`prometheus` is not an exporter here: set `admin.listen` and scrape /metrics"),
        _ => Err("only `otlp` and `none` are supported"),
    }
}

fn protocol(value: &str) -> Result<toml::Value, &'static str> {
    match value {
        "grpc" | "http/protobuf" => text(value),
        _ => Err("only `grpc` and `http/protobuf` are supported"),
    }
}

fn exemplars(value: &str) -> Result<toml::Value, &'static str> {
    match value {
        "trace_based" | "always_off" => text(value),
        _ => Err("only `trace_based` and `always_off` are supported"),
    }
}
