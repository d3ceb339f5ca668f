//! A server that does as it is told and remembers what it was asked.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use hyper_util::rt::TokioIo;
use lanyard_client::Channel;
use lanyard_client::v1::session_service_server::{SessionService, SessionServiceServer};
use lanyard_client::v1::*;
use tokio::io::{DuplexStream, copy_bidirectional, duplex};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};
use tower::service_fn;

const BUFFER: usize = 64 * 1024;

/// What the server does with a call. With nothing left to do it gives an empty answer.
enum Step {
    Answer(Box<dyn Any + Send>),
    Refuse(Status),
    /// Never answer.
    Hang,
    /// Break the connection under the call.
    Break,
}

struct Asked {
    metadata: MetadataMap,
    request: Box<dyn Any + Send>,
}

#[derive(Clone, Default)]
pub(crate) struct Fake {
    script: Arc<Mutex<VecDeque<Step>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Fake {
    /// A server, and a channel to it.
    pub(crate) fn start() -> (Self, Channel) {
        let fake = Self::default();
        let (accept, accepted) = mpsc::unbounded_channel();
        let incoming = UnboundedReceiverStream::new(accepted).map(Ok::<DuplexStream, io::Error>);
        tokio::spawn(Server::builder().add_service(fake.service()).serve_with_incoming(incoming));

        let connections = fake.connections.clone();
        let connector = service_fn(move |_| {
            let (client, mut near) = duplex(BUFFER);
            let (mut far, server) = duplex(BUFFER);
            let wire = tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
            connections.lock().unwrap().push(wire.abort_handle());
            let accepted = accept.send(server).map_err(io::Error::other);
            async move { accepted.map(|()| TokioIo::new(client)) }
        });
        (fake, Endpoint::from_static("http://fake").connect_with_connector_lazy(connector))
    }

    pub(crate) fn service(&self) -> SessionServiceServer<Self> {
        SessionServiceServer::new(self.clone())
    }

    pub(crate) fn answer(&self, answer: impl Any + Send) {
        self.then(Step::Answer(Box::new(answer)));
    }

    pub(crate) fn refuse(&self, times: usize, status: &Status) {
        (0..times).for_each(|_| self.then(Step::Refuse(status.clone())));
    }

    pub(crate) fn hang(&self) {
        self.then(Step::Hang);
    }

    pub(crate) fn break_connection(&self) {
        self.then(Step::Break);
    }

    fn then(&self, step: Step) {
        self.script.lock().unwrap().push_back(step);
    }

    pub(crate) fn times_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The metadata `key` of each call.
    pub(crate) fn metadata(&self, key: &str) -> Vec<Option<String>> {
        let text = |asked: &Asked| Some(asked.metadata.get(key)?.to_str().unwrap().to_owned());
        self.asked.lock().unwrap().iter().map(text).collect()
    }

    /// The requests of one kind.
    pub(crate) fn requests<R: Any + Clone>(&self) -> Vec<R> {
        self.asked.lock().unwrap().iter().filter_map(|asked| asked.request.downcast_ref().cloned()).collect()
    }

    async fn serve<R: Any + Send, A: Any + Default>(&self, request: Request<R>) -> Result<Response<A>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.asked.lock().unwrap().push(Asked { metadata, request: Box::new(request) });
        let step = self.script.lock().unwrap().pop_front();
        match step {
            None => Ok(Response::new(A::default())),
            Some(Step::Answer(answer)) => Ok(Response::new(*answer.downcast().expect("an answer of this RPC"))),
            Some(Step::Refuse(status)) => Err(status),
            Some(Step::Hang) => std::future::pending().await,
            Some(Step::Break) => {
                self.connections.lock().unwrap().drain(..).for_each(|wire| wire.abort());
                std::future::pending().await
            }
        }
    }
}

macro_rules! serve {
    ($($method:ident($request:ident) -> $answer:ident;)*) => {
        #[tonic::async_trait]
        impl SessionService for Fake {
            $(async fn $method(&self, request: Request<$request>) -> Result<Response<$answer>, Status> {
                self.serve(request).await
            })*
        }
    };
}

serve! {
    create_session(CreateSessionRequest) -> CreateSessionResponse;
    verify_session(VerifySessionRequest) -> VerifySessionResponse;
    batch_verify_sessions(BatchVerifySessionsRequest) -> BatchVerifySessionsResponse;
    get_session(GetSessionRequest) -> GetSessionResponse;
    list_sessions(ListSessionsRequest) -> ListSessionsResponse;
    renew_session(RenewSessionRequest) -> RenewSessionResponse;
    revoke_session(RevokeSessionRequest) -> RevokeSessionResponse;
    revoke_sessions(RevokeSessionsRequest) -> RevokeSessionsResponse;
    get_platform_auth(GetPlatformAuthRequest) -> GetPlatformAuthResponse;
}
