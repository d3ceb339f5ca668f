//! HTTP/2 by hand: a client that sends what no client of gRPC would, and shows all that comes back.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use lanyard_proto::CORRELATION_ID_HEADER;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::{ErrorDetail, StatusExt};

use super::PATIENCE;

/// A connection.
pub struct Connection {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// A call that was begun.
pub struct Begun {
    pub body: SendStream<Bytes>,
    response: h2::client::ResponseFuture,
}

/// What came of a call.
#[derive(Debug)]
pub enum Outcome {
    Answered(Box<Answered>),
    /// The stream was reset, or the whole connection ended.
    Reset(Option<Reason>),
}

/// An answer.
#[derive(Debug)]
pub struct Answered {
    pub http: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
    pub status: Option<Status>,
}

impl Connection {
    /// # Panics
    /// If the server does not take it.
    pub async fn open(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).await.expect("the server listens");
        let (sender, connection) = h2::client::handshake(socket).await.expect("the server speaks HTTP/2");
        Self { sender, driver: tokio::spawn(connection) }
    }

    /// Sends the headers of a call; its body follows, or does not.
    pub async fn begin(&self, request: Request<()>) -> Result<Begun, h2::Error> {
        let mut sender = timeout(PATIENCE, self.sender.clone().ready()).await.expect("room for a stream in time")?;
        let (response, body) = sender.send_request(request, false)?;
        Ok(Begun { body, response })
    }

    /// Sends a whole call and waits for what comes of it.
    pub async fn call(&self, request: Request<()>, body: Bytes) -> Outcome {
        match self.begin(request).await {
            Ok(mut begun) => {
                // Refused, it may be reset before its body is sent: what was answered is told below.
                let _ = begun.body.send_data(body, true);
                begun.outcome().await
            }
            Err(error) => Outcome::Reset(error.reason()),
        }
    }

    /// Breaks it off: the socket is closed, and nothing more is said.
    pub async fn abort(self) {
        self.driver.abort();
        // Aborted, or over before that.
        let _ = self.driver.await;
    }

    /// How the connection ended.
    ///
    /// # Panics
    /// If it does not.
    pub async fn ended(self) -> Result<(), h2::Error> {
        let ended = timeout(PATIENCE, self.driver).await;
        ended.expect("the connection ends").expect("the driver of the connection does not panic")
    }
}

impl Begun {
    /// # Panics
    /// If nothing comes.
    pub async fn outcome(self) -> Outcome {
        let outcome = timeout(PATIENCE, async { answered(self.response.await?).await }).await;
        match outcome.expect("an answer or a reset in time") {
            Ok(answered) => Outcome::Answered(Box::new(answered)),
            Err(error) => Outcome::Reset(error.reason()),
        }
    }
}

async fn answered(response: Response<RecvStream>) -> Result<Answered, h2::Error> {
    let (parts, mut stream) = response.into_parts();
    let mut body = BytesMut::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    let of_trailers = trailers.as_ref().and_then(Status::from_header_map);
    let status = Status::from_header_map(&parts.headers).or(of_trailers);
    Ok(Answered { http: parts.status, headers: parts.headers, body: body.freeze(), trailers, status })
}

impl Outcome {
    /// # Panics
    /// If there is none.
    pub fn answer(self) -> Answered {
        match self {
            Self::Answered(answered) => *answered,
            Self::Reset(reason) => panic!("no answer but a reset: {reason:?}"),
        }
    }
}

impl Answered {
    /// The status.
    ///
    /// # Panics
    /// If there is none.
    pub fn code(&self) -> Code {
        self.status.as_ref().unwrap_or_else(|| panic!("no status: {self:?}")).code()
    }

    /// Code and reason of a refusal that says clearly what is wrong: one `ErrorInfo` of ours, and the correlation ID.
    ///
    /// # Panics
    /// If it is none.
    pub fn refusal(&self) -> (Code, String) {
        let status = self.status.as_ref().unwrap_or_else(|| panic!("no status: {self:?}"));
        assert_ne!(status.code(), Code::Ok, "{self:?}");
        let details = status.check_error_details_vec().expect("readable details");
        let infos: Vec<_> = details
            .iter()
            .filter_map(|detail| match detail {
                ErrorDetail::ErrorInfo(info) => Some(info),
                _ => None,
            })
            .collect();
        let [info] = infos[..] else { panic!("not one ErrorInfo: {self:?}") };
        assert_eq!(info.domain, lanyard_proto::ERROR_DOMAIN);
        let known = lanyard_proto::v1::ErrorReason::from_reason(&info.reason);
        assert_ne!(known, lanyard_proto::v1::ErrorReason::Unspecified, "{info:?}");
        let id = self.headers.get(CORRELATION_ID_HEADER).expect("a correlation ID").to_str().expect("ASCII");
        let told = details.iter().any(|detail| matches!(detail, ErrorDetail::RequestInfo(it) if it.request_id == id));
        assert!(told, "no RequestInfo of {id}: {self:?}");
        assert!(!status.message().is_empty(), "{self:?}");
        (status.code(), info.reason.clone())
    }

    /// The message of a call that was answered OK.
    ///
    /// # Panics
    /// If it was not.
    pub fn message<M: Message + Default>(&self) -> M {
        assert_eq!(self.code(), Code::Ok, "{self:?}");
        M::decode(&self.body[5..]).expect("a message")
    }
}

/// The request of a gRPC call.
///
/// # Panics
/// If `path` or `key` is no header.
pub fn grpc(path: &str, key: Option<&str>) -> Request<()> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://lanyard{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    request.body(()).expect("a request")
}

/// A message in its frame.
pub fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("less than 4 GiB"));
    framed.extend_from_slice(message);
    framed.freeze()
}

/// The whole answer to a GET of HTTP/1.1.
///
/// # Panics
/// If there is none.
pub async fn get_page(addr: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(addr).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("a request");
    let mut page = String::new();
    socket.read_to_string(&mut page).await.expect("an answer");
    page
}
