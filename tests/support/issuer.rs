//! The URL of an issuer's JWK set, on a server that can also behave badly.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What it answers.
#[derive(Clone, Debug)]
pub enum Answer {
    Body(String),
    Html,
    Status(u16),
    /// A redirect to this path of its own, where good keys are.
    Redirect,
    /// More bytes than anybody wants, all of them white space before a good set.
    Huge(usize),
    /// Nothing, for ever.
    Silence,
}

#[derive(Clone)]
struct Shared {
    answer: Arc<Mutex<(Answer, String)>>,
    asked: Arc<AtomicUsize>,
}

/// A server that runs until it is dropped.
pub struct Issuer {
    pub url: String,
    shared: Shared,
    running: JoinHandle<()>,
}

impl Issuer {
    /// One that answers with this set.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn new(set: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let answer = Arc::new(Mutex::new((Answer::Body(set.clone()), set)));
        let shared = Shared { answer, asked: Arc::default() };
        let router = Router::new().fallback(answer_to).with_state(shared.clone());
        let running = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { url, shared, running }
    }

    /// Goes on with another answer.
    ///
    /// # Panics
    /// Never.
    pub fn answers(&self, answer: Answer) {
        let mut now = self.shared.answer.lock().expect("nobody panics with it");
        if let Answer::Body(set) = &answer {
            now.1.clone_from(set);
        }
        now.0 = answer;
    }

    /// How often it was asked so far.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Goes away: connections are refused from now on.
    pub async fn goes_down(&mut self) {
        self.running.abort();
        let _ = (&mut self.running).await;
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn answer_to(State(shared): State<Shared>, uri: axum::http::Uri) -> Response {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let (answer, set) = shared.answer.lock().expect("nobody panics with it").clone();
    if uri.path() == "/elsewhere" {
        return set.into_response();
    }
    match answer {
        Answer::Body(body) => body.into_response(),
        Answer::Html => "<!doctype html><title>Log in</title>".into_response(),
        Answer::Status(code) => (StatusCode::from_u16(code).expect("a status"), set).into_response(),
        Answer::Redirect => {
            let location = [(header::LOCATION, HeaderValue::from_static("/elsewhere"))];
            (StatusCode::FOUND, location, set).into_response()
        }
        Answer::Huge(length) => format!("{}{set}", " ".repeat(length)).into_response(),
        Answer::Silence => std::future::pending().await,
    }
}
