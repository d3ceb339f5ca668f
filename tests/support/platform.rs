//! A server with the fake Micetro as its platform.

use lanyard_client::v1::create_session_request::Credential;
use lanyard_client::v1::{GetPlatformAuthRequest, GetPlatformAuthResponse, PlatformCredential};
use lanyard_client::{Error, Login, Subject};
use lanyard_server::config::{Config, CredentialMode, Platform};
use lanyard_server::store::{SessionPlatformRow, StoredCredential};

use super::answers::{Refused as _, events_of};
use super::micetro::{ALICE, FakeMicetro, Setup};
use super::server::{Database, START, TestServer};

/// Its name in the configuration.
pub const PLATFORM: &str = "micetro";

/// A server, and the Micetro that its users may log in to.
pub struct OnPlatform {
    pub server: TestServer,
    pub micetro: FakeMicetro,
}

impl OnPlatform {
    /// With sessions of Micetro, and the users that must be there: alice is.
    pub async fn start(database: Database) -> Self {
        Self::start_with(database, |_| {}).await
    }

    /// With a section that `change` changes.
    pub async fn start_with(database: Database, change: impl FnOnce(&mut Platform)) -> Self {
        Self::start_at(database, FakeMicetro::start(), change).await
    }

    /// With a Micetro of the test's choice.
    pub async fn start_at(database: Database, micetro: FakeMicetro, change: impl FnOnce(&mut Platform)) -> Self {
        let mut platform = Platform::at(&micetro.url());
        change(&mut platform);
        let server = TestServer::start_with(database, |config| with_platform(config, platform)).await;
        Self { server, micetro }
    }

    /// Logs in to the platform.
    pub async fn try_log_in(&self, who: (&str, &str)) -> Result<Login, Error> {
        self.log_in_with(credential(who)).await
    }

    pub async fn log_in_with(&self, credential: PlatformCredential) -> Result<Login, Error> {
        self.server.client().create_session(Credential::Platform(credential)).await
    }

    /// Alice, logged in to the platform.
    ///
    /// # Panics
    /// If that fails.
    pub async fn log_in(&self) -> Login {
        self.try_log_in(ALICE).await.expect("the login succeeds")
    }

    /// The same, to act as her.
    pub async fn as_alice(&self) -> (Login, Subject) {
        let login = self.log_in().await;
        let alice = self.server.on_behalf_of(&login.ust);
        (login, alice)
    }

    /// The refusal of a login, and the reason that the audit trail gives.
    ///
    /// # Panics
    /// If it was not refused.
    pub async fn refused(&self, credential: PlatformCredential) -> (Error, String) {
        let refusal = self.log_in_with(credential).await.refusal();
        (refusal, events_of(&self.server, "session.create").await[0].reason.clone())
    }

    /// The sealed credential of a session, if there is one.
    ///
    /// # Panics
    /// If the database cannot be read.
    pub async fn held(&self, session_id: &str) -> Option<StoredCredential> {
        let id = session_id.parse().expect("an ID");
        let held = self.server.within(move |app| async move { app.store().platform_credential(id).await }).await;
        held.expect("it can be read")
    }

    /// What is stored of a session's platform.
    ///
    /// # Panics
    /// If the database cannot be read.
    pub async fn stored(&self, session_id: &str) -> Option<SessionPlatformRow> {
        let id = session_id.parse().expect("an ID");
        let stored = self.server.within(move |app| async move { app.store().session_platform(id).await }).await;
        stored.expect("it can be read")
    }

    /// How many sessions of the platform are stored, live or not.
    ///
    /// # Panics
    /// If the database cannot be read.
    pub async fn session_count(&self) -> usize {
        let filter = lanyard_server::store::SessionFilter { platform: Some(PLATFORM.to_owned()), ..Default::default() };
        let found = self.server.within(move |app| async move { app.store().sessions(&filter, None, 1000).await }).await;
        found.expect("they can be read").len()
    }

    /// Waits until the user has so many sessions of Micetro: logging out comes after the answer.
    pub async fn has_upstream_sessions(&self, username: &str, count: usize) {
        let what = format!("{username} has {count} sessions of Micetro");
        super::eventually(&what, async || self.micetro.sessions_of(username) == count).await;
    }
}

/// Puts the platform into the configuration of a test.
pub fn with_platform(config: &mut Config, platform: Platform) {
    (config.throttle.free_failures, config.throttle.address_free_failures) = (1000, 1000);
    config.platforms.insert(PLATFORM.to_owned(), platform);
    config.validate().expect("a good section");
}

/// What somebody logs in to the platform with.
pub fn credential((username, password): (&str, &str)) -> PlatformCredential {
    PlatformCredential {
        platform: PLATFORM.to_owned(),
        username: username.to_owned(),
        password: password.to_owned(),
        ..PlatformCredential::default()
    }
}

/// With username and password as the credential.
pub fn basic(platform: &mut Platform) {
    platform.credential = CredentialMode::Basic;
}

/// A Micetro that speaks TLS.
pub fn over_tls(identity: super::certificates::Identity) -> FakeMicetro {
    let clock = lanyard_server::clock::Clock::manual(START);
    FakeMicetro::start_with(Setup { identity: Some(identity), clock, ..Setup::default() })
}

/// The credential with which the platform of a session is called.
pub async fn auth(subject: &Subject, refused: bool) -> Result<GetPlatformAuthResponse, Error> {
    subject.call(GetPlatformAuthRequest { refused, ..GetPlatformAuthRequest::default() }).await
}
