//! From where and how often: address binding, networks that a user may come from, quotas of apps.

use lanyard_client::prost_types::FieldMask;
use lanyard_client::v1::{ListSessionsRequest, SessionState, UpdateUserRequest, User};
use lanyard_client::{Client, ErrorReason, InactiveReason, RevokeReason, Ust};
use lanyard_server::app::caller::CallerToCreate;
use lanyard_server::config::{AddressBinding, QuotaPolicy};
use lanyard_server::model::caller::Flags;
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, at, events_of, is_active, not_revoked, revoked, why_inactive};
use lanyard_tests::support::server::{Database, TestServer, all_powerful};
use tokio::task::JoinSet;

both_databases!(
    without_a_binding_a_session_is_good_from_anywhere,
    a_session_bound_to_a_prefix_is_good_from_its_network_only,
    a_session_bound_to_an_address_is_good_from_there_only,
    an_address_that_is_none_is_refused_from_every_caller,
    of_a_caller_that_may_not_assert_addresses_the_connections_own_counts,
    networks_of_a_user_hold_for_the_login_and_for_each_verification,
    a_login_beyond_the_quota_drops_the_oldest_session,
    a_login_beyond_the_quota_is_denied_where_the_policy_says_so,
    logins_at_once_never_exceed_the_quota,
    the_quota_counts_live_sessions_of_one_app,
    zato_22_networks_of_a_user_let_in_who_comes_from_there,
    zato_24_logins_at_once_are_sessions_of_their_own_within_the_quota,
);

fn from(server: &TestServer, address: &str) -> Client {
    server.client().with_client_info(at("", address))
}

async fn log_in_from(server: &TestServer, address: &str) -> Ust {
    from(server, address).log_in("alice", &server.alice.password).await.unwrap().ust
}

async fn bound(database: Database, binding: AddressBinding) -> TestServer {
    TestServer::start_with(database, |config| config.session.address_binding = binding).await
}

async fn without_a_binding_a_session_is_good_from_anywhere(database: Database) {
    for (binding, shown) in [(AddressBinding::Off, ""), (AddressBinding::Record, "192.0.2.1")] {
        let server = bound(database, binding).await;
        let ust = log_in_from(&server, "192.0.2.1").await;
        assert!(is_active(&from(&server, "2001:db8::1"), &ust).await);
        assert_eq!(server.on_behalf_of(&ust).current_session().await.unwrap().remote_addr, shown);
    }
}

async fn a_session_bound_to_a_prefix_is_good_from_its_network_only(database: Database) {
    let server = bound(database, AddressBinding::Prefix).await;
    for (login, good, bad) in [
        ("192.0.2.1", ["192.0.2.255", "::ffff:192.0.2.9"], ["192.0.3.1", "2001:db8::1"]),
        (
            "2001:db8:0:100::1",
            ["2001:db8:0:1ff::9", "[2001:db8:0:100::1%eth0]:443"],
            ["2001:db8:0:200::1", "192.0.2.1"],
        ),
    ] {
        let ust = log_in_from(&server, login).await;
        for address in good {
            assert!(is_active(&from(&server, address), &ust).await, "{login} {address}");
        }
        for address in bad {
            let verdict = why_inactive(&from(&server, address), &ust).await;
            assert_eq!(verdict, not_revoked(InactiveReason::AddressMismatch), "{login} {address}");
            let acting = from(&server, address).on_behalf_of(&ust);
            assert_eq!(acting.current_user().await.reason(), ErrorReason::SessionInvalid);
            assert_eq!(acting.rotate().await.reason(), ErrorReason::SessionInvalid);
        }
        assert!(is_active(&from(&server, login), &ust).await, "it was a question, not an attack");
    }
}

async fn a_session_bound_to_an_address_is_good_from_there_only(database: Database) {
    let server = bound(database, AddressBinding::Exact).await;
    let ust = log_in_from(&server, "192.0.2.1:1234").await;
    for address in ["192.0.2.1", " 192.0.2.1:99 ", "::ffff:192.0.2.1"] {
        assert!(is_active(&from(&server, address), &ust).await, "{address}");
    }
    for address in ["192.0.2.2", "::1", ""] {
        let verdict = why_inactive(&from(&server, address), &ust).await;
        assert_eq!(verdict, not_revoked(InactiveReason::AddressMismatch), "{address}");
    }
}

