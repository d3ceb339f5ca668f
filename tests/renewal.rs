//! How sessions go on and end by themselves: renewal, rotation with its grace, idle and absolute limits, policies of apps.

use std::collections::HashSet;
use std::time::Duration;

use lanyard_client::prost_types::Timestamp;
use lanyard_client::v1::{ListSessionsRequest, SessionState};
use lanyard_client::{ErrorReason, InactiveReason, RevokeReason, Ust};
use lanyard_server::clock::Time;
use lanyard_server::config::Config;
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{
    MOMENT, Refused, at, events_of, is_active, just_before, not_revoked, revoked, said, why_inactive,
};
use lanyard_tests::support::server::{Database, TestServer};
use tokio::task::JoinSet;

both_databases!(
    a_session_ends_at_its_idle_limit_to_the_microsecond,
    a_session_ends_at_its_absolute_limit_to_the_microsecond_however_active_it_is,
    activity_moves_the_idle_limit_and_a_peek_does_not,
    activity_is_noted_no_finer_than_its_granularity,
    activity_survives_a_restart_in_order,
    a_renewal_moves_the_idle_limit_and_never_the_absolute_one,
    an_app_with_a_shorter_policy_ends_the_session_earlier_there_and_only_there,
    a_login_to_an_app_with_a_shorter_policy_is_shorter_everywhere,
    a_session_that_has_ended_is_not_renewed,
    a_rotation_replaces_the_token_and_keeps_the_session,
    within_the_grace_the_old_token_works_and_yields_the_same_successor,
    after_the_grace_the_old_token_is_rotated_and_the_session_lives,
    renewing_with_a_token_whose_grace_is_over_ends_the_session,
    verifying_a_token_from_two_rotations_ago_ends_the_session,
    a_batch_notices_a_reused_token_too,
    many_who_rotate_at_once_get_the_same_successor,
    zato_25_renewals_at_once_lose_nothing,
);

fn micros(time: Option<Timestamp>) -> Time {
    let time = time.expect("a time");
    Time::from_unix(time.seconds, time.nanos).expect("a time that fits")
}

async fn a_session_ends_at_its_idle_limit_to_the_microsecond(database: Database) {
    let server = TestServer::start(database).await;
    let ust = server.log_in(&server.alice).await.ust;
    server.clock.advance(just_before(server.config.session.idle));
    assert!(is_active(&server.client(), &ust).await);
    server.clock.advance(MOMENT);
    assert_eq!(why_inactive(&server.client(), &ust).await, not_revoked(InactiveReason::IdleExpired));
    assert_eq!(server.on_behalf_of(&ust).current_user().await.reason(), ErrorReason::SessionInvalid);
}

async fn a_session_ends_at_its_absolute_limit_to_the_microsecond_however_active_it_is(database: Database) {
    let server = TestServer::start(database).await;
    let client = server.client();
    let ust = server.log_in(&server.alice).await.ust;
    let (idle, absolute) = (server.config.session.idle, server.config.session.absolute);
    let steps = u32::try_from(absolute.as_secs() / (idle.as_secs() / 2)).unwrap();
    for _ in 1..steps {
        server.clock.advance(idle / 2);
        client.verify(&ust).await.unwrap().into_session().unwrap();
    }
    server.clock.advance(just_before(idle / 2));
    let last = client.verify(&ust).await.unwrap().into_session().unwrap();
    assert_eq!(last.idle_expire_time, last.absolute_expire_time, "the earlier of the two");
    server.clock.advance(MOMENT);
    assert_eq!(why_inactive(&client, &ust).await, not_revoked(InactiveReason::AbsoluteExpired));
}

