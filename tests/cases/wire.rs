//! Steps by the bare runtime: exactly the metadata of the step, and all of what comes back.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes};
use http::HeaderMap;
use http::uri::PathAndQuery;
use lanyard_proto::{CORRELATION_ID_HEADER, ERROR_DOMAIN};
use lanyard_tests::support::cases::{Expect, Step};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use serde_json::Value;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::variables::Variables;
use super::{generated, pattern};

const DEADLINE_MS: u64 = 10_000;

pub(super) struct Wire {
    pool: DescriptorPool,
    channels: Mutex<HashMap<String, Channel>>,
}

/// What came back.
#[derive(Default)]
struct Came {
    status: Option<Status>,
    initial: Option<HeaderMap>,
    trailers: Option<HeaderMap>,
    messages: Vec<Vec<u8>>,
    /// As many messages as were wanted: nobody waited for the end.
    is_cut_short: bool,
}

impl Wire {
    pub(super) fn new(variables: &Variables) -> Self {
        let file = variables.get("descriptor_file").expect("the server tells it");
        let set = std::fs::read(file).expect("the server has written it");
        let pool = DescriptorPool::decode(set.as_slice()).expect("descriptors");
        Self { pool, channels: Mutex::default() }
    }

    /// Takes a step and returns its answer.
    pub(super) async fn take(&self, step: &Step, variables: &Variables) -> Result<Value, String> {
        let method = self.method(&step.call);
        let headers = headers(step, variables)?;
        let sent = headers.get(CORRELATION_ID_HEADER).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let endpoint = step.endpoint.as_deref().map_or_else(|| variables.get("endpoint"), Ok)?;
        let call = Call {
            channel: self.channel(endpoint)?,
            path: PathAndQuery::try_from(format!("/{}", step.call)).map_err(|problem| problem.to_string())?,
            headers,
            requests: requests(step, method.as_ref())?,
            deadline: Duration::from_millis(step.deadline_ms.unwrap_or(DEADLINE_MS)),
        };
        let wanted = step.expect.messages.as_ref().map(Vec::len).filter(|count| *count > 0);
        let came = call.make(wanted).await;
        let answers: Vec<Value> =
            came.messages.iter().map(|bytes| read(method.as_ref(), bytes)).collect::<Result<_, _>>()?;
        let answer = if step.requests.is_some() { Value::Array(answers) } else { single(answers, came.code())? };
        check(&step.expect, &came, &answer, sent.as_deref())?;
        Ok(answer)
    }

    fn method(&self, call: &str) -> Option<MethodDescriptor> {
        let (service, method) = call.split_once('/')?;
        self.pool.get_service_by_name(service)?.methods().find(|known| known.name() == method)
    }

    fn channel(&self, endpoint: &str) -> Result<Channel, String> {
        let mut channels = self.channels.lock().expect("nobody panics with it");
        if let Some(channel) = channels.get(endpoint) {
            return Ok(channel.clone());
        }
        let made = Endpoint::from_shared(format!("http://{endpoint}")).map_err(|problem| problem.to_string())?;
        Ok(channels.entry(endpoint.to_owned()).or_insert(made.connect_lazy()).clone())
    }
}

/// What the step says over the defaults.
fn headers(step: &Step, variables: &Variables) -> Result<HeaderMap, String> {
    let mut all: HashMap<&str, Option<String>> = HashMap::from([
        ("authorization", Some(format!("Bearer {}", variables.get("caller_key")?))),
        (CORRELATION_ID_HEADER, Some(format!("case-{}", variables.get("unique")?))),
    ]);
    all.extend(step.metadata.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let mut headers = HeaderMap::new();
    for (name, value) in all.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let name: http::HeaderName = name.parse().map_err(|_| format!("{name} is no name of metadata"))?;
        headers.insert(name, value.parse().map_err(|_| format!("{value:?} cannot be sent as metadata"))?);
    }
    Ok(headers)
}

fn requests(step: &Step, method: Option<&MethodDescriptor>) -> Result<Vec<Vec<u8>>, String> {
    if let Some(bytes) = &step.request_bytes {
        return Ok(vec![STANDARD.decode(bytes).map_err(|problem| problem.to_string())?]);
    }
    let Some(method) = method else { return Ok(vec![Vec::new()]) };
    let none = Value::Object(serde_json::Map::new());
    let one = [step.request.clone().unwrap_or(none)];
    let written = step.requests.as_deref().unwrap_or(&one);
    written.iter().map(|message| write(&method.input(), message)).collect()
}

fn write(message: &MessageDescriptor, json: &Value) -> Result<Vec<u8>, String> {
    let read = DynamicMessage::deserialize(message.clone(), json.clone());
    let bytes = read.map_err(|problem| format!("the request: {problem}"))?.encode_to_vec();
    generated::request(message.name(), &bytes)
}

fn read(method: Option<&MethodDescriptor>, bytes: &[u8]) -> Result<Value, String> {
    let Some(method) = method else { return Err("a method that there is not has answered".to_owned()) };
    let bytes = generated::answer(method.input().name(), bytes)?;
    let message = DynamicMessage::decode(method.output(), bytes.as_slice()).map_err(|problem| problem.to_string())?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|problem| format!("the answer: {problem}"))
}

fn single(mut answers: Vec<Value>, code: Code) -> Result<Value, String> {
    match (answers.len(), code) {
        (1, Code::Ok) => Ok(answers.remove(0)),
        (0, Code::Ok) => Err("there is no answer".to_owned()),
        (0, _) => Ok(Value::Null),
        (count, _) => Err(format!("{count} answers with {}", code_name(code))),
    }
}

