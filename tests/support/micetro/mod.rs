//! A fake Micetro: the REST API of version 2, the command form and the JSON-RPC login, as much of them as clients of a user
//! session need, with a switch for each way in which a real one is known to behave well or badly.
//!
//! What a real server does is followed on the wire, not in the letter of its definition: all that succeeds lies in `result`, all
//! that fails in `error`, and "not found" and "no access" are HTTP 400, told apart by the numeric code. That the vendor's own Python
//! client gets on with it is tested in `tests/micetro_vendor.rs`.
//!
//! It runs on threads of its own, so that a test may block; time is the [`Clock`]'s. Two front ends share one store, as servers behind
//! a load balancer do.
//!
//! ```ignore
//! let micetro = FakeMicetro::start();
//! micetro.behaves(|behaviour| behaviour.basic = false);
//! micetro.fails(Injection::new(Fault::Html(502)).at("/dnsServers").times(1));
//! ...
//! assert_eq!(micetro.seen().last().unwrap().path, "/mmws/api/v2/dnsServers");
//! ```
//!
//! # Choices
//!
//! Where nobody outside of the vendor knows what a real server does, this one does as follows; nothing that is tested with it may
//! depend on more than that an answer of the kind comes.
//!
//! - A session ends 15 minutes after it was last used ([`Behaviour::session_ttl`], [`Behaviour::activity_extends`]).
//! - Standby (1037), an unreachable Central server (515) and "Too many open connections" are HTTP 400, as other refusals are;
//!   [`Refusal::with_status`] makes them any other. The last has no known code and gets 0. A session counts as a connection of its user.
//! - An unknown path is 400 with 16544, as an unknown name is; a reference by number to what is not there is 2049.
//! - Basic turned off: the credential is not looked at, and the answer is that of a request without any (5002).
//! - Lists are in the order of their numbers and whole where no `limit` is given. A page past the end is 520 for DNS records, 265 for
//!   IPAM records, and empty for all else.
//! - Filters, sorting and names do not mind upper and lower case. Roles do: `GW_admin` is not `gw_admin`.
//! - A malformed body, an unknown or missing property, and a bad parameter are 400 with code 16.
//! - Who may do nothing is refused with 1028 everywhere but at `/users/.`.
//! - Users, roles and groups are changed by the test ([`FakeMicetro::give_roles`], ...), not by requests.
//!
//! Left out: `/access`, `/history` and `/propertyDefinitions` of each type, Negotiate, Latin-1 before version 11.1, and the collections
//! that are not in [`data`].

mod api;
mod behaviour;
mod data;
mod front_end;
mod people;
mod query;
mod reply;
mod rpc;
mod seen;
mod sessions;
mod write;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use lanyard_server::clock::Clock;

use super::certificates::Identity;
use super::server::START;
use data::Data;
use front_end::FrontEnd;
use people::People;
use sessions::Sessions;

pub use behaviour::{Behaviour, Fault, Injection};
pub use people::{Access, Account};
pub use reply::Refusal;
pub use seen::Seen;

/// The user who may do everything.
pub const ADMINISTRATOR: (&str, &str) = ("administrator", "admin-secret");
/// A user with roles of Gateway: `GW_all` herself, `GW_operations` by her group.
pub const ALICE: (&str, &str) = ("alice", "alice-secret");
/// A user who reads everything and has no role of Gateway.
pub const BOB: (&str, &str) = ("bob", "bob-secret");
/// A user with a role of Gateway who may not see anything.
pub const CAROL: (&str, &str) = ("carol", "carol-secret");
/// A user whose name and password are not ASCII, the password with a colon.
pub const ZOE: (&str, &str) = ("zoë", "pässwörd: with a colon");

/// What all front ends share.
pub(crate) struct Shared {
    clock: Clock,
    state: Mutex<State>,
    seen: Mutex<Vec<Seen>>,
}

struct State {
    behaviour: Behaviour,
    injections: Vec<Injection>,
    people: People,
    sessions: Sessions,
    data: Data,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().expect("nobody panics with it")
    }
}