async fn activity_moves_the_idle_limit_and_a_peek_does_not(database: Database) {
    let server = TestServer::start(database).await;
    let client = server.client();
    let login = server.log_in(&server.alice).await;
    let idle = server.config.session.idle;
    server.clock.advance(idle / 2);
    let peeked = client.peek(&login.ust).await.unwrap().into_session().unwrap();
    assert_eq!(peeked.idle_expire_time, login.session.expire_time);
    let verified = client.verify(&login.ust).await.unwrap().into_session().unwrap();
    assert_eq!(micros(verified.idle_expire_time), server.clock.now() + idle);
    server.clock.advance(just_before(idle));
    // Acting on behalf of the user is activity of the user.
    let shown = server.on_behalf_of(&login.ust).current_session().await.unwrap();
    assert_eq!(micros(shown.last_active_time), server.clock.now());
    server.clock.advance(just_before(idle));
    assert!(is_active(&client, &login.ust).await);
    server.clock.advance(MOMENT);
    assert_eq!(why_inactive(&client, &login.ust).await, not_revoked(InactiveReason::IdleExpired));
}

async fn activity_is_noted_no_finer_than_its_granularity(database: Database) {
    let server = TestServer::start(database).await;
    let login = server.log_in(&server.alice).await;
    server.clock.advance(just_before(server.config.session.activity_granularity));
    let early = server.client().verify(&login.ust).await.unwrap().into_session().unwrap();
    assert_eq!(early.idle_expire_time, login.session.expire_time);
    server.clock.advance(MOMENT);
    let late = server.client().verify(&login.ust).await.unwrap().into_session().unwrap();
    assert_eq!(micros(late.idle_expire_time), server.clock.now() + server.config.session.idle);
}

async fn activity_survives_a_restart_in_order(database: Database) {
    // So seldom that only the end of the server writes it.
    let seldom = |config: &mut Config| config.session.activity_flush = Duration::from_hours(1);
    let mut server = TestServer::start_with(database, seldom).await;
    let (active, idle) = (server.log_in(&server.alice).await.ust, server.log_in(&server.alice).await.ust);
    server.clock.advance(server.config.session.idle / 2);
    server.client().verify(&active).await.unwrap().into_session().unwrap();
    server.restart().await;
    server.clock.advance(server.config.session.idle / 2);
    assert!(is_active(&server.client(), &active).await);
    assert_eq!(why_inactive(&server.client(), &idle).await, not_revoked(InactiveReason::IdleExpired));
}

async fn a_renewal_moves_the_idle_limit_and_never_the_absolute_one(database: Database) {
    let server = TestServer::start(database).await;
    let login = server.log_in(&server.alice).await;
    let myself = server.on_behalf_of(&login.ust);
    let (idle, absolute) = (server.config.session.idle, server.config.session.absolute);
    let end = server.clock.now() + absolute;
    while server.clock.now() + idle / 2 < end {
        server.clock.advance(idle / 2);
        let renewed = myself.renew().await.unwrap();
        assert!(renewed.ust.is_none() && renewed.grace_time.is_none(), "the token stays");
        assert_eq!(micros(renewed.session.expire_time), (server.clock.now() + idle).min(end));
        assert_eq!(micros(renewed.session.absolute_expire_time), end);
        assert_eq!(micros(renewed.session.last_active_time), server.clock.now());
    }
    server.clock.advance(end.since(server.clock.now()));
    assert_eq!(myself.renew().await.reason(), ErrorReason::SessionInvalid);
}

fn short_crm(config: &mut Config) {
    let crm = config.apps.get_mut("CRM").expect("the app of the tests");
    (crm.idle, crm.absolute) = (Some(Duration::from_mins(5)), Some(Duration::from_mins(20)));
}

async fn an_app_with_a_shorter_policy_ends_the_session_earlier_there_and_only_there(database: Database) {
    let server = TestServer::start_with(database, short_crm).await;
    let (anywhere, crm) = (server.client(), server.client().with_client_info(at("CRM", "")));
    let login = server.log_in(&server.alice).await;
    let begin = server.clock.now();
    let there = crm.peek(&login.ust).await.unwrap().into_session().unwrap();
    assert_eq!(micros(there.idle_expire_time), begin + Duration::from_mins(5));
    assert_eq!(micros(there.absolute_expire_time), begin + Duration::from_mins(20));
    server.clock.advance(Duration::from_mins(5));
    assert_eq!(why_inactive(&crm, &login.ust).await, not_revoked(InactiveReason::IdleExpired));
    anywhere.verify(&login.ust).await.unwrap().into_session().unwrap();
    assert!(is_active(&crm, &login.ust).await, "activity counts wherever it was");
    server.clock.advance(Duration::from_mins(15));
    assert_eq!(why_inactive(&crm, &login.ust).await, not_revoked(InactiveReason::AbsoluteExpired));
    assert!(is_active(&anywhere, &login.ust).await);
    let unknown = server.client().with_client_info(at("no-such-app", ""));
    assert_eq!(unknown.verify(&login.ust).await.reason(), ErrorReason::AppUnknown);
    assert_eq!(unknown.log_in("alice", &server.alice.password).await.bad_field(), "client.current_app");
}

