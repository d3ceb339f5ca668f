//! The example of `BlueCat` Gateway's `UserSession`, ported: a service that answers with the DNS servers of the Micetro that its
//! user is logged in to. It never sees their password.
//!
//! In Gateway, a workflow takes the authenticated client from `g.user`:
//!
//! ```python
//! @route(app, "/example/servers")
//! def get_servers():
//!     data = get_micetro_servers(g.user.micetro_api.v2)
//!     return jsonify(data)
//! ```
//!
//! Here the user's token (UST) comes with the request, and the session is made of it:
//!
//! ```console
//! $ LANYARD_CALLER_KEY=lyk1_... cargo run -p lanyard-client --example micetro_servers
//! $ curl -H "Authorization: Bearer $LANYARD_UST" http://127.0.0.1:8000/example/servers
//! ```

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lanyard_client::{Client, CorrelationLayer, Error, MicetroClient, MicetroError, Ust};
use serde_json::Value;
use tracing::Instrument as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Implemented using the Micetro REST API, whose version 2 has no `/servers`, but servers of DNS and of DHCP.
async fn get_micetro_servers(client: &MicetroClient) -> Result<Value, MicetroError> {
    let data = client.http_get("/dnsServers").param("sortBy", "name").await?;
    Ok(data.into_value())
}

/// `/example/servers`
async fn get_servers(State(lanyard): State<Client>, headers: HeaderMap) -> Result<Response, Refusal> {
    let user = lanyard.user_session(&token(&headers)?).await?;
    async {
        tracing::info!(micetro = user.micetro_url(), "asking for the servers");
        let data = get_micetro_servers(&user.micetro_api().v2()).await?;
        Ok(([(header::CONTENT_TYPE, "application/json")], data.to_string()).into_response())
    }
    .instrument(user.logger())
    .await
}

fn token(headers: &HeaderMap) -> Result<Ust, Refusal> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
    token
        .map(Ust::from)
        .ok_or_else(|| Refusal(StatusCode::UNAUTHORIZED, "Authorization: Bearer <UST>, please".to_owned()))
}

/// Why there is no answer. The errors name their correlation ID, and hold no secret.
struct Refusal(StatusCode, String);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = if error.is_session_invalid() { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_GATEWAY };
        Self(status, error.to_string())
    }
}

impl From<MicetroError> for Refusal {
    fn from(error: MicetroError) -> Self {
        let status = match &error {
            error if error.is_unauthenticated() => StatusCode::UNAUTHORIZED,
            error if error.is_access_denied() => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_GATEWAY,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::registry().with(LevelFilter::INFO).with(fmt::layer()).with(CorrelationLayer).init();
    let endpoint = setting("LANYARD_ENDPOINT", "http://127.0.0.1:50051");
    let key = setting("LANYARD_CALLER_KEY", "");
    let lanyard = Client::builder(endpoint).api_key(key).connect().await?;

    let app = Router::new().route("/example/servers", get(get_servers)).with_state(lanyard);
    let listener = tokio::net::TcpListener::bind(setting("LISTEN", "127.0.0.1:8000")).await?;
    println!("http://{}/example/servers", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program of its own")]
fn setting(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}
