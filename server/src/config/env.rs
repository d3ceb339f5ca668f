//! The environment layer: `LANYARD__SECTION__KEY=value`.

use std::collections::BTreeMap;

use super::{Config, ConfigError};

const PREFIX: &str = "LANYARD__";

/// The variables with our prefix, as TOML. Variable names are case-insensitive, names of apps and platforms are not:
/// they are matched ignoring case against the layers `below`, and an unknown one is an error.
pub(super) fn layer(
    environment: impl IntoIterator<Item = (String, String)>,
    below: &Config,
) -> Result<String, ConfigError> {
    let mut layer = toml::Table::new();
    for (name, value) in environment {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        if value.is_empty() {
            continue;
        }
        let keys = keys(path, below).map_err(|problem| invalid(&name, problem))?;
        insert(&mut layer, &keys, value).map_err(|problem| invalid(&name, problem))?;
    }
    Ok(layer.to_string())
}

fn keys(path: &str, below: &Config) -> Result<Vec<String>, &'static str> {
    let mut keys: Vec<String> = path.split("__").map(str::to_lowercase).collect();
    if keys.len() < 2 || keys.iter().any(String::is_empty) {
        return Err("the name must be LANYARD__SECTION__KEY");
    }
    let named = match keys[0].as_str() {
        "apps" => named(&below.apps, &keys[1]).ok_or("no such app: an app must stand in the configuration file")?,
        "platforms" => named(&below.platforms, &keys[1])
            .ok_or("no such platform: a platform must stand in the configuration file")?,
        _ => return Ok(keys),
    };
    keys[1] = named;
    Ok(keys)
}

fn named<T>(sections: &BTreeMap<String, T>, name: &str) -> Option<String> {
    sections.keys().find(|section| section.eq_ignore_ascii_case(name)).cloned()
}

fn insert(table: &mut toml::Table, keys: &[String], value: String) -> Result<(), &'static str> {
    const CLASH: &str = "another variable sets a part or the whole of this";
    let Some((last, sections)) = keys.split_last() else { return Err(CLASH) };
    let mut table = table;
    for section in sections {
        let inner = table.entry(section).or_insert_with(|| toml::Table::new().into());
        table = inner.as_table_mut().ok_or(CLASH)?;
    }
    match table.insert(last.clone(), value.into()) {
        None => Ok(()),
        Some(_) => Err(CLASH),
    }
}

fn invalid(name: &str, problem: &str) -> ConfigError {
    ConfigError::Invalid { key: name.to_owned(), problem: problem.to_owned() }
}
