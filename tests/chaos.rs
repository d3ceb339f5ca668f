//! Everything at once: no call fails but for a reason of its own, nothing that was acknowledged is lost, the trail is whole.

use std::time::Duration;

use lanyard_client::v1::{AttributeToSet, ListAuditEventsRequest, ListSessionsRequest, ListUsersRequest};
use lanyard_client::{Code, Error, ErrorReason};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::is_active;
use lanyard_tests::support::server::{Database, TestServer};
use tokio::task::JoinSet;

both_databases!(
    all_that_changes_one_user_at_once_fails_for_reasons_of_its_own_only,
    listing_and_flushing_under_logins_renewals_and_revocations_never_fails,
);

/// What a call may answer while everybody changes everything; faults and conflicts that reach the caller are none of it.
fn is_fair(error: &Error) -> bool {
    use ErrorReason as Reason;
    matches!(
        error.reason,
        Reason::SessionInvalid
            | Reason::LoginFailed
            | Reason::SessionNotFound
            | Reason::AttributeNotFound
            | Reason::LoginThrottled
    )
}

async fn all_that_changes_one_user_at_once_fails_for_reasons_of_its_own_only(database: Database) {
    let server = TestServer::start_with(database, |config| {
        (config.throttle.free_failures, config.throttle.address_free_failures) = (1000, 1000);
    })
    .await;
    let root = server.as_root().await;
    let mut changing = JoinSet::new();
    for round in 0..60 {
        let (client, root, alice) = (server.client(), root.clone(), server.alice.clone());
        let clock = server.clock.clone();
        changing.spawn(async move {
            clock.advance(Duration::from_secs(1));
            let outcome = match round % 6 {
                0 => root.lock_user(&alice.user_id).await.map(drop),
                1 => root.unlock_user(&alice.user_id).await.map(drop),
                2 => root.set_password(&alice.user_id, &alice.password, false).await.map(drop),
                3 => {
                    let target = lanyard_client::v1::revoke_sessions_request::Target::UserId(alice.user_id.clone());
                    root.revoke_sessions(Some(target), false).await.map(drop)
                }
                _ => match client.log_in("alice", &alice.password).await {
                    Err(error) => Err(error),
                    Ok(login) => {
                        let myself = client.on_behalf_of(&login.ust);
                        let set = AttributeToSet { name: "a".into(), ..AttributeToSet::default() };
                        let session = lanyard_client::v1::attribute_owner::Owner::SessionId(login.session.session_id);
                        let set = myself.set_attributes(Some(session), vec![set]).await.map(drop);
                        set.and(myself.rotate().await.map(drop)).and(myself.log_out().await.map(drop))
                    }
                },
            };
            if let Err(error) = outcome {
                assert!(is_fair(&error), "{round}: {error:?}");
            }
        });
    }
    changing.join_all().await;
    server.verify_audit().await;
}

async fn listing_and_flushing_under_logins_renewals_and_revocations_never_fails(database: Database) {
    let server = TestServer::start_with(database, |config| {
        config.session.quota = 1000;
        config.session.activity_granularity = Duration::from_micros(1);
    })
    .await;
    let root = server.as_root().await;
    let mut tasks = JoinSet::new();
    let mut logins = Vec::new();
    for _ in 0..20 {
        logins.push(server.log_in(&server.alice).await);
    }
    for worker in 0..8 {
        let (client, root, clock) = (server.client(), root.clone(), server.clock.clone());
        let tokens: Vec<_> = logins.iter().map(|login| login.ust.clone()).collect();
        tasks.spawn(async move {
            for round in 0..15 {
                clock.advance(Duration::from_millis(7));
                client.batch_verify(&tokens).await.unwrap();
                match (worker + round) % 4 {
                    0 => drop(root.call(ListSessionsRequest { all_users: true, ..Default::default() }).await.unwrap()),
                    1 => drop(client.on_behalf_of(&tokens[round]).renew().await.unwrap()),
                    2 => drop(root.call(ListUsersRequest::default()).await.unwrap()),
                    _ => drop(root.call(ListAuditEventsRequest::default()).await.unwrap()),
                }
            }
        });
    }
    for login in logins.split_off(15) {
        let myself = server.on_behalf_of(&login.ust);
        tasks.spawn(async move { assert!(myself.log_out().await.unwrap()) });
        logins.push(login);
    }
    tasks.join_all().await;
    for (place, login) in logins.iter().enumerate() {
        assert_eq!(is_active(&server.client(), &login.ust).await, place < 15, "{place}");
    }
    let unknown = root.get_session("ses_00000000000070008000000000000000").await.unwrap_err();
    assert_eq!(unknown.code, Code::NotFound, "the server is well");
    server.verify_audit().await;
}
