//! A platform that is away: what does not need it goes on as if nothing were the matter.

use std::time::Duration;

use lanyard_client::{ErrorReason, Verdict};
use lanyard_server::config::CacheMode;
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, is_active};
use lanyard_tests::support::micetro::{ALICE, FakeMicetro, Fault, Injection};
use lanyard_tests::support::platform::{OnPlatform, auth, with_platform};
use lanyard_tests::support::server::{Database, TestServer};

both_databases!(verification_never_asks_the_platform, a_session_outlives_an_outage_of_its_platform);

async fn verification_never_asks_the_platform(database: Database) {
    for mode in [CacheMode::On, CacheMode::Off] {
        let micetro = FakeMicetro::start();
        let platform = lanyard_server::config::Platform::at(&micetro.url());
        let change = |config: &mut lanyard_server::config::Config| {
            with_platform(config, platform);
            config.cache.mode = mode;
        };
        let server = TestServer::start_with(database, change).await;
        let on = OnPlatform { server, micetro };
        let (login, alice) = on.as_alice().await;
        on.micetro.forget_seen();
        on.micetro.fails(Injection::new(Fault::Silence));
        let client = on.server.client();
        for _ in 0..20 {
            assert!(matches!(client.verify(&login.ust).await.unwrap(), Verdict::Active(_)));
            assert!(is_active(&client, &login.ust).await);
            let batch = client.batch_verify([&login.ust, &login.ust]).await.unwrap();
            assert!(batch.iter().all(|verdict| matches!(verdict, Verdict::Active(_))));
            on.server.clock.advance(Duration::from_mins(1));
        }
        alice.current_session().await.unwrap();
        alice.renew().await.unwrap();
        assert!(on.micetro.seen().is_empty(), "{mode:?}");
    }
}

async fn a_session_outlives_an_outage_of_its_platform(database: Database) {
    let mut on = OnPlatform::start_with(database, |platform| platform.max_attempts = 1).await;
    let (login, alice) = on.as_alice().await;
    let handed = auth(&alice, false).await.unwrap().micetro_auth;
    on.micetro.goes_down(0);
    assert_eq!(on.try_log_in(ALICE).await.reason(), ErrorReason::PlatformUnavailable);
    assert_eq!(auth(&alice, false).await.unwrap().micetro_auth, handed, "handing out does not need it");
    assert_eq!(auth(&alice, true).await.reason(), ErrorReason::PlatformUnavailable);
    assert!(is_active(&on.server.client(), &login.ust).await);
    on.server.restart().await;
    on.micetro.comes_back(0);
    let alice = on.server.on_behalf_of(&login.ust);
    assert_eq!(auth(&alice, true).await.unwrap().micetro_auth, handed);
}