/// How a fake is set up.
pub struct Setup {
    pub clock: Clock,
    /// One front end for each.
    pub listen: Vec<SocketAddr>,
    /// With it, all front ends speak TLS.
    pub identity: Option<Identity>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { clock: Clock::manual(START), listen: vec![(Ipv4Addr::LOCALHOST, 0).into()], identity: None }
    }
}

/// A fake Micetro that runs until it is dropped.
pub struct FakeMicetro {
    pub clock: Clock,
    shared: Arc<Shared>,
    front_ends: Vec<FrontEnd>,
}

impl FakeMicetro {
    /// One front end on loopback, in the clear, with a clock that the test moves.
    pub fn start() -> Self {
        Self::start_with(Setup::default())
    }

    /// Two front ends with one store.
    pub fn start_pair() -> Self {
        let listen = vec![(Ipv4Addr::LOCALHOST, 0).into(); 2];
        Self::start_with(Setup { listen, ..Setup::default() })
    }

    /// # Panics
    /// If it cannot listen, or the certificate cannot be used.
    pub fn start_with(setup: Setup) -> Self {
        let state = State {
            behaviour: Behaviour::default(),
            injections: Vec::new(),
            people: People::default(),
            sessions: Sessions::default(),
            data: Data::default(),
        };
        let clock = setup.clock;
        let shared = Arc::new(Shared { clock: clock.clone(), state: Mutex::new(state), seen: Mutex::default() });
        let tls = setup.identity.as_ref().map(front_end::acceptor);
        let starting = setup.listen.iter().enumerate();
        let front_ends = starting
            .map(|(number, address)| FrontEnd::start(number, *address, tls.clone(), Arc::clone(&shared)))
            .collect();
        Self { clock, shared, front_ends }
    }

    /// Scheme, host and port of the first front end.
    pub fn url(&self) -> String {
        self.front_ends[0].url()
    }

    /// The same of all front ends.
    pub fn urls(&self) -> Vec<String> {
        self.front_ends.iter().map(FrontEnd::url).collect()
    }

    /// Turns switches.
    pub fn behaves(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.state().behaviour);
    }

    /// Fails from now on in the way described.
    pub fn fails(&self, injection: Injection) {
        self.shared.state().injections.push(injection);
    }

    /// Fails no more.
    pub fn recovers(&self) {
        self.shared.state().injections.clear();
    }

    /// A front end goes away, with all its connections.
    pub fn goes_down(&mut self, front_end: usize) {
        self.front_ends[front_end].stop();
    }

    /// It comes back at the same address.
    pub fn comes_back(&mut self, front_end: usize) {
        self.front_ends[front_end].resume();
    }

    /// The requests that came so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen().clone()
    }

    /// Forgets them.
    pub fn forget_seen(&self) {
        self.shared.seen().clear();
    }

    /// Adds a user, or replaces the one of that name.
    pub fn add_account(&self, account: Account) {
        self.shared.state().people.add(account);
    }

    /// # Panics
    /// If there is no such user.
    pub fn set_password(&self, username: &str, password: &str) {
        self.account(username, |account| password.clone_into(&mut account.password));
    }

    /// The roles that the user has, those of groups apart.
    ///
    /// # Panics
    /// If there is no such user.
    pub fn give_roles(&self, username: &str, roles: &[&str]) {
        self.account(username, |account| account.roles = roles.iter().map(|role| (*role).to_owned()).collect());
    }

    /// What the user may do from now on.
    ///
    /// # Panics
    /// If there is no such user.
    pub fn give_access(&self, username: &str, access: Access) {
        self.account(username, |account| account.access = access);
    }

    fn account(&self, username: &str, change: impl FnOnce(&mut Account)) {
        let mut state = self.shared.state();
        change(state.people.account_mut(username).unwrap_or_else(|| panic!("there is no user {username}")));
    }

    /// How many sessions of the user are live.
    pub fn sessions_of(&self, username: &str) -> usize {
        let mut state = self.shared.state();
        let State { sessions, behaviour, .. } = &mut *state;
        sessions.count(username, behaviour, self.clock.now())
    }

    /// Ends all sessions, as a restart of the Central server may.
    pub fn end_sessions(&self) {
        self.shared.state().sessions = Sessions::default();
    }
}
