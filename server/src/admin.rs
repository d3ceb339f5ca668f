//! The administrator's port: plaintext HTTP with `/metrics` for Prometheus and `/healthz` for whoever cannot speak gRPC.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::stop::Stop;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A port that listens.
pub struct Admin {
    socket: TcpListener,
    addr: SocketAddr,
}

impl Admin {
    /// Port 0 is any free one, which [`Self::addr`] tells.
    pub async fn bind(listen: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpListener::bind(listen).await?;
        let addr = socket.local_addr()?;
        Ok(Self { socket, addr })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers until the server is told to stop hard, or this is dropped: while it drains, it is still looked at.
    pub async fn serve(self, metrics: Metrics, serving: watch::Receiver<bool>, stop: Stop) -> std::io::Result<()> {
        let pages = Router::new()
            .route("/metrics", get(async move || ([(CONTENT_TYPE, OPEN_METRICS)], metrics.text())))
            .route("/healthz", get(healthz).with_state(serving));
        axum::serve(self.socket, pages).with_graceful_shutdown(async move { stop.asked_hard().await }).await
    }
}

async fn healthz(State(serving): State<watch::Receiver<bool>>) -> impl IntoResponse {
    if *serving.borrow() { (StatusCode::OK, "serving\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not serving\n") }
}
