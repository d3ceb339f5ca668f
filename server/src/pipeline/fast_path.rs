//! The hot methods, as far as memory knows the answer: request bytes in, answer bytes out, on the thread of the connection.
//!
//! What is not known here (`None`) is asked of the generated service, which waits for the database. Both answer the same;
//! a test compares them.

use bytes::Bytes;
use lanyard_proto::v1::{BatchVerifySessionsRequest, ListLinkedAuthRequest, VerifySessionRequest};
use prost::Message;

use super::encode::Writer;
use super::method::Hot;
use crate::app::{App, Context};
use crate::clock::Time;
use crate::error::Result;
use crate::model::link::LinkEntry;
use crate::model::verdict::{Active, Verdict};
use crate::service::{convert, link, session};

/// Answers from memory, or not.
pub type FromMemory = Box<dyn Fn(Hot, &Context, &[u8], Time) -> Result<Option<Bytes>> + Send + Sync>;

/// About how long an answer is.
const VERDICT_SIZE: usize = 160;
const LINK_SIZE: usize = 224;

/// What `app` knows without waiting.
pub fn from_memory(app: App) -> FromMemory {
    Box::new(move |method, context, message, now| match method {
        Hot::Verify => verify(&app, context, message, now),
        Hot::BatchVerify => batch_verify(&app, context, message, now),
        Hot::ListLinks => list_links(&app, context, message, now),
    })
}

fn verify(app: &App, context: &Context, message: &[u8], now: Time) -> Result<Option<Bytes>> {
    let Ok(message) = VerifySessionRequest::decode(message) else { return Ok(None) };
    let client = convert::client(message.client.as_ref());
    let known = app.verify_cached(context, client, &message.ust, message.peek, now)?;
    Ok(known.map(|known| {
        let mut answer = Writer::new(VERDICT_SIZE);
        write_verdict(&known, &mut answer);
        answer.finish()
    }))
}

fn batch_verify(app: &App, context: &Context, message: &[u8], now: Time) -> Result<Option<Bytes>> {
    let Ok(message) = BatchVerifySessionsRequest::decode(message) else { return Ok(None) };
    let (items, common) = session::batch(&message);
    let known = app.verify_cached_sessions(context, &items, common, message.peek, now)?;
    Ok(known.map(|known| {
        let mut answer = Writer::new(known.len() * VERDICT_SIZE);
        for verdict in &known {
            answer.message(1, |answer| write_verdict(verdict, answer));
        }
        answer.finish()
    }))
}

fn list_links(app: &App, context: &Context, message: &[u8], now: Time) -> Result<Option<Bytes>> {
    let Ok(message) = ListLinkedAuthRequest::decode(message) else { return Ok(None) };
    let page = convert::page(message.page_size, &message.page_token)?;
    let user = convert::optional_id("user_id", &message.user_id)?;
    let input = convert::acting(&message.ust, message.client.as_ref());
    let known = app.list_own_links_cached(context, input, user, page, now)?;
    Ok(known.map(|links| {
        let mut answer = Writer::new(links.len() * LINK_SIZE);
        for link in links.iter() {
            answer.message(1, |answer| write_link(link, answer));
        }
        answer.finish()
    }))
}

/// `VerifySessionResponse`
fn write_verdict(verdict: &Verdict, answer: &mut Writer) {
    match verdict {
        Verdict::Active(active) => {
            answer.message(1, |answer| write_session(active, answer));
            if !active.cache_for.is_zero() {
                answer.duration(3, active.cache_for);
            }
        }
        Verdict::Inactive(reason) => {
            let inactive = session::inactive(*reason);
            answer.message(2, |answer| {
                answer.number(1, inactive.reason.into());
                answer.number(2, inactive.revoke_reason.into());
            });
        }
    }
}

/// `VerifiedSession`
fn write_session(active: &Active, answer: &mut Writer) {
    let session = &active.session;
    answer.id(1, session.session_id);
    answer.id(2, session.user_id);
    answer.text(3, &session.username);
    answer.one_of_many(4, convert::role(session.is_super_user).into());
    answer.number(5, session.auth_type.number().into());
    answer.text(6, &session.app);
    answer.time(7, active.limits.idle_expires_at);
    answer.time(8, active.limits.absolute_expires_at);
}

