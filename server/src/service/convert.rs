//! Converts between protobuf messages and the types of `app`. Errors name the invalid field.

use prost_types::{Duration as ProtoDuration, Timestamp};
use zeroize::Zeroizing;

use crate::app::client::{ActingInput, ClientInput};
use crate::app::page::PageRequest;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::model::id::{Id, Kind};
use lanyard_proto::v1;

pub(crate) fn client(client: Option<&v1::ClientInfo>) -> ClientInput<'_> {
    client.map_or_else(ClientInput::default, |client| ClientInput {
        current_app: &client.current_app,
        remote_addr: &client.remote_addr,
        user_agent: &client.user_agent,
    })
}

pub(crate) fn acting<'a>(ust: &'a str, info: Option<&'a v1::ClientInfo>) -> ActingInput<'a> {
    ActingInput { ust, client: client(info) }
}

/// A required ID.
pub(crate) fn id<K: Kind>(field: &'static str, text: &str) -> Result<Id<K>> {
    text.parse().map_err(|_| Error::invalid(field, format!("must be {} and 32 hexadecimal digits", K::PREFIX)))
}

/// An optional ID; empty if omitted.
pub(crate) fn optional_id<K: Kind>(field: &'static str, text: &str) -> Result<Option<Id<K>>> {
    if text.is_empty() { Ok(None) } else { id(field, text).map(Some) }
}

pub(crate) fn page(size: i32, token: &str) -> Result<PageRequest<'_>> {
    PageRequest::parse(size, token)
}

/// An optional enum. An unknown number is an error, not "any".
pub(crate) fn optional_enum<P, T>(
    field: &'static str,
    number: i32,
    convert: impl Fn(P) -> Option<T>,
) -> Result<Option<T>>
where
    P: TryFrom<i32>,
{
    if number == 0 {
        return Ok(None);
    }
    let known = P::try_from(number).ok().and_then(convert);
    known.map(Some).ok_or_else(|| Error::invalid(field, "has an unknown value"))
}

/// A search text. NUL is an error: PostgreSQL rejects it in parameters, and no stored text contains it.
pub(crate) fn text(field: &'static str, text: &str) -> Result<String> {
    if text.contains('\0') {
        return Err(Error::invalid(field, "must not contain NUL"));
    }
    Ok(text.to_owned())
}

/// An optional search text; empty if omitted.
pub(crate) fn optional_text(field: &'static str, looked_for: &str) -> Result<Option<String>> {
    if looked_for.is_empty() { Ok(None) } else { text(field, looked_for).map(Some) }
}

/// Takes a secret out of a message.
pub(crate) fn secret(text: &mut String) -> Zeroizing<String> {
    Zeroizing::new(std::mem::take(text))
}

pub(crate) fn timestamp(time: Time) -> Timestamp {
    let (seconds, nanos) = time.to_unix();
    Timestamp { seconds, nanos: i32::try_from(nanos).unwrap_or(0) }
}

/// The range of a protobuf timestamp: the years 1 to 9999.
const TIMES: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

pub(crate) fn time(field: &'static str, timestamp: Timestamp) -> Result<Time> {
    let in_range = (0..1_000_000_000).contains(&timestamp.nanos) && TIMES.contains(&timestamp.seconds);
    let time = in_range.then(|| Time::from_unix(timestamp.seconds, timestamp.nanos)).flatten();
    time.ok_or_else(|| Error::invalid(field, "is no valid time"))
}

pub(crate) fn optional_time(field: &'static str, timestamp: Option<Timestamp>) -> Result<Option<Time>> {
    timestamp.map(|timestamp| time(field, timestamp)).transpose()
}

pub(crate) fn duration(field: impl FnOnce() -> String, duration: ProtoDuration) -> Result<std::time::Duration> {
    std::time::Duration::try_from(duration).map_err(|_| Error::invalid(field(), "must not be negative"))
}

pub(crate) fn proto_duration(duration: std::time::Duration) -> ProtoDuration {
    ProtoDuration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

pub(crate) fn roles(is_super_user: bool) -> Vec<i32> {
    vec![role(is_super_user).into()]
}

pub(crate) fn role(is_super_user: bool) -> v1::Role {
    if is_super_user { v1::Role::SuperUser } else { v1::Role::Regular }
}
