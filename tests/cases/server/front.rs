//! What stands before a server and disturbs the calls whose correlation ID asks for it. It speaks HTTP/2 by hand, so that
//! all else goes through as it is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use lanyard_proto::CORRELATION_ID_HEADER;
use lanyard_tests::support::raw::{Answered, Connection, Outcome, framed};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic::{Code, Status};

use crate::alter::Fault;
use crate::contract::Contract;

const FRAME_HEADER: usize = 5;

struct Front {
    server: SocketAddr,
    contract: Arc<Contract>,
    /// Of each correlation ID.
    attempts: Mutex<HashMap<String, u32>>,
}

/// Listens, and goes on until the process ends.
pub(crate) async fn start(server: SocketAddr, contract: Arc<Contract>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let front = Arc::new(Front { server, contract, attempts: Mutex::default() });
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let front = Arc::clone(&front);
            // How a connection ends is the client's affair.
            tokio::spawn(async move { front.serve(socket).await.ok() });
        }
    });
    addr
}

impl Front {
    async fn serve(self: Arc<Self>, socket: TcpStream) -> Result<(), h2::Error> {
        let mut connection = h2::server::handshake(socket).await?;
        let server = Arc::new(Connection::open(self.server).await);
        // A request that is cut off is kept until nothing is sent any more: dropped before, it would be answered, by a reset.
        let (cut, mut cut_off) = mpsc::channel(1);
        loop {
            let accepted = tokio::select! {
                accepted = connection.accept() => accepted,
                Some(_unanswered) = cut_off.recv() => return Ok(()),
            };
            let Some((request, respond)) = accepted.transpose()? else { return Ok(()) };
            let (front, server, cut) = (Arc::clone(&self), Arc::clone(&server), cut.clone());
            tokio::spawn(async move { front.answer(&server, request, respond, &cut).await });
        }
    }

    async fn answer(
        &self,
        server: &Connection,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        cut: &mpsc::Sender<SendResponse<Bytes>>,
    ) -> Result<(), h2::Error> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let id = parts.headers.get(CORRELATION_ID_HEADER).and_then(|id| id.to_str().ok()).unwrap_or_default();
        let Ok(fault) = Fault::parse(id) else {
            return refuse(&mut respond, Code::Unknown, "the front knows no such fault");
        };
        let attempt = self.count(id);
        let body = whole(body).await?;
        match fault {
            Some(Fault::Unavailable(attempts)) if attempt <= attempts => {
                return refuse(&mut respond, Code::Unavailable, "no server is there");
            }
            Some(Fault::Cut(attempts)) if attempt <= attempts => {
                cut.send(respond).await.ok();
                return Ok(());
            }
            Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
            _ => {}
        }
        match server.call(Request::from_parts(parts, ()), body).await {
            Outcome::Answered(mut answered) => {
                if let Some(fault) = fault {
                    self.alter(fault, &path, &mut answered);
                }
                send(&mut respond, *answered)
            }
            Outcome::Reset(reason) => {
                respond.send_reset(reason.unwrap_or(Reason::INTERNAL_ERROR));
                Ok(())
            }
        }
    }

    /// Which attempt of its call this is, from 1.
    fn count(&self, id: &str) -> u32 {
        let mut attempts = self.attempts.lock().expect("nobody panics with it");
        let count = attempts.entry(id.to_owned()).or_default();
        *count += 1;
        *count
    }

    fn alter(&self, fault: Fault, path: &str, answered: &mut Answered) {
        if answered.body.len() < FRAME_HEADER {
            return;
        }
        if let Some(altered) = fault.alter(&self.contract, path, &answered.body[FRAME_HEADER..]) {
            answered.body = framed(&altered);
            answered.headers.remove(http::header::CONTENT_LENGTH);
        }
    }
}

async fn whole(mut stream: RecvStream) -> Result<Bytes, h2::Error> {
    let mut body = BytesMut::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(body.freeze())
}

fn send(respond: &mut SendResponse<Bytes>, answered: Answered) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    *response.status_mut() = answered.http;
    *response.headers_mut() = answered.headers;
    let Some(trailers) = answered.trailers else {
        return respond.send_response(response, true).map(drop);
    };
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(answered.body, false)?;
    stream.send_trailers(trailers)
}

/// As something between client and server does it: without any details.
fn refuse(respond: &mut SendResponse<Bytes>, code: Code, text: &str) -> Result<(), h2::Error> {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Status::new(code, text).add_header(&mut headers).expect("plain text is a status");
    let mut response = Response::new(());
    *response.headers_mut() = headers;
    respond.send_response(response, true).map(drop)
}