fn blind(name: &str) -> CallerToCreate {
    CallerToCreate { flags: Flags { may_assert_client_address: false, ..all_powerful("").flags }, ..all_powerful(name) }
}

async fn an_address_that_is_none_is_refused_from_every_caller(database: Database) {
    let server = TestServer::start(database).await;
    let key = server.caller(blind("blind")).await;
    for client in [server.client(), server.client_of(&key)] {
        for address in ["here", "192.0.2.1, 192.0.2.2", "192.0.2.0/24"] {
            let client = client.with_client_info(at("", address));
            assert_eq!(client.verify(&Ust::from("junk")).await.bad_field(), "client.remote_addr");
            assert_eq!(client.log_in("alice", &server.alice.password).await.bad_field(), "client.remote_addr");
        }
    }
}

async fn of_a_caller_that_may_not_assert_addresses_the_connections_own_counts(database: Database) {
    let server = bound(database, AddressBinding::Exact).await;
    let key = server.caller(blind("blind")).await;
    let blind = server.client_of(&key).with_client_info(at("", "192.0.2.1"));
    let login = blind.log_in("alice", &server.alice.password).await.unwrap();
    assert_eq!(login.session.remote_addr, "127.0.0.1");
    let elsewhere = blind.with_client_info(at("", "198.51.100.1"));
    assert!(is_active(&elsewhere, &login.ust).await, "what it says is not believed");
    let trusted = why_inactive(&from(&server, "192.0.2.1"), &login.ust).await;
    assert_eq!(trusted, not_revoked(InactiveReason::AddressMismatch));
    let event = &events_of(&server, "session.create").await[0];
    assert_eq!((event.caller.as_str(), event.remote_addr.as_str()), ("blind", "127.0.0.1"));
}

async fn allow(server: &TestServer, networks: &[&str]) {
    let networks = networks.iter().map(|network| (*network).to_owned()).collect();
    let user = User { user_id: server.alice.user_id.clone(), allowed_networks: networks, ..User::default() };
    let mask = FieldMask { paths: vec!["allowed_networks".into()] };
    let request = UpdateUserRequest { user: Some(user), update_mask: Some(mask), ..UpdateUserRequest::default() };
    server.as_root().await.update_user(request).await.unwrap();
}

