//! The client, and the client on behalf of a user.

use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use crate::builder::ClientBuilder;
use crate::correlation::CorrelationId;
use crate::error::Error;
use crate::retry::{RetryBudget, RetryPolicy};
use crate::rpc::{ActingRequest, Rpc};
use crate::token::Ust;
use crate::v1::ClientInfo;

/// A connection to Lanyard. Clones are cheap and share the connection and the retry budget.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    /// Where the user is.
    pub(crate) info: Option<Arc<ClientInfo>>,
    pub(crate) correlation_id: Option<CorrelationId>,
    pub(crate) deadline: Duration,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) channel: Channel,
    /// Marked sensitive: its `Debug` shows nothing of it.
    pub(crate) authorization: Option<MetadataValue<Ascii>>,
    pub(crate) retry: RetryPolicy,
    pub(crate) budget: RetryBudget,
    #[cfg(feature = "micetro")]
    pub(crate) micetro: crate::micetro::HttpClients,
}

impl Client {
    /// Begins a client of the server at `endpoint`: `http://host:port` or `https://host:port`.
    pub fn builder(endpoint: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(endpoint.into())
    }

    /// The same client for a user who is elsewhere. Where `current_app` is empty, the one so far stays.
    #[must_use]
    pub fn with_client_info(&self, mut client_info: ClientInfo) -> Self {
        if let Some(so_far) = &self.info
            && client_info.current_app.is_empty()
        {
            client_info.current_app.clone_from(&so_far.current_app);
        }
        Self { info: Some(Arc::new(client_info)), ..self.clone() }
    }

    /// The same client with a correlation ID for all its calls; it goes before the one of the current span.
    #[must_use]
    pub fn with_correlation_id(&self, correlation_id: CorrelationId) -> Self {
        Self { correlation_id: Some(correlation_id), ..self.clone() }
    }

    /// The same client with another deadline.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// The client on behalf of the user whose token this is.
    pub fn on_behalf_of(&self, ust: &Ust) -> Subject {
        Subject { client: self.clone(), ust: ust.clone() }
    }

    /// Sends any request of the contract and gives the whole answer. `client` is filled in if it is absent; `ust` is
    /// sent as it is: see [`Subject::call`].
    pub async fn call<R: Rpc>(&self, request: R) -> Result<R::Answer, Error> {
        self.call_as(&self.id_of_call(), request).await
    }

    /// A call that must have `part` of its answer.
    pub(crate) async fn call_for<R: Rpc, T>(
        &self,
        request: R,
        missing: &'static str,
        part: impl FnOnce(R::Answer) -> Option<T>,
    ) -> Result<T, Error> {
        let correlation_id = self.id_of_call();
        let answer = self.call_as(&correlation_id, request).await?;
        part(answer).ok_or_else(|| Error::incomplete_answer(missing, &correlation_id))
    }

    /// The ID that a call made here and now has.
    pub(crate) fn id_of_call(&self) -> CorrelationId {
        self.correlation_id.clone().or_else(CorrelationId::current).unwrap_or_else(CorrelationId::generate)
    }
}

/// A user on whose behalf the service acts: a [`Client`] and the user's token. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Subject {
    pub(crate) client: Client,
    pub(crate) ust: Ust,
}

impl Subject {
    /// Sends any acting request of the contract with the user's token and gives the whole answer.
    pub async fn call<R: ActingRequest>(&self, request: R) -> Result<R::Answer, Error> {
        self.client.call(self.sign(request)).await
    }

    pub(crate) async fn call_for<R: ActingRequest, T>(
        &self,
        request: R,
        missing: &'static str,
        part: impl FnOnce(R::Answer) -> Option<T>,
    ) -> Result<T, Error> {
        self.client.call_for(self.sign(request), missing, part).await
    }

    pub(crate) fn sign<R: ActingRequest>(&self, mut request: R) -> R {
        self.ust.expose().clone_into(request.ust_mut());
        request
    }
}
