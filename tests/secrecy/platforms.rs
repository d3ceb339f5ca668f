//! The part of the tour that goes by platforms.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lanyard_proto::v1;
use lanyard_proto::v1::create_session_request::Credential;
use lanyard_server::config::{Config, CredentialMode, Platform};
use lanyard_tests::support::micetro::{ALICE, FakeMicetro};

use super::tour::{Refused, Tour, is};

const WRONG: &str = "gefälschtes \"Kennwort\" einer Plattform";

/// One platform with sessions, whose passwords are kept, and one that is called with the password itself.
pub(super) fn configure(config: &mut Config, micetro: &FakeMicetro) {
    let with_sessions = Platform { keep_password: true, ..Platform::at(&micetro.url()) };
    let basic = Platform { credential: CredentialMode::Basic, ..Platform::at(&micetro.url()) };
    config.platforms.extend([("ipam".to_owned(), with_sessions), ("old-ipam".to_owned(), basic)]);
}

impl Tour {
    pub(super) async fn of_platforms(&mut self, micetro: &FakeMicetro) {
        self.secrets.add("a password of a platform", ALICE.1);
        self.secrets.add("a wrong password of a platform", WRONG);
        self.secrets.add("the same for Basic", BASE64.encode(format!("{}:{}", ALICE.0, ALICE.1)));
        for platform in ["ipam", "old-ipam"] {
            is(self.log_in_with(on(platform, WRONG)).await, "LOGIN_FAILED");
            let ust = self.log_in_with(on(platform, ALICE.1)).await.expect("the platform says yes");
            let first = self.platform_auth(&ust, false).await.expect("it is handed out");
            micetro.end_sessions();
            let second = self.platform_auth(&ust, true).await.expect("it is good, or made anew");
            assert_eq!(first == second, platform == "old-ipam");
            let renew = v1::RenewSessionRequest { ust: ust.clone(), rotate: false, client: None };
            let _: v1::RenewSessionResponse = self.ask("SessionService/RenewSession", &renew).await.expect("more time");
            let list = v1::ListSessionsRequest { ust, platform: platform.to_owned(), ..Default::default() };
            let listed: v1::ListSessionsResponse =
                self.ask("SessionService/ListSessions", &list).await.expect("a page");
            assert_eq!(listed.sessions.len(), 1);
        }
        is(self.log_in_with(on(ALICE.1, ALICE.1)).await, "PLATFORM_UNKNOWN");
        let root = self.root_ust.clone();
        is(self.platform_auth(&root, false).await, "PLATFORM_SESSION_REQUIRED");
        micetro.set_password(ALICE.0, "another password there");
        let ust = self.log_in_as_alice().await.expect("alice logs in");
        is(self.platform_auth(&ust, true).await, "PLATFORM_SESSION_REQUIRED");
        micetro.set_password(ALICE.0, ALICE.1);
    }

    async fn platform_auth(&mut self, ust: &str, refused: bool) -> Refused<String> {
        let request = v1::GetPlatformAuthRequest { ust: ust.to_owned(), refused, client: None };
        let handed: v1::GetPlatformAuthResponse = self.ask("SessionService/GetPlatformAuth", &request).await?;
        let (_, credential) = handed.micetro_auth.split_once(' ').expect("a scheme and a credential");
        self.secrets.add("a credential of a platform", credential);
        Ok(handed.micetro_auth)
    }

    /// While the database is away: the platform has said yes by then.
    pub(super) async fn of_platforms_that_fail(&mut self) {
        is(self.log_in_with(on("ipam", ALICE.1)).await, "STORE_UNAVAILABLE");
        let root = self.root_ust.clone();
        is(self.platform_auth(&root, false).await, "STORE_UNAVAILABLE");
    }
}

fn on(platform: &str, password: &str) -> Credential {
    Credential::Platform(v1::PlatformCredential {
        platform: platform.to_owned(),
        username: ALICE.0.to_owned(),
        password: password.to_owned(),
        ..Default::default()
    })
}
