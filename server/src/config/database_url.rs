//! The URL of the database.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};

/// The URL of the database. Printing and serialising it redact the password.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The URL of an SQLite file.
    pub fn sqlite(path: &Path) -> Self {
        let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
        Self(format!("sqlite://{path}"))
    }

    /// Any URL; only [`super::Config::load`] validates it.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL with its password, for connecting.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the URL asks for that Lanyard does not do, and what to do instead.
    pub(super) fn unsupported(&self) -> Option<&'static str> {
        if !self.is_postgres() {
            return None;
        }
        let (place, query) = self.0.split_once('?').unwrap_or((&self.0, ""));
        let (_, authority) = place.split_once("://")?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = host.split_once('/').map_or(host, |(host, _)| host);
        let has = |name: &str, wanted: fn(&str) -> bool| {
            query.split('&').filter_map(|pair| pair.split_once('=')).any(|(key, value)| key == name && wanted(value))
        };
        let is_list = |hosts: &str| hosts.contains(',') || hosts.contains("%2C") || hosts.contains("%2c");
        if is_list(host) || has("host", is_list) {
            return Some("names several hosts: name one, for instance HAProxy in front of them");
        }
        has("target_session_attrs", |_| true)
            .then_some("has `target_session_attrs`: leave it out, and let HAProxy lead to the primary")
    }

    pub fn is_sqlite(&self) -> bool {
        self.0.starts_with("sqlite:")
    }

    pub fn is_postgres(&self) -> bool {
        self.0.starts_with("postgres:") || self.0.starts_with("postgresql:")
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, query) = self.0.split_once('?').map_or((self.0.as_str(), None), |(p, q)| (p, Some(q)));
        match split_userinfo(place) {
            Some((scheme, user, rest)) => write!(f, "{scheme}://{user}:[redacted]@{rest}")?,
            None => f.write_str(place)?,
        }
        for (i, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
            let shown = if pair.starts_with("password=") { "password=[redacted]" } else { pair };
            write!(f, "{}{shown}", if i == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

/// Splits a URL around its password, if any. The last `@` ends the password, whatever it contains.
fn split_userinfo(place: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = place.split_once("://")?;
    let (userinfo, rest) = rest.rsplit_once('@')?;
    let (user, _password) = userinfo.split_once(':')?;
    Some((scheme, user, rest))
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
