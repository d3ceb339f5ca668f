//! The server killed, a hundred times in a row, while it writes: what it acknowledged is there afterwards.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::join_all;
use lanyard_client::v1::attribute_owner::Owner;
use lanyard_client::v1::{AttributeOwner, AttributeToSet, ListAttributesRequest};
use lanyard_client::{Client, Error, ErrorReason, InactiveReason, Login, RevokeReason, Ust, Verdict};
use lanyard_server::model::audit::{AuditFilter, Outcome};
use lanyard_tests::support::installation::{Installation, Program};
use lanyard_tests::support::server::{Database, Person, run};
use rustix::process::Signal;
use tokio::task::JoinSet;

const ROUNDS: u32 = 100;
const USERS: usize = 6;
/// Acknowledged writes of a round, at most.
const MOST: u32 = 30;
/// Live sessions of a user; beyond that the oldest are ended.
const LIVE: usize = 25;

/// A session as its holder knows it.
struct Session {
    id: String,
    ust: Ust,
    /// The token before the last rotation, if that was acknowledged since the last start.
    before: Option<Ust>,
    /// The value of its attribute, as acknowledged.
    attribute: u32,
    is_revoked: bool,
    /// Something was written to it since the last start.
    is_touched: bool,
    /// A write whose answer never came.
    in_doubt: Option<Write>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Rotate,
    Revoke,
    Attribute(u32),
}

/// One user, and all sessions that this user was ever told of.
struct Holder {
    person: Person,
    sessions: Vec<Session>,
    chance: fastrand::Rng,
}

/// The server under load, and when it is killed.
struct Victim {
    program: Program,
    /// How many more acknowledgements it lives.
    left: AtomicU32,
}

impl Victim {
    /// Kills at the right one, in the very moment.
    fn acknowledged(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.program.process.signal(Signal::KILL);
        }
    }
}

#[test]
fn what_was_acknowledged_survives_a_hundred_kills_in_a_row() {
    run(async {
        let seed = fastrand::u64(..);
        eprintln!("seed {seed}");
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut installation = Installation::prepare(Database::Sqlite, |config| {
            config.session.quota = u32::MAX;
            config.session.rotation_grace = Duration::from_mins(1);
        })
        .await;
        let mut holders = holders(&mut installation, &mut chance).await;
        for round in 1..=ROUNDS {
            let program = installation.start();
            let client = program.client().await;
            join_all(holders.iter_mut().map(|holder| holder.settle(&client))).await;
            let victim = Arc::new(Victim { program, left: AtomicU32::new(chance.u32(1..=MOST)) });
            holders = live_until_killed(&victim, holders).await;
            assert_eq!(Arc::strong_count(&victim), 1, "round {round}: everybody has noticed");
        }
        let program = installation.start();
        let client = program.client().await;
        for holder in &mut holders {
            holder.settle(&client).await;
            for session in holder.sessions.iter().filter(|session| !session.is_revoked) {
                session.check_attribute(&client).await;
            }
        }
        program.process.kill();
        installation.prepared.resume().await;
        check_the_trail(&installation, &holders).await;
    });
}

/// One user for each task, so that each knows all about its sessions.
async fn holders(installation: &mut Installation, chance: &mut fastrand::Rng) -> Vec<Holder> {
    let server = &mut installation.prepared;
    server.resume().await;
    let mut holders = Vec::new();
    for number in 0..USERS {
        let person = server.add_user(&format!("holder-{number}"), false).await;
        holders.push(Holder { person, sessions: Vec::new(), chance: chance.fork() });
    }
    server.stop().await;
    holders
}

