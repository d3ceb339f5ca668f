//! How a handler hands its work to `app`.

use std::any::Any;

use opentelemetry::trace::FutureExt;
use tonic::{Request, Response, Status};

use crate::app::{App, Context};
use crate::error::{Error, Result};

/// The handlers of all services. They hold nothing but the rules and the runtime on which those wait for the database: the
/// threads that serve connections never do.
#[derive(Clone)]
pub struct Handler {
    app: App,
    background: tokio::runtime::Handle,
}

impl Handler {
    /// Runs on `background` what cannot be answered from memory.
    pub fn new(app: App, background: tokio::runtime::Handle) -> Self {
        Self { app, background }
    }

    pub(crate) const fn app(&self) -> &App {
        &self.app
    }

    /// Runs a verb in the background. When the call is given up (its deadline passed, its client went away), so is the verb;
    /// a transaction that has begun runs to its end.
    pub(crate) async fn run<M, T, F>(&self, request: Request<M>, verb: impl FnOnce(App, Context, M) -> F) -> Reply<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (context, message) = open(request)?;
        let answer = self.in_background(|app| verb(app, context, message)).await?;
        Ok(Response::new(answer))
    }

    /// The same for work whose request was read already.
    pub(crate) fn in_background<T, F>(
        &self,
        work: impl FnOnce(App) -> F,
    ) -> impl Future<Output = Result<T>> + Send + 'static
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let running = tracing::Instrument::in_current_span(work(self.app.clone())).with_current_context();
        let task = AbortOnDrop(self.background.spawn(running));
        async move {
            match task.finish().await {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    }
}

/// What a handler answers.
pub(crate) type Reply<T> = std::result::Result<Response<T>, Status>;

/// What the layers left with the request, and the message.
fn open<M>(request: Request<M>) -> Result<(Context, M)> {
    let (_, mut extensions, message) = request.into_parts();
    let context = extensions.remove::<Context>().ok_or_else(|| Error::internal("a call without a context"))?;
    Ok((context, message))
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn finish(mut self) -> std::result::Result<T, Box<dyn Any + Send>> {
        (&mut self.0).await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => panic,
            Err(_) => Box::new("a task was cancelled"),
        })
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
