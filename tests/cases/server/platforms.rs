//! The platforms that users may log in to: a Micetro that is well, and others that are not.

use lanyard_server::clock::Clock;
use lanyard_server::config::{Config, Platform};
use lanyard_tests::support::micetro::{ALICE, BOB, CAROL, FakeMicetro, Fault, Injection, Refusal, Setup};
use lanyard_tests::support::platform::basic;
use lanyard_tests::support::refusing_address;
use lanyard_tests::support::server::TestServer;

use crate::Variables;

pub(crate) struct Platforms {
    micetro: FakeMicetro,
    busy: FakeMicetro,
    strange: FakeMicetro,
}

impl Platforms {
    pub(crate) fn start() -> Self {
        let start = || FakeMicetro::start_with(Setup { clock: Clock::system(), ..Setup::default() });
        let platforms = Self { micetro: start(), busy: start(), strange: start() };
        platforms.busy.fails(Injection::new(Fault::Refuse(Refusal::too_many_connections())));
        platforms.strange.fails(Injection::new(Fault::Html(200)));
        platforms
    }

    pub(crate) fn configure(&self, config: &mut Config) {
        let mut with_basic = Platform::at(&self.micetro.url());
        basic(&mut with_basic);
        let mut away = Platform::at(&format!("http://{}", refusing_address()));
        away.max_attempts = 1;
        config.platforms.extend([
            ("micetro".to_owned(), Platform::at(&self.micetro.url())),
            ("basic".to_owned(), with_basic),
            ("away".to_owned(), away),
            ("busy".to_owned(), Platform::at(&self.busy.url())),
            ("strange".to_owned(), Platform::at(&self.strange.url())),
        ]);
    }

    /// Where the Micetro is that is well, and who is known there and here.
    pub(crate) async fn tell(&self, server: &TestServer, variables: &mut Variables) {
        variables.set("micetro_url", self.micetro.url());
        variables.set("micetro_username", ALICE.0);
        variables.set("micetro_password", ALICE.1);
        for (name, (username, password)) in [("roleless", BOB), ("powerless", CAROL)] {
            server.add_user(username, false).await;
            variables.set(format!("{name}_username"), username);
            variables.set(format!("{name}_password"), password);
        }
    }
}