/// All at once, each as fast as it can, until the server is gone.
async fn live_until_killed(victim: &Arc<Victim>, holders: Vec<Holder>) -> Vec<Holder> {
    let mut clients = Vec::new();
    for _ in &holders {
        clients.push(victim.program.client().await);
    }
    let mut tasks = JoinSet::new();
    for (mut holder, client) in holders.into_iter().zip(clients) {
        let victim = Arc::clone(victim);
        tasks.spawn(async move {
            let error = loop {
                if let Err(error) = holder.step(&client, &victim).await {
                    break error;
                }
            };
            let is_gone = error.reason == ErrorReason::Unspecified;
            let left = victim.left.load(Ordering::SeqCst);
            assert!(is_gone, "a server with {left} answers to go refused what is right: {error}");
            holder
        });
    }
    tasks.join_all().await
}

impl Holder {
    /// One write, chosen by chance.
    async fn step(&mut self, client: &Client, victim: &Victim) -> Result<(), Error> {
        let live: Vec<usize> = (0..self.sessions.len()).filter(|it| !self.sessions[*it].is_revoked).collect();
        let Some(chosen) = self.chance.choice(&live).copied() else { return self.log_in(client, victim).await };
        if live.len() >= LIVE {
            return self.revoke(live[0], client, victim).await;
        }
        match self.chance.u8(0..8) {
            0..3 => self.log_in(client, victim).await,
            3..5 => self.rotate(chosen, client, victim).await,
            5 => self.revoke(chosen, client, victim).await,
            _ => self.set_attribute(chosen, client, victim).await,
        }
    }

    async fn log_in(&mut self, client: &Client, victim: &Victim) -> Result<(), Error> {
        let Login { ust, session, .. } = client.log_in(&self.person.username, &self.person.password).await?;
        victim.acknowledged();
        let id = session.session_id;
        let (before, attribute, is_revoked, is_touched, in_doubt) = (None, 0, false, true, None);
        self.sessions.push(Session { id, ust, before, attribute, is_revoked, is_touched, in_doubt });
        Ok(())
    }

    async fn rotate(&mut self, chosen: usize, client: &Client, victim: &Victim) -> Result<(), Error> {
        let session = &mut self.sessions[chosen];
        (session.in_doubt, session.is_touched) = (Some(Write::Rotate), true);
        let renewal = client.on_behalf_of(&session.ust).rotate().await?;
        victim.acknowledged();
        session.in_doubt = None;
        session.before = Some(std::mem::replace(&mut session.ust, renewal.ust.expect("a rotation gives a token")));
        Ok(())
    }

    async fn revoke(&mut self, chosen: usize, client: &Client, victim: &Victim) -> Result<(), Error> {
        let session = &mut self.sessions[chosen];
        (session.in_doubt, session.is_touched) = (Some(Write::Revoke), true);
        let was_live = client.on_behalf_of(&session.ust).log_out().await?;
        victim.acknowledged();
        assert!(was_live, "{} was live", session.id);
        (session.in_doubt, session.is_revoked) = (None, true);
        Ok(())
    }

    async fn set_attribute(&mut self, chosen: usize, client: &Client, victim: &Victim) -> Result<(), Error> {
        let session = &mut self.sessions[chosen];
        let value = session.attribute + 1;
        (session.in_doubt, session.is_touched) = (Some(Write::Attribute(value)), true);
        let owner = Owner::SessionId(session.id.clone());
        let attribute = AttributeToSet { name: "count".into(), value: value.to_string(), ..AttributeToSet::default() };
        client.on_behalf_of(&session.ust).set_attributes(Some(owner), vec![attribute]).await?;
        victim.acknowledged();
        (session.in_doubt, session.attribute) = (None, value);
        Ok(())
    }

    /// After a start: everything acknowledged is there; what was in doubt is one or the other, and stays so.
    async fn settle(&mut self, client: &Client) {
        for sessions in self.sessions.chunks_mut(500) {
            let verdicts = client.batch_peek(sessions.iter().map(|session| &session.ust)).await.expect("verdicts");
            for (session, verdict) in sessions.iter_mut().zip(verdicts) {
                session.compare(&verdict);
            }
        }
        for session in self.sessions.iter_mut().filter(|session| session.is_touched) {
            if !session.is_revoked {
                session.settle(client).await;
            }
            session.is_touched = false;
        }
    }
}