async fn a_login_to_an_app_with_a_shorter_policy_is_shorter_everywhere(database: Database) {
    let server = TestServer::start_with(database, short_crm).await;
    let (anywhere, crm) = (server.client(), server.client().with_client_info(at("CRM", "")));
    let login = crm.log_in("alice", &server.alice.password).await.unwrap();
    assert_eq!(micros(login.session.expire_time), server.clock.now() + Duration::from_mins(5));
    server.clock.advance(Duration::from_mins(5));
    assert_eq!(why_inactive(&anywhere, &login.ust).await, not_revoked(InactiveReason::IdleExpired));
}

async fn a_session_that_has_ended_is_not_renewed(database: Database) {
    let server = TestServer::start(database).await;
    let (revoked, idle) = (server.as_alice().await, server.as_alice().await);
    revoked.log_out().await.unwrap();
    assert_eq!(revoked.rotate().await.reason(), ErrorReason::SessionInvalid);
    server.clock.advance(server.config.session.idle);
    assert_eq!(idle.renew().await.reason(), ErrorReason::SessionInvalid);
    for nobody in [Ust::from("junk"), Ust::from("")] {
        assert_eq!(server.on_behalf_of(&nobody).rotate().await.reason(), ErrorReason::SessionInvalid);
    }
}

async fn a_rotation_replaces_the_token_and_keeps_the_session(database: Database) {
    let server = TestServer::start(database).await;
    let login = server.log_in(&server.alice).await;
    let rotated = server.on_behalf_of(&login.ust).rotate().await.unwrap();
    assert_eq!(rotated.session.session_id, login.session.session_id);
    assert_eq!(rotated.session.rotation_count, 1);
    assert_eq!(micros(rotated.grace_time), server.clock.now() + server.config.session.rotation_grace);
    let new = rotated.ust.unwrap();
    assert_ne!(new.expose(), login.ust.expose());
    let verified = server.client().verify(&new).await.unwrap().into_session().unwrap();
    assert_eq!(verified.session_id, login.session.session_id);
}

async fn within_the_grace_the_old_token_works_and_yields_the_same_successor(database: Database) {
    let server = TestServer::start(database).await;
    let old = server.log_in(&server.alice).await.ust;
    let first = server.on_behalf_of(&old).rotate().await.unwrap();
    let successor = first.ust.unwrap();
    server.clock.advance(just_before(server.config.session.rotation_grace));
    assert!(is_active(&server.client(), &old).await);
    server.on_behalf_of(&old).current_user().await.unwrap();
    for again in [server.on_behalf_of(&old).rotate().await, server.on_behalf_of(&old).renew().await] {
        let again = again.unwrap();
        assert_eq!(again.ust.unwrap().expose(), successor.expose());
        assert_eq!(again.grace_time, first.grace_time, "asking again does not make the grace longer");
        assert_eq!(again.session.rotation_count, 1);
    }
}

async fn after_the_grace_the_old_token_is_rotated_and_the_session_lives(database: Database) {
    let server = TestServer::start(database).await;
    let old = server.log_in(&server.alice).await.ust;
    let new = server.on_behalf_of(&old).rotate().await.unwrap().ust.unwrap();
    server.clock.advance(server.config.session.rotation_grace);
    assert_eq!(why_inactive(&server.client(), &old).await, not_revoked(InactiveReason::Rotated));
    assert_eq!(server.on_behalf_of(&old).current_user().await.reason(), ErrorReason::SessionInvalid);
    assert!(is_active(&server.client(), &new).await);
}

