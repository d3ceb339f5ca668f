//! Runs the work of a handler in the background.

use std::any::Any;

use futures::future::BoxFuture;
use opentelemetry::trace::FutureExt;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::app::{App, Context};
use crate::error::{Error, Result};

/// Implements all services. The work runs on a runtime of its own, where it waits for the database: the threads that
/// serve connections never do.
#[derive(Clone)]
pub struct Handler {
    app: App,
    background: tokio::runtime::Handle,
}

impl Handler {
    /// Runs everything that the cache cannot answer on `background`.
    pub fn new(app: App, background: tokio::runtime::Handle) -> Self {
        Self { app, background }
    }

    pub(crate) const fn app(&self) -> &App {
        &self.app
    }

    /// Runs an operation in the background. Cancelling the call (deadline, disconnected client) cancels it too, but a
    /// transaction that has begun runs to its end.
    pub(crate) async fn run<M, T, F>(&self, request: Request<M>, verb: impl FnOnce(App, Context, M) -> F) -> Reply<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (context, message) = open(request)?;
        let answer = self.in_background(|app| verb(app, context, message)).await?;
        Ok(Response::new(answer))
    }

    /// As [`Self::run`], for a request that was decoded already.
    pub(crate) fn in_background<T, F>(
        &self,
        work: impl FnOnce(App) -> F,
    ) -> impl Future<Output = Result<T>> + Send + 'static
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (work, (answer, answered)) = (work(self.app.clone()), oneshot::channel());
        // Boxed, so that the runtime's task code is compiled only once.
        let work: BoxFuture<'static, ()> = Box::pin(async move {
            // Drops the work and ends its spans before the call is answered.
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

/// The response of a handler.
pub(crate) type Reply<T> = std::result::Result<Response<T>, Status>;

/// The context that the pipeline attached, and the message.
fn open<M>(request: Request<M>) -> Result<(Context, M)> {
    let (_, mut extensions, message) = request.into_parts();
    let context = extensions.remove::<Context>().ok_or_else(|| Error::internal("a call without a context"))?;
    Ok((context, message))
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl AbortOnDrop {
    /// The panic of a task that sent no answer.
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
