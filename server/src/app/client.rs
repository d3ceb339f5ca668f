//! The user's client and the acting user.

use std::net::IpAddr;
use std::sync::Arc;

use super::{App, AppPolicy, Context};
use crate::config::DEFAULT_APP;
use crate::error::{Error, Result};
use crate::model::id::UserId;
use crate::model::network::parse_address;
use crate::model::session::SessionEntry;
use crate::model::verdict::{CachedVerdict, Verdict};

/// Maximum length of an app name, in bytes.
const MAX_APP: usize = 64;
/// User agents are truncated to this many bytes.
const MAX_USER_AGENT: usize = 1024;

/// What a request says about the user's client, as received.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientInput<'a> {
    pub current_app: &'a str,
    pub remote_addr: &'a str,
    pub user_agent: &'a str,
}

/// The user's client: the asserted address if the caller may assert one, otherwise the address of the peer.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub context: &'a Context,
    pub app: &'a AppPolicy,
    pub remote_addr: IpAddr,
    pub user_agent: &'a str,
}

/// The session token of the acting user and their client, as received.
#[derive(Clone, Copy)]
pub struct ActingInput<'a> {
    pub ust: &'a str,
    pub client: ClientInput<'a>,
}

/// The acting user, authenticated by a valid session token.
#[derive(Clone)]
pub struct Acting<'a> {
    pub session: Arc<SessionEntry>,
    pub client: Client<'a>,
}

impl<'a> Acting<'a> {
    /// Fails unless the token is valid and the caller may act for its user.
    pub fn new(client: Client<'a>, verdict: Verdict) -> Result<Self> {
        let Verdict::Active(active) = verdict else { return Err(Error::SessionInvalid) };
        may_relay(client.context, active.session.is_super_user)?;
        Ok(Self { session: active.session, client })
    }

    pub fn user(&self) -> UserId {
        self.session.user_id
    }

    pub fn is_super_user(&self) -> bool {
        self.session.is_super_user
    }
}

impl App {
    /// Validates the client of a request. An asserted address counts only if the caller may assert one.
    pub fn client<'a>(&'a self, context: &'a Context, input: ClientInput<'a>) -> Result<Client<'a>> {
        let app = if input.current_app.is_empty() { DEFAULT_APP } else { input.current_app };
        if app.len() > MAX_APP {
            return Err(Error::invalid("client.current_app", format!("is longer than {MAX_APP} bytes")));
        }
        if !context.caller.apps.contain(app) {
            return Err(Error::CallerForbidden { what: "act in this app".into() });
        }
        let app = self.parts.apps.get(app).ok_or(Error::AppUnknown)?;
        let asserted = match input.remote_addr {
            "" => None,
            text => Some(parse_address(text).ok_or_else(|| {
                Error::invalid("client.remote_addr", "is no IPv4 or IPv6 address: send one, or leave it empty")
            })?),
        };
        let accepted = asserted.filter(|_| context.caller.flags.may_assert_client_address);
        let remote_addr = accepted.unwrap_or_else(|| context.peer.to_canonical());
        Ok(Client { context, app, remote_addr, user_agent: input.user_agent })
    }

    /// Authenticates the acting user. Counts as activity.
    pub async fn acting<'a>(&'a self, context: &'a Context, input: ActingInput<'a>) -> Result<Acting<'a>> {
        self.acting_as_cached(context, input, None).await
    }

    /// As [`Self::acting`]. `cached`: the cache's result, if known.
    #[tracing::instrument(name = "acting", level = "debug", skip_all)]
    pub async fn acting_as_cached<'a>(
        &'a self,
        context: &'a Context,
        input: ActingInput<'a>,
        cached: Option<CachedVerdict>,
    ) -> Result<Acting<'a>> {
        let client = self.client(context, input.client)?;
        let verdict = self.verify_session(&client, input.ust, false, cached).await?;
        Acting::new(client, verdict)
    }
}

/// Only callers with the flag may act for super-users.
pub(super) fn may_relay(context: &Context, is_super_user: bool) -> Result<()> {
    if is_super_user && !context.caller.flags.may_relay_super_users {
        return Err(Error::CallerForbidden {
            what: "act for super-users: it lacks the flag may_relay_super_users".into(),
        });
    }
    Ok(())
}

/// Truncates a user agent and replaces control characters, which could forge a log line.
pub(super) fn clean_user_agent(text: &str) -> String {
    let cut = text.floor_char_boundary(MAX_USER_AGENT);
    text[..cut].chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_is_cut_at_a_character_and_cannot_forge_a_line() {
        assert_eq!(clean_user_agent("a\nb"), "a\u{fffd}b");
        let long = "é".repeat(MAX_USER_AGENT);
        assert_eq!(clean_user_agent(&long).len(), MAX_USER_AGENT);
        assert_eq!(clean_user_agent(&format!("x{long}")).len(), MAX_USER_AGENT - 1);
    }
}
