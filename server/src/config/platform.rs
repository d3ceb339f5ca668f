//! Platforms: third-party servers that sessions may be logged in to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use serde::{Deserialize, Serialize};

/// One section `[platforms.NAME]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    pub kind: PlatformKind,
    pub url: PlatformUrl,
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(default)]
    pub allow_http: bool,
    pub ca_file: Option<PathBuf>,
    #[serde(default)]
    pub credential: CredentialMode,
    #[serde(default)]
    pub keep_password: bool,
    #[serde(default = "default_prefix")]
    pub required_role_prefix: String,
    #[serde(default)]
    pub users: PlatformUsers,
    #[serde(default)]
    pub super_users: bool,
    #[serde(default)]
    pub expiry: PlatformExpiry,
    #[serde(default, with = "humantime_serde")]
    pub expires_after: Option<Duration>,
    #[serde(default = "default_auth_valid_for", with = "humantime_serde")]
    pub auth_valid_for: Duration,
    #[serde(default = "default_connect_timeout", with = "humantime_serde")]
    pub connect_timeout: Duration,
    #[serde(default = "default_timeout", with = "humantime_serde")]
    pub timeout: Duration,
    #[serde(default = "default_max_response_bytes")]
    pub max_response_bytes: usize,
    #[serde(default = "default_max_attempts")]
    pub max_attempts: u32,
    #[serde(default = "default_max_idle_connections")]
    pub max_idle_connections: usize,
    #[serde(default = "default_idle_connection_timeout", with = "humantime_serde")]
    pub idle_connection_timeout: Duration,
}

/// The product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlatformKind {
    Micetro,
}

/// The credential of calls after the login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialMode {
    #[default]
    Bearer,
    Basic,
}

/// Who may log in with a platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlatformUsers {
    #[default]
    MustExist,
    Create,
}

/// When a session of a platform ends, besides the limits of its app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlatformExpiry {
    #[default]
    None,
    Fixed,
    Activity,
}

/// The base URL of a platform, as configured; [`Self::origin`] parses it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct PlatformUrl(String);

/// A parsed base URL: scheme, host in lower case and the port, if it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    is_https: bool,
    /// An IPv6 address without its brackets.
    host: String,
    port: Option<u16>,
}

impl Platform {
    /// A platform of kind `micetro`, with defaults.
    ///
    /// # Panics
    /// Never: every other key has a default, which a test loads.
    pub fn at(url: &str) -> Self {
        let url = toml::Value::String(url.to_owned());
        toml::from_str(&format!("kind = 'micetro'\nurl = {url}")).expect("every other key has a default")
    }
}

impl PlatformUrl {
    /// Parses the URL; `Err` says what is wrong.
    pub fn origin(&self) -> Result<Origin, &'static str> {
        let uri: Uri = self.0.parse().map_err(|_| NO_URL)?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(NO_URL),
        };
        let authority = uri.authority().ok_or(NO_URL)?;
        if authority.as_str().contains('@') {
            return Err("must not have a username or password");
        }
        if uri.path() != "/" || uri.query().is_some() || self.0.contains('#') {
            return Err("must be scheme, host and port only, without a path");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_lowercase();
        if host.is_empty() {
            return Err(NO_URL);
        }
        let port = authority.as_str().strip_prefix(authority.host()).and_then(|rest| rest.strip_prefix(':'));
        let port = port.map(|port| port.parse().ok().filter(|port| *port != 0).ok_or("has no usable port"));
        Ok(Origin { is_https, host, port: port.transpose()? })
    }
}

const NO_URL: &str = "must be a URL that begins with https:// or http://";

impl Origin {
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, given or default.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.is_https { 443 } else { 80 })
    }

    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Whether traffic stays on this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_https { "https://" } else { "http://" })?;
        let is_ipv6 = self.host.contains(':');
        if is_ipv6 { write!(f, "[{}]", self.host) } else { f.write_str(&self.host) }?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn default_prefix() -> String {
    "GW_".to_owned()
}

const fn default_auth_valid_for() -> Duration {
    Duration::from_mins(1)
}

const fn default_connect_timeout() -> Duration {
    Duration::from_secs(2)
}

const fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

const fn default_max_response_bytes() -> usize {
    1024 * 1024
}

const fn default_max_attempts() -> u32 {
    3
}

const fn default_max_idle_connections() -> usize {
    8
}

const fn default_idle_connection_timeout() -> Duration {
    Duration::from_mins(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Result<String, &'static str> {
        Platform::at(url).url.origin().map(|origin| origin.to_string())
    }

    #[test]
    fn a_url_is_scheme_host_and_the_port_that_was_written() {
        for (url, canonical) in [
            ("https://micetro.example.com", "https://micetro.example.com"),
            ("https://Micetro.Example.COM/", "https://micetro.example.com"),
            ("HTTPS://micetro.example.com:443", "https://micetro.example.com:443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://[2001:DB8::7]:8443", "https://[2001:db8::7]:8443"),
            ("https://[::1]", "https://[::1]"),
        ] {
            assert_eq!(origin(url).as_deref(), Ok(canonical));
        }
        let six = Platform::at("https://[::1]:1").url.origin().unwrap();
        assert_eq!((six.host(), six.is_loopback()), ("::1", true));
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for url in ["", "micetro.example.com", "ftp://host", "https://", "//host", "https://host:0", "https://host:"] {
            assert!(origin(url).is_err(), "{url}");
        }
        for url in
            ["https://host/mmws", "https://host?x=1", "https://host/#x", "https://user:pw@host", "https://u@host"]
        {
            assert!(origin(url).unwrap_err().starts_with("must "), "{url}");
        }
    }
}