async fn renewing_with_a_token_whose_grace_is_over_ends_the_session(database: Database) {
    let server = TestServer::start(database).await;
    let old = server.log_in(&server.alice).await.ust;
    let new = server.on_behalf_of(&old).rotate().await.unwrap().ust.unwrap();
    server.clock.advance(server.config.session.rotation_grace);
    assert_eq!(server.on_behalf_of(&old).rotate().await.reason(), ErrorReason::SessionInvalid);
    for token in [&old, &new] {
        assert_eq!(why_inactive(&server.client(), token).await, revoked(RevokeReason::TokenReused));
    }
    assert_eq!(
        server.app().login_metrics().token_reuse(),
        1,
        "one session ended so, however often its tokens are tried"
    );
    let event = &events_of(&server, "session.renew").await[0];
    assert_eq!(said(event), ("session.renew", "token_reused"));
    server.verify_audit().await;
}

async fn verifying_a_token_from_two_rotations_ago_ends_the_session(database: Database) {
    let server = TestServer::start(database).await;
    let oldest = server.log_in(&server.alice).await.ust;
    let old = server.on_behalf_of(&oldest).rotate().await.unwrap().ust.unwrap();
    let new = server.on_behalf_of(&old).rotate().await.unwrap().ust.unwrap();
    assert!(is_active(&server.client(), &old).await, "the last one has its grace");
    assert_eq!(why_inactive(&server.client(), &oldest).await, revoked(RevokeReason::TokenReused));
    for token in [&oldest, &old, &new] {
        assert_eq!(why_inactive(&server.client(), token).await, revoked(RevokeReason::TokenReused));
    }
    let events = events_of(&server, "session.verify").await;
    assert_eq!(events.iter().map(said).collect::<Vec<_>>(), [("session.verify", "token_reused")], "told once");
    assert_eq!(server.app().login_metrics().token_reuse(), 1, "and counted once");
}

async fn a_batch_notices_a_reused_token_too(database: Database) {
    let server = TestServer::start(database).await;
    let oldest = server.log_in(&server.alice).await.ust;
    let old = server.on_behalf_of(&oldest).rotate().await.unwrap().ust.unwrap();
    server.on_behalf_of(&old).rotate().await.unwrap();
    let verdicts = server.client().batch_verify([&oldest, &oldest]).await.unwrap();
    for verdict in verdicts {
        assert_eq!(verdict.into_session().unwrap_err().revoke_reason, RevokeReason::TokenReused);
    }
}

async fn many_who_rotate_at_once_get_the_same_successor(database: Database) {
    let server = TestServer::start(database).await;
    let old = server.log_in(&server.alice).await.ust;
    let mut rotating = JoinSet::new();
    for _ in 0..24 {
        let myself = server.on_behalf_of(&old);
        rotating.spawn(async move { myself.rotate().await.unwrap().ust.unwrap().expose().to_owned() });
    }
    let successors: HashSet<String> = rotating.join_all().await.into_iter().collect();
    assert_eq!(successors.len(), 1);
    let new = Ust::from(successors.into_iter().next().unwrap());
    assert_eq!(server.on_behalf_of(&new).current_session().await.unwrap().rotation_count, 1);
}

/// Zato kept renewals in a list inside the row, which those at once overwrote: renewals got lost.
async fn zato_25_renewals_at_once_lose_nothing(database: Database) {
    let server = TestServer::start(database).await;
    let login = server.log_in(&server.alice).await;
    server.clock.advance(Duration::from_mins(1));
    let mut renewing = JoinSet::new();
    for _ in 0..24 {
        let myself = server.on_behalf_of(&login.ust);
        renewing.spawn(async move { myself.renew().await.unwrap().session.expire_time });
    }
    let expected = server.clock.now() + server.config.session.idle;
    for expire_time in renewing.join_all().await {
        assert_eq!(micros(expire_time), expected);
    }
    assert_eq!(events_of(&server, "session.renew").await.len(), 24, "each is in the audit trail");
    let active = ListSessionsRequest { state: SessionState::Active.into(), ..ListSessionsRequest::default() };
    let sessions = server.on_behalf_of(&login.ust).call(active).await.unwrap().sessions;
    assert_eq!(sessions.len(), 1);
    assert_eq!(micros(sessions[0].expire_time), expected);
    server.verify_audit().await;
}
