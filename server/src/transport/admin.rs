//! The admin port: plaintext HTTP with `/metrics` for Prometheus, and health for probes that do not speak gRPC.
//! `/livez`: the process runs. `/readyz`: it accepts calls, and its database answers. `/healthz`: it accepts calls.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::pipeline::HealthState;
use crate::stop::Stop;
use crate::telemetry::metrics::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The bound admin port.
pub struct Admin {
    socket: TcpListener,
    addr: SocketAddr,
}

impl Admin {
    /// With port 0 the system picks one; see [`Self::addr`].
    pub async fn bind(listen: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpListener::bind(listen).await?;
        let addr = socket.local_addr()?;
        Ok(Self { socket, addr })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until a hard stop, or until it is dropped: a draining server is still scraped.
    pub async fn serve(
        self,
        metrics: Metrics,
        health: watch::Receiver<HealthState>,
        stop: Stop,
    ) -> std::io::Result<()> {
        let pages = Router::new()
            .route("/metrics", get(async move || ([(CONTENT_TYPE, OPEN_METRICS)], metrics.text())))
            .route("/livez", get(async || "alive\n"))
            .route("/readyz", get(readyz).with_state(health.clone()))
            .route("/healthz", get(healthz).with_state(health));
        axum::serve(self.socket, pages).with_graceful_shutdown(async move { stop.asked_hard().await }).await
    }
}

async fn healthz(State(health): State<watch::Receiver<HealthState>>) -> impl IntoResponse {
    page(health.borrow().is_serving, "serving\n", "not serving\n")
}

async fn readyz(State(health): State<watch::Receiver<HealthState>>) -> impl IntoResponse {
    let state = *health.borrow();
    page(state.is_ready(), "ready\n", if state.is_serving { "the database does not answer\n" } else { "not serving\n" })
}

fn page(is_good: bool, good: &'static str, bad: &'static str) -> (StatusCode, &'static str) {
    if is_good { (StatusCode::OK, good) } else { (StatusCode::SERVICE_UNAVAILABLE, bad) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::pipeline::Health;

    /// The response to a GET.
    async fn get_page(addr: SocketAddr, path: &str) -> String {
        let mut socket = TcpStream::connect(addr).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("a request");
        let mut page = String::new();
        socket.read_to_string(&mut page).await.expect("an answer");
        page
    }

    #[tokio::test]
    async fn it_shows_metrics_and_health_until_a_hard_stop() {
        let admin = Admin::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let (addr, health, stop) = (admin.addr(), Health::new().await, Stop::new());
        let running = tokio::spawn(admin.serve(Metrics::new(), health.state(), stop.clone()));
        let status = async |path| get_page(addr, path).await[9..12].to_owned();
        let statuses = async || [status("/livez").await, status("/healthz").await, status("/readyz").await];
        assert_eq!(statuses().await, ["200", "503", "503"]);
        health.set_serving(true).await;
        assert_eq!(statuses().await, ["200", "200", "200"]);
        health.set_database_answers(false).await;
        assert_eq!(statuses().await, ["200", "200", "503"]);
        health.set_database_answers(true).await;
        assert_eq!(statuses().await, ["200", "200", "200"]);
        stop.softly();
        let page = get_page(addr, "/metrics").await;
        assert!(page.contains("lanyard_build_info{version=") && page.contains(OPEN_METRICS), "{page}");
        assert!(get_page(addr, "/").await.starts_with("HTTP/1.1 404"));
        stop.hard();
        running.await.expect("a task").expect("it served");
    }
}
