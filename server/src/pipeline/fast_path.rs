//! The methods that are called with every request of every user, answered on the thread of the connection as far as memory
//! has the answer: request bytes in, answer bytes out.
//!
//! What memory lacks is read in the background, from where the fast path came to: nothing is parsed or hashed again. Only a
//! message that cannot be decoded goes to the generated service, which says what is wrong with it.

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

/// Most answers fit: a verdict, or the links of a user.
const USUAL_SIZE: usize = 1024;

/// An answer, with the prefix of gRPC.
pub(super) enum FastAnswer {
    Now(Bytes),
    /// The database has to be asked first.
    Later(BoxFuture<'static, Result<Bytes>>),
}

/// The answer to a message; `None` if it is none of the method.
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

/// The copy is as long as the message; the original has room for more.
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

/// The message with its prefix: not compressed, and its length. That is filled in afterwards: computing it first would walk the
/// message twice.
fn frame(message: &impl Message) -> Bytes {
    let mut framed = Vec::with_capacity(USUAL_SIZE);
    framed.resize(PREFIX, 0);
    message.encode_raw(&mut framed);
    let length = u32::try_from(framed.len() - PREFIX).expect("an answer has less than 4 GiB");
    framed[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    framed.into()
}
