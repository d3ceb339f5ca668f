//! One call: its metadata, its deadline and its attempts.

use http::HeaderMap;
use lanyard_proto::CORRELATION_ID_HEADER;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Request;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::builder::LONGEST_DEADLINE;
use crate::client::Client;
use crate::correlation::{CorrelationId, inject_trace_context};
use crate::error::Error;
use crate::rpc::Rpc;

impl Client {
    pub(crate) async fn call_as<R: Rpc>(&self, id: &CorrelationId, mut request: R) -> Result<R::Answer, Error> {
        let client_info = request.client_mut();
        if client_info.is_none() {
            *client_info = self.info.as_deref().cloned();
        }
        let call =
            Call { id, metadata: self.metadata(id), deadline: Instant::now() + self.deadline.min(LONGEST_DEADLINE) };
        // The transport's own timer starts late: only when the connection stands.
        let attempts = timeout_at(call.deadline, self.attempts(&call, request));
        attempts.await.unwrap_or_else(|_| Err(Error::deadline_exceeded(id)))
    }

    /// What all attempts of a call carry.
    fn metadata(&self, id: &CorrelationId) -> MetadataMap {
        let mut headers = HeaderMap::new();
        inject_trace_context(&mut headers);
        let mut metadata = MetadataMap::from_headers(headers);
        if let Ok(value) = MetadataValue::try_from(id.as_str()) {
            metadata.insert(CORRELATION_ID_HEADER, value);
        }
        if let Some(authorization) = &self.shared.authorization {
            metadata.insert("authorization", authorization.clone());
        }
        metadata
    }

    async fn attempts<R: Rpc>(&self, call: &Call<'_>, request: R) -> Result<R::Answer, Error> {
        let (retry, budget) = (&self.shared.retry, &self.shared.budget);
        let mut failures = 0;
        loop {
            let error = match self.attempt(call, request.clone()).await {
                Ok(answer) => {
                    budget.succeeded();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if !error.is_unavailable() {
                return Err(error);
            }
            failures += 1;
            // Writes are booked too: they tell as much about the server.
            let within_budget = budget.failed();
            let wait = error.retry_after.unwrap_or_default().saturating_add(retry.backoff(failures, fastrand::f64()));
            if !R::IS_READ || failures >= retry.attempts || !within_budget || wait >= call.time_left() {
                return Err(error);
            }
            tracing::debug!(correlation_id = %call.id, %error, failures, ?wait, "trying again");
            sleep(wait).await;
        }
    }

    async fn attempt<R: Rpc>(&self, call: &Call<'_>, request: R) -> Result<R::Answer, Error> {
        let mut request = Request::from_parts(call.metadata.clone(), http::Extensions::new(), request);
        request.set_timeout(call.time_left());
        let answer = R::send(self.shared.channel.clone(), request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| Error::from_status(status, call.id))
    }
}

struct Call<'a> {
    id: &'a CorrelationId,
    metadata: MetadataMap,
    deadline: Instant,
}

impl Call<'_> {
    fn time_left(&self) -> std::time::Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}