async fn networks_of_a_user_hold_for_the_login_and_for_each_verification(database: Database) {
    let server = TestServer::start(database).await;
    let before = log_in_from(&server, "203.0.113.9").await;
    assert!(is_active(&from(&server, "203.0.113.9"), &before).await);
    allow(&server, &["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]).await;
    let not_allowed = not_revoked(InactiveReason::AddressNotAllowed);
    assert_eq!(why_inactive(&from(&server, "203.0.113.9"), &before).await, not_allowed, "at once");
    for address in ["192.0.2.77", "[2001:db8:7::1]:443", "198.51.100.7:1", "::ffff:192.0.2.77"] {
        let ust = log_in_from(&server, address).await;
        assert!(is_active(&from(&server, address), &ust).await, "{address}");
        assert_eq!(why_inactive(&from(&server, "198.51.100.8"), &ust).await, not_allowed);
    }
    let outside = from(&server, "198.51.100.8").log_in("alice", &server.alice.password).await;
    assert_eq!(outside.reason(), ErrorReason::LoginFailed);
    assert_eq!(events_of(&server, "session.create").await[0].reason, "address_not_allowed");
    allow(&server, &[]).await;
    assert!(is_active(&from(&server, "203.0.113.9"), &before).await, "no networks: from anywhere");
}

/// Zato's list of networks let nobody in on Python 3.
async fn zato_22_networks_of_a_user_let_in_who_comes_from_there(database: Database) {
    let server = TestServer::start(database).await;
    allow(&server, &["10.0.0.0/8"]).await;
    log_in_from(&server, "10.1.2.3").await;
    let outside = from(&server, "11.1.2.3").log_in("alice", &server.alice.password).await;
    assert_eq!(outside.reason(), ErrorReason::LoginFailed);
}

async fn with_quota(database: Database, quota: u32, policy: QuotaPolicy) -> TestServer {
    let change = |config: &mut lanyard_server::config::Config| {
        (config.session.quota, config.session.quota_policy) = (quota, policy);
    };
    TestServer::start_with(database, change).await
}

async fn a_login_beyond_the_quota_drops_the_oldest_session(database: Database) {
    let server = with_quota(database, 3, QuotaPolicy::DropOldest).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        server.clock.advance(std::time::Duration::from_millis(1));
        made.push(server.log_in(&server.alice).await.ust);
    }
    for dropped in &made[..2] {
        assert_eq!(why_inactive(&server.client(), dropped).await, revoked(RevokeReason::Quota));
    }
    for kept in &made[2..] {
        assert!(is_active(&server.client(), kept).await);
    }
    assert_eq!(events_of(&server, "session.revoke").await.len(), 2);
}

async fn a_login_beyond_the_quota_is_denied_where_the_policy_says_so(database: Database) {
    let server = with_quota(database, 2, QuotaPolicy::Deny).await;
    let (first, _second) = (server.as_alice().await, server.as_alice().await);
    let denied = || async { server.client().log_in("alice", &server.alice.password).await };
    assert_eq!(denied().await.reason(), ErrorReason::SessionQuotaReached);
    assert_eq!(events_of(&server, "session.create").await[0].reason, "quota");
    let wrong = server.client().log_in("alice", &"wrong-password".into()).await;
    assert_eq!(wrong.reason(), ErrorReason::LoginFailed, "the quota is told to those who may log in only");
    first.log_out().await.unwrap();
    server.as_alice().await;
    assert_eq!(denied().await.reason(), ErrorReason::SessionQuotaReached);
    server.clock.advance(server.config.session.idle);
    server.as_alice().await;
}

async fn logins_at_once_never_exceed_the_quota(database: Database) {
    for policy in [QuotaPolicy::Deny, QuotaPolicy::DropOldest] {
        let server = with_quota(database, 3, policy).await;
        let mut logins = JoinSet::new();
        for _ in 0..16 {
            let (client, password) = (server.client(), server.alice.password.clone());
            logins.spawn(async move { client.log_in("alice", &password).await.map_err(|error| error.reason) });
        }
        let outcomes = logins.join_all().await;
        let done: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        let mut live = 0;
        for login in &done {
            live += u32::from(is_active(&server.client(), &login.ust).await);
        }
        assert_eq!(live, 3, "{policy:?}");
        let all_else_is_quota = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        assert!(all_else_is_quota.into_iter().all(|reason| *reason == ErrorReason::SessionQuotaReached));
        assert_eq!(done.len(), if policy == QuotaPolicy::Deny { 3 } else { 16 });
        server.verify_audit().await;
    }
}

async fn the_quota_counts_live_sessions_of_one_app(database: Database) {
    let server = with_quota(database, 2, QuotaPolicy::Deny).await;
    let crm = server.client().with_client_info(at("CRM", ""));
    for client in [&server.client(), &crm] {
        for _ in 0..2 {
            client.log_in("alice", &server.alice.password).await.unwrap();
        }
        assert_eq!(client.log_in("alice", &server.alice.password).await.reason(), ErrorReason::SessionQuotaReached);
    }
    server.as_root().await;
}

/// In Zato two logins at once could make a session too many, because nothing held them apart.
async fn zato_24_logins_at_once_are_sessions_of_their_own_within_the_quota(database: Database) {
    let server = with_quota(database, 8, QuotaPolicy::DropOldest).await;
    let mut logins = JoinSet::new();
    for _ in 0..12 {
        let (client, password) = (server.client(), server.alice.password.clone());
        logins.spawn(async move { client.log_in("alice", &password).await.unwrap().session.session_id });
    }
    let ids: std::collections::HashSet<_> = logins.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 12);
    let of_alice = ListSessionsRequest { user_id: server.alice.user_id.clone(), ..ListSessionsRequest::default() };
    let active = ListSessionsRequest { state: SessionState::Active.into(), ..of_alice };
    assert_eq!(server.as_root().await.call(active).await.unwrap().sessions.len(), 8);
}