impl Session {
    fn compare(&mut self, verdict: &Verdict) {
        let id = &self.id;
        match verdict {
            Verdict::Active(session) => {
                assert!(!self.is_revoked, "{id}: an acknowledged revocation is lost");
                assert_eq!(&session.session_id, id);
            }
            Verdict::Inactive(inactive) => {
                let logged_out =
                    inactive.reason == InactiveReason::Revoked && inactive.revoke_reason == RevokeReason::Logout;
                let may_be = self.is_revoked || self.in_doubt == Some(Write::Revoke);
                assert!(logged_out && may_be, "{id}: {inactive}, {:?} in doubt", self.in_doubt);
                self.is_revoked = true;
            }
        }
    }

    async fn settle(&mut self, client: &Client) {
        let before = self.before.take();
        // If the rotation in doubt happened, the one before is too old to be used, and using it would end the session.
        if let Some(before) = before.filter(|_| self.in_doubt != Some(Write::Rotate)) {
            let renewal = client.on_behalf_of(&before).renew().await.expect("the old token has its grace");
            let successor = renewal.ust.expect("a replaced token yields the new one");
            assert_eq!(successor.expose(), self.ust.expose(), "{}: the same as was acknowledged", self.id);
        }
        match self.in_doubt.take() {
            // A lost answer costs nothing: asking again yields the token of the rotation, if it happened.
            Some(Write::Rotate) => {
                let renewal = client.on_behalf_of(&self.ust).renew().await.expect("the token is good");
                self.ust = renewal.ust.unwrap_or_else(|| self.ust.clone());
            }
            Some(Write::Attribute(value)) => {
                let found = self.stored_attribute(client).await;
                assert!(found == value || found == self.attribute, "{}: {found}", self.id);
                self.attribute = found;
            }
            Some(Write::Revoke) | None => self.check_attribute(client).await,
        }
    }

    async fn check_attribute(&self, client: &Client) {
        assert_eq!(self.stored_attribute(client).await, self.attribute, "{}", self.id);
    }

    async fn stored_attribute(&self, client: &Client) -> u32 {
        let owner = Some(AttributeOwner { owner: Some(Owner::SessionId(self.id.clone())) });
        let request = ListAttributesRequest { owner, ..ListAttributesRequest::default() };
        let mut pages = client.on_behalf_of(&self.ust).list_attributes(request);
        let found = pages.next_page().await.expect("attributes").unwrap_or_default();
        found.first().map_or(0, |attribute| attribute.value.parse().expect("a number"))
    }
}

/// The chain is whole, and has an event for each acknowledged login and revocation.
async fn check_the_trail(installation: &Installation, holders: &[Holder]) {
    let server = &installation.prepared;
    let count = server.verify_audit().await;
    let sessions: Vec<&Session> = holders.iter().flat_map(|holder| &holder.sessions).collect();
    assert!(count >= sessions.len() as u64, "{count} events of {} sessions", sessions.len());
    let logged_in = with_events(installation, "session.create").await;
    let logged_out = with_events(installation, "session.revoke").await;
    for session in &sessions {
        assert!(logged_in.contains(&session.id), "no event of the login of {}", session.id);
        assert_eq!(logged_out.contains(&session.id), session.is_revoked, "{}", session.id);
    }
    assert!(sessions.len() > ROUNDS as usize, "only {} logins: the load was no load", sessions.len());
}

/// The sessions of which there is an event.
async fn with_events(installation: &Installation, operation: &str) -> HashSet<String> {
    let filter =
        AuditFilter { operation: Some(operation.to_owned()), outcome: Some(Outcome::Ok), ..AuditFilter::default() };
    let server = &installation.prepared;
    let events = server.within(|app| async move { app.store().audit_events(&filter, None, 1_000_000).await }).await;
    let events = events.expect("the trail can be read").into_iter();
    events.filter_map(|event| event.session).map(|session| session.to_string()).collect()
}
