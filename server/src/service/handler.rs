//! How a handler hands its work to `app`.

use std::any::Any;

use futures::future::BoxFuture;
use opentelemetry::trace::FutureExt;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};
use tracing::Instrument;

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
        let (work, (answer, answered)) = (work(self.app.clone()), oneshot::channel());
        // Of one type, whatever the verb: the runtime's code for tasks is compiled once.
        let work: BoxFuture<'static, ()> = Box::pin(async move {
            // The work is gone, and its spans have ended, before anybody can answer the call.
            let outcome = work.await;
            let _ = answer.send(outcome);
        });
        let task = AbortOnDrop(self.background.spawn(work.in_current_span().with_current_context()));
        async move {
            match answered.await {
                Ok(outcome) => outcome,
                Err(_) => std::panic::resume_unwind(task.panic().await),
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

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl AbortOnDrop {
    /// What the task panicked with, which left no answer.
    async fn panic(mut self) -> Box<dyn Any + Send> {
        let ended = (&mut self.0).await.err().and_then(|error| error.try_into_panic().ok());
        ended.unwrap_or_else(|| Box::new("a task was cancelled"))
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