struct Call {
    channel: Channel,
    path: PathAndQuery,
    headers: HeaderMap,
    requests: Vec<Vec<u8>>,
    deadline: Duration,
}

impl Call {
    async fn make(self, wanted: Option<usize>) -> Came {
        let deadline = self.deadline;
        let mut came = Came::default();
        let made = tokio::time::timeout(deadline, self.read(wanted, &mut came)).await;
        let ended = made.unwrap_or_else(|_| Err(Status::deadline_exceeded("nothing came in time")));
        if let Err(status) = ended {
            if came.trailers.is_none() && !status.metadata().is_empty() {
                came.trailers = Some(status.metadata().clone().into_headers());
            }
            came.status = Some(status);
        }
        came
    }

    async fn read(self, wanted: Option<usize>, came: &mut Came) -> Result<(), Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel);
        grpc.ready().await.map_err(|problem| Status::unavailable(problem.to_string()))?;
        let messages = futures::stream::iter(self.requests);
        let metadata = MetadataMap::from_headers(self.headers);
        let mut request = Request::from_parts(metadata, http::Extensions::new(), messages);
        request.set_timeout(self.deadline);
        let response = grpc.streaming(request, self.path, Raw).await.map_err(timed_out)?;
        came.initial = Some(response.metadata().clone().into_headers());
        let mut stream = response.into_inner();
        while let Some(message) = stream.message().await? {
            came.messages.push(message);
            if wanted == Some(came.messages.len()) {
                came.is_cut_short = true;
                return Ok(());
            }
        }
        came.trailers = stream.trailers().await?.map(MetadataMap::into_headers);
        Ok(())
    }
}

/// tonic's own timer says CANCELLED where gRPC says `DEADLINE_EXCEEDED`.
fn timed_out(status: Status) -> Status {
    let mut sources = std::iter::successors(std::error::Error::source(&status), |error| error.source());
    if sources.any(<dyn std::error::Error>::is::<tonic::TimeoutExpired>) {
        Status::deadline_exceeded(status.message())
    } else {
        status
    }
}

impl Came {
    fn code(&self) -> Code {
        self.status.as_ref().map_or(Code::Ok, Status::code)
    }
}

fn check(expect: &Expect, came: &Came, answer: &Value, sent: Option<&str>) -> Result<(), String> {
    if !came.is_cut_short {
        let status = came.status.as_ref().map(|status| format!(" ({})", status.message())).unwrap_or_default();
        pattern::check_text(expect.code(), &code_name(came.code()), "code").map_err(|it| it + &status)?;
        check_correlation_id(expect, came, sent)?;
    }
    if let Some(status) = &came.status {
        check_status(expect, status)?;
    }
    if let Some(message) = &expect.message {
        pattern::check(message, Some(answer), "message")?;
    }
    if let Some(messages) = &expect.messages {
        pattern::check(&Value::Array(messages.clone()), Some(answer), "messages")?;
    }
    Ok(())
}

fn check_status(expect: &Expect, status: &Status) -> Result<(), String> {
    let details = status.check_error_details().map_err(|problem| format!("its details: {problem}"))?;
    if let Some(reason) = &expect.reason {
        let info = details.error_info();
        let found = info.map(|info| info.reason.as_str());
        if found != reason.as_deref() {
            return Err(format!("reason: is {found:?}, not {reason:?}"));
        }
        if info.is_some_and(|info| info.domain != ERROR_DOMAIN) || status.message().is_empty() {
            return Err(format!("it is of another domain or says nothing: {status:?}"));
        }
    }
    if let Some(fields) = &expect.field_violations {
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let found: Vec<_> = violations.iter().map(|violation| violation.field.clone()).collect();
        if found != *fields {
            return Err(format!("field_violations: are {found:?}, not {fields:?}"));
        }
    }
    let delay = details.retry_info().and_then(|info| info.retry_delay);
    if expect.retry_info.is_some_and(|wanted| wanted != delay.is_some_and(|delay| !delay.is_zero())) {
        return Err(format!("retry_info: the delay is {delay:?}"));
    }
    Ok(())
}

fn check_correlation_id(expect: &Expect, came: &Came, sent: Option<&str>) -> Result<(), String> {
    let wanted = match &expect.correlation_id {
        Some(None) => return Ok(()),
        Some(Some(wanted)) => wanted.as_str(),
        None => sent.ok_or("none was sent, and the case does not say what comes back")?,
    };
    let mut found = Vec::new();
    // The trailers of an answer that is nothing else are its initial metadata, too.
    for (place, headers) in [("initial metadata", came.initial.as_ref()), ("trailers", came.trailers.as_ref())] {
        match headers.map(|headers| headers.get_all(CORRELATION_ID_HEADER).iter().collect::<Vec<_>>()) {
            Some(ids) if ids.len() == 1 => found.push((place, ids[0].to_str().unwrap_or_default().to_owned())),
            None if place == "initial metadata" && came.code() != Code::Ok => {}
            other => return Err(format!("correlation_id: in the {place} stands {other:?}")),
        }
    }
    if let Some(status) = &came.status {
        let info = status.get_details_request_info().ok_or("correlation_id: there is no RequestInfo")?;
        found.push(("RequestInfo", info.request_id));
    }
    for (place, id) in &found {
        pattern::check_text(wanted, id, &format!("correlation_id in the {place}"))?;
        pattern::check_text(&found[0].1, id, &format!("correlation_id in the {place}"))?;
    }
    Ok(())
}

/// As gRPC writes it.
pub(super) fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// Messages as bytes.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(Bytes::from(message));
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}
