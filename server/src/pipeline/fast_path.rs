//! Answers the methods that are called on every request of every user, from the caches and on the connection's thread: request
//! bytes in, response bytes out.
//!
//! On a cache miss the background runtime continues where the fast path stopped: nothing is parsed or hashed twice. Only a
//! message that cannot be decoded goes to the generated service, which reports why.

use bytes::Bytes;
use futures::future::BoxFuture;
use lanyard_proto::v1::{
    BatchVerifySessionsRequest, BatchVerifySessionsResponse, ListLinkedAuthRequest, ListLinkedAuthResponse,
    VerifySessionRequest,
};
use prost::Message;

use super::method::FastMethod;
use super::request_body::PREFIX;
use crate::app::client::Acting;
use crate::app::{App, Context};
use crate::clock::Time;
use crate::error::Result;
use crate::model::link::LinkEntry;
use crate::model::verdict::CachedVerdict;
use crate::service::{Handler, convert, link, session};

/// Buffer size in bytes; most responses fit (a verdict, a user's links).
const USUAL_SIZE: usize = 1024;

/// A length-prefixed gRPC message.
pub(super) enum FastAnswer {
    Now(Bytes),
    /// Needs the database.
    Later(BoxFuture<'static, Result<Bytes>>),
}

/// Answers `message`; `None` if it cannot be decoded.
pub(super) fn answer(
    handler: &Handler,
    method: FastMethod,
    context: Context,
    message: &[u8],
    now: Time,
) -> Result<Option<FastAnswer>> {
    match method {
        FastMethod::Verify => verify(handler, context, message, now),
        FastMethod::BatchVerify => batch_verify(handler, context, message, now),
        FastMethod::ListLinks => list_links(handler, context, message, now),
    }
}

fn verify(handler: &Handler, context: Context, message: &[u8], now: Time) -> Result<Option<FastAnswer>> {
    let Ok(message) = VerifySessionRequest::decode(message) else { return Ok(None) };
    let client = handler.app().client(&context, convert::client(message.client.as_ref()))?;
    match handler.app().verify_cached(&client, &message.ust, message.peek, now) {
        CachedVerdict::Known(verdict) => now_answer(&session::verdict(verdict)),
        unknown @ CachedVerdict::Unknown(_) => {
            later_answer(handler, |app| session::verify(app, context, message, Some(unknown)))
        }
    }
}

fn batch_verify(handler: &Handler, context: Context, message: &[u8], now: Time) -> Result<Option<FastAnswer>> {
    let Ok(message) = BatchVerifySessionsRequest::decode(message) else { return Ok(None) };
    let (items, common) = session::batch(&message);
    let cached = handler.app().verify_batch_cached(&context, &items, common, message.peek, now)?;
    if cached.iter().any(|cached| matches!(cached, CachedVerdict::Unknown(_))) {
        return later_answer(handler, |app| session::batch_verify(app, context, message, Some(cached)));
    }
    let known = cached.into_iter().filter_map(CachedVerdict::known);
    now_answer(&BatchVerifySessionsResponse { verdicts: known.map(session::verdict).collect() })
}

fn list_links(handler: &Handler, context: Context, message: &[u8], now: Time) -> Result<Option<FastAnswer>> {
    let Ok(message) = ListLinkedAuthRequest::decode(message) else { return Ok(None) };
    let page = convert::page(message.page_size, &message.page_token)?;
    let user = convert::optional_id("user_id", &message.user_id)?;
    let client = handler.app().client(&context, convert::client(message.client.as_ref()))?;
    let cached = handler.app().verify_cached(&client, &message.ust, false, now);
    if let CachedVerdict::Known(verdict) = &cached {
        let acting = Acting::new(client, verdict.clone())?;
        if let Some(links) = handler.app().list_links_cached(&acting, user, &page) {
            return Ok(Some(FastAnswer::Now(links.response(encode_links))));
        }
    }
    later_answer(handler, |app| link::list(app, context, message, Some(cached)))
}

/// Copies the message: the original has spare capacity, which the cache would keep.
fn encode_links(links: &[LinkEntry]) -> Bytes {
    let links = links.iter().map(link::link).collect();
    Bytes::copy_from_slice(&frame(&ListLinkedAuthResponse { links, next_page_token: String::new() }))
}

#[expect(clippy::unnecessary_wraps, reason = "what all three answer with")]
fn now_answer(message: &impl Message) -> Result<Option<FastAnswer>> {
    Ok(Some(FastAnswer::Now(frame(message))))
}

#[expect(clippy::unnecessary_wraps, reason = "what all three answer with")]
fn later_answer<M, F>(handler: &Handler, work: impl FnOnce(App) -> F) -> Result<Option<FastAnswer>>
where
    M: Message + 'static,
    F: Future<Output = Result<M>> + Send + 'static,
{
    let answer = handler.in_background(work);
    Ok(Some(FastAnswer::Later(Box::pin(async move { Ok(frame(&answer.await?)) }))))
}

/// Adds the gRPC prefix (uncompressed; length). The length is filled in last: computing it first would walk the message twice.
fn frame(message: &impl Message) -> Bytes {
    let mut framed = Vec::with_capacity(USUAL_SIZE);
    framed.resize(PREFIX, 0);
    message.encode_raw(&mut framed);
    let length = u32::try_from(framed.len() - PREFIX).expect("an answer has less than 4 GiB");
    framed[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    framed.into()
}
