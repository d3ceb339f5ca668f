//! Sessions of `Bearer` and JSON-RPC.

use std::collections::HashMap;

use axum::http::{HeaderMap, header};
use lanyard_server::clock::Time;

use super::behaviour::Behaviour;
use super::people::{Account, People};
use super::query::Query;
use super::reply::Refusal;

#[derive(Default)]
pub(super) struct Sessions {
    live: HashMap<String, Session>,
}

struct Session {
    username: String,
    began_at: Time,
    used_at: Time,
}

impl Session {
    fn is_live(&self, behaviour: &Behaviour, now: Time) -> bool {
        let since = if behaviour.activity_extends { self.used_at } else { self.began_at };
        now < since + behaviour.session_ttl
    }
}

impl Sessions {
    pub(super) fn count(&mut self, username: &str, behaviour: &Behaviour, now: Time) -> usize {
        self.live.retain(|_, session| session.is_live(behaviour, now));
        self.live.values().filter(|session| session.username == username).count()
    }

    /// A session for who knows the password.
    pub(super) fn log_in(
        &mut self,
        people: &People,
        behaviour: &Behaviour,
        (name, password): (&str, &str),
        now: Time,
    ) -> Result<String, Refusal> {
        let account = people.check(name, password).ok_or_else(Refusal::wrong_password)?;
        let live = self.count(&account.name, behaviour, now);
        if behaviour.connection_cap.is_some_and(|cap| live >= cap) {
            return Err(Refusal::too_many_connections());
        }
        let id = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let session = Session { username: account.name.clone(), began_at: now, used_at: now };
        self.live.insert(id.clone(), session);
        Ok(id)
    }

    /// True if it was live.
    pub(super) fn log_out(&mut self, id: &str) -> bool {
        self.live.remove(id).is_some()
    }

    /// Who sends this request.
    pub(super) fn authenticate<'a>(
        &mut self,
        people: &'a People,
        behaviour: &Behaviour,
        headers: &HeaderMap,
        query: &Query,
        now: Time,
    ) -> Result<&'a Account, Refusal> {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
        match authorization.split_once(' ') {
            Some(("Bearer", id)) if behaviour.bearer => self.holder(people, behaviour, id, now),
            Some(("Basic", encoded)) if behaviour.basic => {
                people.check_basic(encoded).ok_or_else(Refusal::wrong_password)
            }
            _ if authorization.is_empty() => match query.get("session") {
                Some(id) => self.holder(people, behaviour, id, now),
                None => Err(Refusal::no_session()),
            },
            _ => Err(Refusal::no_session()),
        }
    }

    /// Whose session this is.
    pub(super) fn holder<'a>(
        &mut self,
        people: &'a People,
        behaviour: &Behaviour,
        id: &str,
        now: Time,
    ) -> Result<&'a Account, Refusal> {
        let session = self.live.get_mut(id).ok_or_else(Refusal::session_not_valid)?;
        if !session.is_live(behaviour, now) {
            self.live.remove(id);
            return Err(Refusal::session_not_valid());
        }
        session.used_at = now;
        people.account(&session.username).ok_or_else(Refusal::session_not_valid)
    }
}