/// `LinkedAuth`
fn write_link(link: &LinkEntry, answer: &mut Writer) {
    answer.id(1, link.user_id);
    answer.text(2, link::auth_type(link));
    answer.text(3, &link.auth_username);
    answer.number(4, link.auth_id);
    answer.time(5, link.created_at);
    answer.flag(6, link.is_active);
    answer.flag(7, link.is_internal);
    answer.text(8, link::RESERVED);
    answer.text(9, link::RESERVED);
    answer.id(11, link.link_id);
    if let Some(time) = link.last_used_at {
        answer.time(12, time);
    }
    answer.text(13, &link.version.to_string());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use lanyard_proto::v1::{LinkedAuth, VerifySessionResponse};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::model::id::Id;
    use crate::model::session::SessionEntry;
    use crate::model::session::{AuthType, RevokeReason};
    use crate::model::verdict::{Inactive, Limits};
    use crate::pipeline::request_body::PREFIX;

    fn written(write: impl FnOnce(&mut Writer)) -> Bytes {
        let mut writer = Writer::new(0);
        write(&mut writer);
        writer.finish().slice(PREFIX..)
    }

    fn times() -> impl Strategy<Value = Time> {
        (-1_000_000_000_000_000..5_000_000_000_000_000_i64).prop_map(Time::from_micros)
    }

    prop_compose! {
        fn active()(
            ids in any::<(u128, u128)>(), username in ".{0,140}", app in "[a-zA-Z0-9]{0,64}", is_super_user: bool,
            auth_type in 1..5_i16, idle in times(), absolute in times(), cache_for in 0..5_000_u64,
        ) -> Active {
            let mut session = SessionEntry::example();
            session.session_id = Id::from_uuid(Uuid::from_u128(ids.0));
            session.user_id = Id::from_uuid(Uuid::from_u128(ids.1));
            (session.username, session.app) = (username.into(), app.into());
            (session.is_super_user, session.auth_type) = (is_super_user, AuthType::from_number(auth_type));
            let limits = Limits { idle_expires_at: idle, absolute_expires_at: absolute };
            Active { session: Arc::new(session), limits, cache_for: Duration::from_millis(cache_for) }
        }
    }

    proptest! {
        #[test]
        fn a_good_verdict_from_memory_is_the_one_of_the_service(active in active()) {
            let verdict = Verdict::Active(active);
            let bytes = written(|writer| write_verdict(&verdict, writer));
            prop_assert_eq!(VerifySessionResponse::decode(bytes).unwrap(), session::verdict(verdict));
        }

        #[test]
        fn a_link_from_memory_is_the_one_of_the_service(
            ids in any::<(u128, u128)>(), auth_id in 1..i64::MAX, auth_type in 2..4_i16, auth_username in ".{0,140}",
            flags in any::<(bool, bool)>(), created_at in times(), last_used_at in proptest::option::of(times()), version: i64,
        ) {
            let link = LinkEntry {
                link_id: Id::from_uuid(Uuid::from_u128(ids.0)),
                user_id: Id::from_uuid(Uuid::from_u128(ids.1)),
                auth_username: auth_username.into(),
                is_active: flags.0,
                is_internal: flags.1,
                is_definition_active: true,
                auth_id,
                auth_type: AuthType::from_number(auth_type),
                created_at,
                last_used_at,
                version,
            };
            let bytes = written(|writer| write_link(&link, writer));
            prop_assert_eq!(LinkedAuth::decode(bytes).unwrap(), link::link(&link));
        }
    }

    #[test]
    fn each_reason_why_a_token_is_not_good_is_told_as_by_the_service() {
        let reasons = [
            Inactive::Malformed,
            Inactive::Unknown,
            Inactive::IdleExpired,
            Inactive::AbsoluteExpired,
            Inactive::Revoked(RevokeReason::Logout),
            Inactive::Revoked(RevokeReason::SecretRotated),
            Inactive::Rotated { generations_behind: 1 },
            Inactive::AddressMismatch,
            Inactive::AddressNotAllowed,
        ];
        for reason in reasons {
            let verdict = Verdict::Inactive(reason);
            let bytes = written(|writer| write_verdict(&verdict, writer));
            assert_eq!(VerifySessionResponse::decode(bytes).unwrap(), session::verdict(verdict), "{reason:?}");
        }
    }
}
