//! How a client comes to be.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::client::{Client, Shared};
use crate::retry::{RetryBudget, RetryPolicy};
use crate::v1::ClientInfo;

const DEFAULT_DEADLINE: Duration = Duration::from_secs(2);
/// Later than any call; keeps sums of times within their range.
pub(crate) const LONGEST_DEADLINE: Duration = Duration::from_hours(24);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds a [`Client`]; begin with [`Client::builder`].
#[must_use = "a builder does nothing before connect"]
pub struct ClientBuilder {
    endpoint: String,
    api_key: Option<SecretString>,
    identity: Option<Identity>,
    ca: Option<Certificate>,
    server_name: Option<String>,
    client_info: Option<ClientInfo>,
    deadline: Duration,
    retry: RetryPolicy,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The endpoint is no address of a server.
    #[error("the endpoint must be http://host:port or https://host:port")]
    Endpoint,
    /// The key has characters that cannot be sent. It is not repeated here.
    #[error("the API key holds characters that no key has")]
    ApiKey,
    /// A certificate, an authority or a server name was given for a connection without TLS.
    #[error("certificates need an https:// endpoint")]
    TlsWithoutHttps,
    /// A certificate, its key or an authority cannot be used.
    #[error("the TLS settings cannot be used")]
    Tls(#[source] tonic::transport::Error),
    /// The server cannot be reached.
    #[error("the server cannot be reached")]
    Unreachable(#[source] tonic::transport::Error),
    /// The server did not take the connection in time.
    #[error("the server did not take the connection within {} seconds", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
}

impl ClientBuilder {
    pub(crate) fn new(endpoint: String) -> Self {
        Self {
            endpoint,
            api_key: None,
            identity: None,
            ca: None,
            server_name: None,
            client_info: None,
            deadline: DEFAULT_DEADLINE,
            retry: RetryPolicy::default(),
        }
    }

    /// The key by which Lanyard knows the calling service (`lyk1_...`).
    pub fn api_key(mut self, key: impl Into<SecretString>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// The certificate, with its chain, by which Lanyard knows the calling service, and its private key; both PEM.
    pub fn identity(mut self, certificate_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Self {
        self.identity = Some(Identity::from_pem(certificate_pem, key_pem));
        self
    }

    /// The authority that signed the server's certificate, PEM. Without it the system's authorities count.
    pub fn ca(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.ca = Some(Certificate::from_pem(pem));
        self
    }

    /// The name in the server's certificate, where it is not the host of the endpoint.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The app in which the users act, for all calls that do not say otherwise.
    pub fn current_app(mut self, app: impl Into<String>) -> Self {
        self.client_info.get_or_insert_default().current_app = app.into();
        self
    }

    /// How long a call may take with all its attempts; at most a day. Default: 2 seconds.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How reads are tried again. Default: [`RetryPolicy::default`].
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Connects, and fails if the server cannot be reached.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let endpoint = self.endpoint()?;
        let channel = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await;
        self.over(channel.map_err(|_| ConnectError::TimedOut)?.map_err(ConnectError::Unreachable)?)
    }

    /// Connects with the first call. Must be called inside a tokio runtime.
    pub fn connect_lazy(self) -> Result<Client, ConnectError> {
        let channel = self.endpoint()?.connect_lazy();
        self.over(channel)
    }

    /// Uses a channel that was made elsewhere: balanced over several replicas, or over a connection of another kind. Its
    /// own settings count; endpoint, certificates and authorities given here do not.
    pub fn over(self, channel: Channel) -> Result<Client, ConnectError> {
        let authorization = self.api_key.as_ref().map(bearer).transpose()?;
        let shared = Shared {
            channel,
            authorization,
            retry: self.retry,
            budget: RetryBudget::full(),
            #[cfg(feature = "micetro")]
            micetro: crate::micetro::HttpClients::default(),
        };
        Ok(Client {
            shared: Arc::new(shared),
            info: self.client_info.map(Arc::new),
            correlation_id: None,
            deadline: self.deadline,
        })
    }

    fn endpoint(&self) -> Result<Endpoint, ConnectError> {
        let endpoint = Endpoint::from_shared(self.endpoint.clone()).map_err(|_| ConnectError::Endpoint)?;
        let endpoint = endpoint
            .user_agent(concat!("lanyard-client/", env!("CARGO_PKG_VERSION")))
            .map_err(|_| ConnectError::Endpoint)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        match endpoint.uri().scheme_str() {
            Some("https") => endpoint.tls_config(self.tls()).map_err(ConnectError::Tls),
            // Never in the clear what was meant to be encrypted.
            Some("http") if self.wants_tls() => Err(ConnectError::TlsWithoutHttps),
            Some("http") => Ok(endpoint),
            _ => Err(ConnectError::Endpoint),
        }
    }

    fn wants_tls(&self) -> bool {
        self.identity.is_some() || self.ca.is_some() || self.server_name.is_some()
    }

    fn tls(&self) -> ClientTlsConfig {
        let mut tls = match &self.ca {
            Some(ca) => ClientTlsConfig::new().ca_certificate(ca.clone()),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some(identity) = &self.identity {
            tls = tls.identity(identity.clone());
        }
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        tls
    }
}

fn bearer(key: &SecretString) -> Result<MetadataValue<Ascii>, ConnectError> {
    let key = key.expose_secret();
    let value = format!("Bearer {key}").parse::<MetadataValue<Ascii>>();
    let mut value =
        value.ok().filter(|_| key.bytes().all(|byte| byte.is_ascii_graphic())).ok_or(ConnectError::ApiKey)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for ClientBuilder {
    /// By hand: an `Identity` prints its private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("endpoint", &self.endpoint)
            .field("client_info", &self.client_info)
            .field("deadline", &self.deadline)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(builder: ClientBuilder) -> ConnectError {
        builder.connect_lazy().expect_err("must be refused")
    }

    #[tokio::test]
    async fn debug_of_builder_and_client_shows_neither_key_nor_certificate() {
        let builder = Client::builder("http://127.0.0.1:1").api_key("lyk1_secret");
        let with_identity = Client::builder("https://127.0.0.1:1").identity("cert", "private");
        let shown = format!("{builder:?} {with_identity:?} {:?}", builder_client());
        // The bytes of "private" as a derived Debug would show them.
        for secret in ["lyk1", "secret", "private", "112, 114, 105"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    fn builder_client() -> Client {
        let client = Client::builder("http://127.0.0.1:1").api_key("lyk1_secret").connect_lazy().unwrap();
        assert_eq!(client.shared.authorization.as_ref().unwrap(), "Bearer lyk1_secret");
        client
    }

    #[tokio::test]
    async fn what_is_no_endpoint_is_refused() {
        for endpoint in ["", "127.0.0.1:50051", "ftp://127.0.0.1", "http://", "not an address"] {
            let error = refusal(Client::builder(endpoint));
            assert!(matches!(error, ConnectError::Endpoint), "{endpoint}: {error:?}");
        }
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_sent_is_refused_and_not_repeated() {
        for key in ["secret\n", "se cret", "secrét"] {
            let error = refusal(Client::builder("http://127.0.0.1:1").api_key(key));
            assert!(matches!(error, ConnectError::ApiKey));
            assert!(!format!("{error} {error:?}").contains("se"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn certificates_are_never_forgotten_on_a_connection_in_the_clear() {
        let plain = || Client::builder("http://127.0.0.1:1");
        for builder in [plain().ca("pem"), plain().identity("cert", "key"), plain().server_name("lanyard")] {
            assert!(matches!(refusal(builder), ConnectError::TlsWithoutHttps));
        }
        let broken = Client::builder("https://127.0.0.1:1").ca("pem").identity("cert", "key");
        assert!(matches!(refusal(broken), ConnectError::Tls(_)));
    }
}
