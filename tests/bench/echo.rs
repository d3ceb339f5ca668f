//! The reference: a tonic server that does nothing but answer, with the messages of `VerifySession`.

use std::net::SocketAddr;
use std::path::PathBuf;

use lanyard_proto::v1::session_service_server::{SessionService, SessionServiceServer};
use lanyard_proto::v1::{
    BatchVerifySessionsRequest, BatchVerifySessionsResponse, CreateSessionRequest, CreateSessionResponse,
    GetPlatformAuthRequest, GetPlatformAuthResponse, GetSessionRequest, GetSessionResponse, ListSessionsRequest,
    ListSessionsResponse, RenewSessionRequest, RenewSessionResponse, RevokeSessionRequest, RevokeSessionResponse,
    RevokeSessionsRequest, RevokeSessionsResponse, VerifySessionRequest, VerifySessionResponse,
};
use prost::Message;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::Result;

/// Serves the bare echo until it is killed.
#[derive(clap::Args)]
pub(crate) struct EchoArgs {
    #[arg(long)]
    listen: SocketAddr,
    /// File with the encoded `VerifySessionResponse` that answers every call.
    #[arg(long)]
    answer: PathBuf,
}

struct Echo {
    answer: VerifySessionResponse,
}

macro_rules! unimplemented_calls {
    ($($name:ident($request:ty) -> $response:ty;)*) => {
        #[tonic::async_trait]
        impl SessionService for Echo {
            async fn verify_session(
                &self,
                _request: Request<VerifySessionRequest>,
            ) -> std::result::Result<Response<VerifySessionResponse>, Status> {
                Ok(Response::new(self.answer.clone()))
            }

            $(async fn $name(&self, _: Request<$request>) -> std::result::Result<Response<$response>, Status> {
                Err(Status::unimplemented("the echo answers VerifySession only"))
            })*
        }
    };
}

unimplemented_calls! {
    create_session(CreateSessionRequest) -> CreateSessionResponse;
    batch_verify_sessions(BatchVerifySessionsRequest) -> BatchVerifySessionsResponse;
    get_session(GetSessionRequest) -> GetSessionResponse;
    list_sessions(ListSessionsRequest) -> ListSessionsResponse;
    renew_session(RenewSessionRequest) -> RenewSessionResponse;
    revoke_session(RevokeSessionRequest) -> RevokeSessionResponse;
    revoke_sessions(RevokeSessionsRequest) -> RevokeSessionsResponse;
    get_platform_auth(GetPlatformAuthRequest) -> GetPlatformAuthResponse;
}

/// One current-thread runtime, as the server has one on each core, and the echo is only measured on one.
pub(crate) fn run(args: &EchoArgs) -> Result<()> {
    let answer = VerifySessionResponse::decode(&*std::fs::read(&args.answer)?)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let incoming = TcpIncoming::bind(args.listen)?.with_nodelay(Some(true));
        Server::builder().add_service(SessionServiceServer::new(Echo { answer })).serve_with_incoming(incoming).await?;
        Ok(())
    })
}
