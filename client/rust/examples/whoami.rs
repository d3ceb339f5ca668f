//! `GET /whoami` says whose session it is and how many accounts are linked to them, and asks the next service the same: one
//! correlation ID and one trace go through all.
//!
//! ```console
//! $ NEXT=http://127.0.0.1:8001 LANYARD_CALLER_KEY=lyk1_... cargo run -p lanyard-client --example whoami
//! $ lanyard session login --username demo    # shows a token
//! $ curl -H "Authorization: Bearer $LANYARD_UST" -H "X-Correlation-ID: order-4711" http://127.0.0.1:8000/whoami
//! {"correlation_id":"order-4711","language":"rust","links":1,"next":{...},"username":"demo"}
//! ```
//!
//! `LISTEN`, `LANYARD_ENDPOINT` and `NEXT` say where it, Lanyard and the next service are. Spans go to
//! `OTEL_EXPORTER_OTLP_ENDPOINT`, if that is set.

use std::collections::HashMap;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use lanyard_client::{Client, CorrelationId, CorrelationLayer, Error, Ust, Verdict};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::{Value, json};
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

const CORRELATION_ID: &str = "x-correlation-id";

#[derive(Clone)]
struct Service {
    lanyard: Client,
    next: Option<String>,
}

/// `/whoami`, in a span that goes on with the trace of who asks.
async fn whoami(State(service): State<Service>, headers: HeaderMap) -> Result<Response, Refusal> {
    let id = text(&headers, CORRELATION_ID).and_then(|id| id.parse().ok()).unwrap_or_else(CorrelationId::generate);
    let span = tracing::info_span!("GET /whoami", otel.kind = "server", correlation_id = %id);
    let sent = headers.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
    // Who is not traced has no parent for it.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&sent.collect::<HashMap<_, _>>()));
    let answer = service.answer(&headers, &id).instrument(span).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response())
}

impl Service {
    async fn answer(&self, headers: &HeaderMap, id: &CorrelationId) -> Result<Value, Refusal> {
        let token = text(headers, "authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let ust = Ust::from(token);
        let Verdict::Active(session) = self.lanyard.verify(&ust).await? else {
            return Err(Refusal(StatusCode::UNAUTHORIZED, "log in again".to_owned()));
        };
        let links = self.lanyard.on_behalf_of(&ust).get_linked_auth_list(None).await?;
        let mut answer = json!({
            "language": "rust",
            "username": session.username,
            "correlation_id": id.as_str(),
            "links": links.len(),
        });
        if let Some(next) = &self.next {
            answer["next"] =
                ask(next, &ust, id).await.map_err(|why| Refusal(StatusCode::BAD_GATEWAY, why.to_string()))?;
        }
        Ok(answer)
    }
}

/// What the next service says of the same user, under the same correlation ID, in the same trace.
async fn ask(next: &str, ust: &Ust, id: &CorrelationId) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let mut trace = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut trace);
    let mut request = Request::get(format!("{next}/whoami"))
        .header(header::AUTHORIZATION, format!("Bearer {}", ust.expose()))
        .header(CORRELATION_ID, id.as_str());
    for (name, value) in &trace {
        request = request.header(name, value);
    }
    let http = HttpClient::builder(TokioExecutor::new()).build_http::<Empty<axum::body::Bytes>>();
    let answer = http.request(request.body(Empty::new())?).await?;
    if !answer.status().is_success() {
        return Err(format!("the next service answered {}", answer.status()).into());
    }
    Ok(serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Why there is no answer. The errors of Lanyard name their correlation ID, and hold no secret.
struct Refusal(StatusCode, String);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(StatusCode::BAD_GATEWAY, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

/// Spans go where the environment says, if it says so.
fn tracing(is_exported: bool) -> Result<SdkTracerProvider, Box<dyn std::error::Error>> {
    let mut provider = SdkTracerProvider::builder();
    if is_exported {
        provider = provider.with_batch_exporter(opentelemetry_otlp::SpanExporter::builder().with_tonic().build()?);
    }
    let provider = provider.build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("whoami"));
    tracing_subscriber::registry().with(CorrelationLayer).with(spans).init();
    Ok(provider)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = tracing(setting("OTEL_EXPORTER_OTLP_ENDPOINT").is_some())?;
    let endpoint = setting("LANYARD_ENDPOINT").unwrap_or_else(|| "http://127.0.0.1:50051".to_owned());
    let lanyard =
        Client::builder(endpoint).api_key(setting("LANYARD_CALLER_KEY").unwrap_or_default()).connect().await?;
    let service = Service { lanyard, next: setting("NEXT") };

    let listen = setting("LISTEN").unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("http://{}/whoami", listener.local_addr()?);
    let app = Router::new().route("/whoami", get(whoami)).with_state(service);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stop = async move {
        terminate.recv().await;
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    provider.shutdown()?; // what is not sent yet is sent
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program of its own")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
