//! Sessions: log in, ask whether a token is good, look, list.

use std::time::Duration;

use lanyard_client::v1::{
    AuthType, BatchVerifySessionsRequest, ClientInfo, ListSessionsRequest, Role, SessionState, SessionToVerify,
    UserSession,
};
use lanyard_client::{ErrorReason, InactiveReason, Ust, Verdict};
use lanyard_server::clock::Time;
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, at, is_active, not_revoked, why_inactive};
use lanyard_tests::support::server::{Database, TestServer};

both_databases!(
    a_login_makes_a_session_that_says_all_about_itself_but_its_token,
    a_good_token_is_told_with_whose_it_is_and_until_when,
    what_is_no_token_and_what_nobody_has_are_told_apart,
    a_batch_answers_one_verdict_each_in_its_order,
    a_batch_of_the_longest_length_is_answered_and_one_more_is_refused,
    each_token_of_a_batch_may_come_from_elsewhere,
    a_batch_counts_as_activity_and_a_peek_does_not,
    a_session_is_shown_to_its_user_and_to_super_users,
    sessions_are_listed_newest_first_page_by_page_each_once,
    sessions_are_filtered_by_state_app_and_method,
    everybodys_sessions_are_listed_for_super_users_only,
    a_list_is_told_of_a_user_that_is_not_there_to_super_users_only,
    a_page_token_of_another_query_or_another_asker_is_refused,
    zato_11_a_token_is_accepted_only_as_itself_and_never_listed,
    zato_12_a_super_user_reads_the_session_of_another_by_its_id,
    zato_21_a_login_needs_no_user_agent,
);

fn micros(time: Option<lanyard_client::prost_types::Timestamp>) -> Time {
    let time = time.expect("a time");
    Time::from_unix(time.seconds, time.nanos).expect("a time that fits")
}

async fn listed(server: &TestServer, request: ListSessionsRequest) -> Vec<UserSession> {
    server.as_root().await.list_sessions(request).next_page().await.unwrap().expect("a page")
}

async fn a_login_makes_a_session_that_says_all_about_itself_but_its_token(database: Database) {
    let server = TestServer::start(database).await;
    let info = ClientInfo {
        current_app: "CRM".into(),
        remote_addr: "198.51.100.7:4711".into(),
        user_agent: "Firefox\n(evil)".into(),
    };
    let client = server.client().with_client_info(info);
    let login = client.log_in("ALICE", &server.alice.password).await.unwrap();
    let session = login.session;
    assert!(session.session_id.starts_with("ses_") && session.user_id == server.alice.user_id);
    assert_eq!(session.username, "alice", "as it was written, not as it was typed");
    assert_eq!(session.roles().collect::<Vec<_>>(), [Role::Regular]);
    assert_eq!((session.auth_type(), session.state()), (AuthType::Password, SessionState::Active));
    assert_eq!((session.current_app.as_str(), session.remote_addr.as_str()), ("CRM", "198.51.100.7"));
    assert_eq!(session.user_agent, "Firefox\u{fffd}(evil)");
    assert!(session.logger_context.starts_with("alice:") && session.logger_context.len() == "alice:".len() + 8);
    let now = server.clock.now();
    assert_eq!((micros(session.creation_time), micros(session.last_active_time)), (now, now));
    assert_eq!(micros(session.expire_time), now + server.config.session.idle);
    assert_eq!(micros(session.absolute_expire_time), now + server.config.session.absolute);
    assert_eq!((session.revoke_time, session.rotation_count), (None, 0));
    assert!(login.warnings.is_empty());

    let shown = client.on_behalf_of(&login.ust).current_session().await.unwrap();
    assert_eq!(shown.logger_context, session.logger_context, "stable for the session");
    assert_eq!(shown, session);
}

async fn a_good_token_is_told_with_whose_it_is_and_until_when(database: Database) {
    let server = TestServer::start_with(database, |config| config.session.cache_for = Duration::from_secs(5)).await;
    for (person, role) in [(&server.alice, Role::Regular), (&server.root, Role::SuperUser)] {
        let login = server.log_in(person).await;
        let verified = server.client().verify(&login.ust).await.unwrap().into_session().unwrap();
        assert_eq!((&verified.user_id, &verified.username), (&person.user_id, &person.username));
        assert_eq!(verified.session_id, login.session.session_id);
        assert_eq!(verified.roles().collect::<Vec<_>>(), [role]);
        assert_eq!((verified.auth_type(), verified.current_app.as_str()), (AuthType::Password, "default"));
        assert_eq!(micros(verified.idle_expire_time), server.clock.now() + server.config.session.idle);
        assert_eq!(micros(verified.absolute_expire_time), server.clock.now() + server.config.session.absolute);
        assert_eq!(verified.cache_for(), Some(Duration::from_secs(5)));
    }
}

async fn what_is_no_token_and_what_nobody_has_are_told_apart(database: Database) {
    let server = TestServer::start(database).await;
    let client = server.client();
    let good = server.log_in(&server.alice).await.ust;
    let other = TestServer::start(Database::Sqlite).await;
    let of_another_server = other.log_in(&other.alice).await.ust;
    let damaged: String = good.expose().chars().rev().collect();
    for junk in ["", "lyu1_", "\0", "💥", &good.expose()[1..], &format!("{}x", good.expose()), &damaged] {
        let verdict = why_inactive(&client, &Ust::from(junk)).await;
        assert_eq!(verdict, not_revoked(InactiveReason::Malformed), "{junk:?}");
    }
    assert_eq!(why_inactive(&client, &of_another_server).await, not_revoked(InactiveReason::Unknown));
    assert!(is_active(&client, &good).await);
}

async fn a_batch_answers_one_verdict_each_in_its_order(database: Database) {
    let server = TestServer::start(database).await;
    let client = server.client();
    let (alice, root) = (server.log_in(&server.alice).await, server.log_in(&server.root).await);
    let gone = server.log_in(&server.alice).await.ust;
    server.on_behalf_of(&gone).log_out().await.unwrap();
    let junk = Ust::from("junk");
    let tokens = [&root.ust, &junk, &alice.ust, &gone, &root.ust];
    let verdicts = client.batch_verify(tokens).await.unwrap();
    let told: Vec<_> = verdicts
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Active(session) => Ok(session.session_id.clone()),
            Verdict::Inactive(inactive) => Err(inactive.reason),
        })
        .collect();
    let root = root.session.session_id;
    let expected = [
        Ok(root.clone()),
        Err(InactiveReason::Malformed),
        Ok(alice.session.session_id),
        Err(InactiveReason::Revoked),
        Ok(root),
    ];
    assert_eq!(told, expected);
}

async fn a_batch_of_the_longest_length_is_answered_and_one_more_is_refused(database: Database) {
    let server = TestServer::start(database).await;
    let client = server.client();
    let login = server.log_in(&server.alice).await;
    let junk = Ust::from("junk");
    let tokens: Vec<&Ust> = (0..500).map(|place| if place % 3 == 0 { &login.ust } else { &junk }).collect();
    let verdicts = client.batch_verify(tokens.iter().copied()).await.unwrap();
    for (place, verdict) in verdicts.into_iter().enumerate() {
        assert_eq!(matches!(verdict, Verdict::Active(_)), place % 3 == 0, "{place}");
    }
    let too_many = tokens.into_iter().chain([&junk]);
    assert_eq!(client.batch_verify(too_many).await.bad_field(), "sessions");
    assert_eq!(client.call(BatchVerifySessionsRequest::default()).await.bad_field(), "sessions");
}

async fn each_token_of_a_batch_may_come_from_elsewhere(database: Database) {
    use lanyard_server::config::AddressBinding;
    let server =
        TestServer::start_with(database, |config| config.session.address_binding = AddressBinding::Exact).await;
    let here = server.client().with_client_info(at("default", "192.0.2.1"));
    let ust = here.log_in("alice", &server.alice.password).await.unwrap().ust;
    let token = |client| SessionToVerify { ust: ust.expose().into(), client };
    let batch = [None, Some(at("default", "192.0.2.2")), Some(at("default", "192.0.2.1"))].map(token);
    let verdicts = here.batch_verify(batch).await.unwrap();
    let told = verdicts.into_iter().map(|verdict| verdict.into_session().map(drop).map_err(|why| why.reason));
    assert_eq!(told.collect::<Vec<_>>(), [Ok(()), Err(InactiveReason::AddressMismatch), Ok(())]);
}

async fn a_batch_counts_as_activity_and_a_peek_does_not(database: Database) {
    let server = TestServer::start(database).await;
    let client = server.client();
    let (used, peeked) = (server.log_in(&server.alice).await.ust, server.log_in(&server.alice).await.ust);
    let idle = server.config.session.idle;
    server.clock.advance(idle / 2);
    client.batch_verify([&used]).await.unwrap();
    client.batch_peek([&peeked]).await.unwrap();
    server.clock.advance(idle / 2);
    assert!(is_active(&client, &used).await);
    assert_eq!(why_inactive(&client, &peeked).await, not_revoked(InactiveReason::IdleExpired));
}

/// The token is shown to its holder only.
fn as_others_see(session: UserSession) -> UserSession {
    UserSession { session_auth: String::new(), ..session }
}

async fn a_session_is_shown_to_its_user_and_to_super_users(database: Database) {
    let server = TestServer::start(database).await;
    let bob = server.add_user("bob", false).await;
    let (alice, bob, root) =
        (server.log_in(&server.alice).await, server.acting_for(&bob).await, server.as_root().await);
    let id = &alice.session.session_id;
    let myself = server.on_behalf_of(&alice.ust);
    assert_eq!(myself.get_session(id).await.unwrap(), alice.session);
    assert_eq!(root.get_session(id).await.unwrap(), as_others_see(alice.session.clone()));
    // Said before anything is looked up: the same for a session that is there and one that is not.
    let nowhere = "ses_00000000000070008000000000000000";
    assert_eq!(bob.get_session(id).await.reason(), ErrorReason::SuperUserRequired);
    assert_eq!(bob.get_session(nowhere).await.reason(), ErrorReason::SuperUserRequired);
    assert_eq!(root.get_session(nowhere).await.reason(), ErrorReason::SessionNotFound);
    assert_eq!(root.get_session("alice").await.bad_field(), "session_id");
}

async fn sessions_are_listed_newest_first_page_by_page_each_once(database: Database) {
    let server = TestServer::start_with(database, |config| config.session.quota = 500).await;
    let mut made = Vec::new();
    for _ in 0..53 {
        server.clock.advance(Duration::from_millis(2));
        made.push(server.log_in(&server.alice).await);
    }
    let myself = server.on_behalf_of(&made[0].ust);
    made.reverse();
    let expected: Vec<&str> = made.iter().map(|login| login.session.session_id.as_str()).collect();
    for (page_size, lengths) in [(0, vec![50, 3]), (20, vec![20, 20, 13]), (53, vec![53]), (i32::MAX, vec![53])] {
        let mut pages = myself.list_sessions(ListSessionsRequest { page_size, ..ListSessionsRequest::default() });
        let mut found = Vec::new();
        for length in lengths {
            let page = pages.next_page().await.unwrap().expect("one more page");
            assert_eq!(page.len(), length);
            found.extend(page);
        }
        assert!(pages.next_page().await.unwrap().is_none());
        assert_eq!(found.iter().map(|session| session.session_id.as_str()).collect::<Vec<_>>(), expected);
    }
    let negative = ListSessionsRequest { page_size: -1, ..ListSessionsRequest::default() };
    assert_eq!(myself.call(negative).await.bad_field(), "page_size");
}

async fn sessions_are_filtered_by_state_app_and_method(database: Database) {
    let server = TestServer::start(database).await;
    let idle = server.config.session.idle;
    let expired = server.log_in(&server.alice).await.session.session_id;
    let kept = server.log_in(&server.alice).await;
    server.clock.advance(idle / 2);
    server.client().verify(&kept.ust).await.unwrap().into_session().unwrap();
    server.clock.advance(idle / 2);
    let revoked = server.log_in(&server.alice).await;
    server.on_behalf_of(&revoked.ust).log_out().await.unwrap();
    let crm = server.client().with_client_info(at("CRM", "")).log_in("alice", &server.alice.password).await.unwrap();

    let of_alice = || ListSessionsRequest { user_id: server.alice.user_id.clone(), ..Default::default() };
    for (state, app, mut expected) in [
        (SessionState::Active, "", vec![kept.session.session_id.clone(), crm.session.session_id.clone()]),
        (SessionState::Active, "CRM", vec![crm.session.session_id.clone()]),
        (SessionState::Expired, "", vec![expired.clone()]),
        (SessionState::Revoked, "", vec![revoked.session.session_id.clone()]),
        (SessionState::Revoked, "CRM", vec![]),
        (
            SessionState::Unspecified,
            "default",
            vec![expired, kept.session.session_id.clone(), revoked.session.session_id.clone()],
        ),
    ] {
        let request = ListSessionsRequest { state: state.into(), app: app.into(), auth_type: 1, ..of_alice() };
        let mut found: Vec<_> = listed(&server, request)
            .await
            .into_iter()
            .map(|session| {
                assert!(state == SessionState::Unspecified || session.state() == state);
                session.session_id
            })
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{state:?} {app}");
    }
    let unknown = ListSessionsRequest { state: 77, ..of_alice() };
    assert_eq!(server.as_root().await.call(unknown).await.bad_field(), "state");
}

async fn everybodys_sessions_are_listed_for_super_users_only(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    let everybody = || ListSessionsRequest { all_users: true, ..ListSessionsRequest::default() };
    let users: Vec<_> = listed(&server, everybody()).await.into_iter().map(|session| session.username).collect();
    assert!(users.contains(&"alice".to_owned()) && users.contains(&"root".to_owned()), "{users:?}");
    assert_eq!(alice.call(everybody()).await.reason(), ErrorReason::SuperUserRequired);
    let both = ListSessionsRequest { user_id: server.alice.user_id.clone(), ..everybody() };
    assert_eq!(server.as_root().await.call(both).await.bad_field(), "user_id");
}

async fn a_list_is_told_of_a_user_that_is_not_there_to_super_users_only(database: Database) {
    let server = TestServer::start(database).await;
    let of = |user_id: &str| ListSessionsRequest { user_id: user_id.into(), ..ListSessionsRequest::default() };
    let nobody = of("usr_00000000000070008000000000000000");
    let alice = server.as_alice().await;
    assert_eq!(alice.call(of(&server.alice.user_id)).await.unwrap().sessions.len(), 1, "the own ID is the own list");
    assert_eq!(alice.call(of(&server.root.user_id)).await.reason(), ErrorReason::SuperUserRequired);
    assert_eq!(alice.call(nobody.clone()).await.reason(), ErrorReason::SuperUserRequired);
    assert_eq!(server.as_root().await.call(nobody).await.reason(), ErrorReason::UserNotFound);
    let bob = server.add_user("bob", false).await;
    assert!(listed(&server, of(&bob.user_id)).await.is_empty(), "a user without sessions is there");
}

async fn a_page_token_of_another_query_or_another_asker_is_refused(database: Database) {
    let server = TestServer::start(database).await;
    let (alice, root) = (server.as_alice().await, server.as_root().await);
    server.as_alice().await;
    let first = ListSessionsRequest { page_size: 1, ..ListSessionsRequest::default() };
    let page_token = alice.call(first.clone()).await.unwrap().next_page_token;
    assert!(!page_token.is_empty());
    let next = ListSessionsRequest { page_token, ..first };
    assert_eq!(alice.call(next.clone()).await.unwrap().sessions.len(), 1);
    assert_eq!(root.call(next.clone()).await.reason(), ErrorReason::PageTokenInvalid);
    let other = ListSessionsRequest { app: "default".into(), ..next.clone() };
    assert_eq!(alice.call(other).await.reason(), ErrorReason::PageTokenInvalid);
    let damaged = ListSessionsRequest { page_token: format!("A{}", next.page_token), ..next.clone() };
    assert_eq!(alice.call(damaged).await.bad_field(), "page_token");
    let bigger = ListSessionsRequest { page_size: 7, ..next.clone() };
    assert_eq!(alice.call(bigger).await.unwrap().sessions.len(), 1, "the length of a page may change");
}

/// Zato accepted stored forms of tokens, kept them in the clear and returned them in lists.
async fn zato_11_a_token_is_accepted_only_as_itself_and_never_listed(database: Database) {
    let server = TestServer::start(database).await;
    let login = server.log_in(&server.alice).await;
    let all = ListSessionsRequest { all_users: true, ..ListSessionsRequest::default() };
    let shown = format!("{:?}", listed(&server, all).await);
    assert!(shown.contains(&login.session.session_id) && !shown.contains("lyu1_"), "{shown}");
    let random_part = &login.ust.expose()["lyu1_".len()..];
    assert!(!shown.contains(random_part));
    for other_form in [random_part, &login.session.session_id, &login.ust.expose().to_lowercase()] {
        assert!(!is_active(&server.client(), &Ust::from(other_form)).await, "{other_form}");
    }
    if database == Database::Sqlite {
        for file in ["lanyard.db", "lanyard.db-wal"] {
            let bytes = std::fs::read(server.folder().join(file)).unwrap_or_default();
            let found = bytes.windows(20).any(|window| window == &random_part.as_bytes()[..20]);
            assert!(!found, "the token stands in {file}");
        }
    }
}

/// Zato could not decrypt the token of the target, so a super-user could not read another's session.
async fn zato_12_a_super_user_reads_the_session_of_another_by_its_id(database: Database) {
    let server = TestServer::start(database).await;
    let login = server.log_in(&server.alice).await;
    let found = server.as_root().await.get_session(&login.session.session_id).await.unwrap();
    assert_eq!(found, as_others_see(login.session));
}

/// In Zato a login without a user agent failed.
async fn zato_21_a_login_needs_no_user_agent(database: Database) {
    let server = TestServer::start(database).await;
    let client = server.client().with_client_info(at("default", "192.0.2.1"));
    let login = client.log_in("alice", &server.alice.password).await.unwrap();
    assert_eq!(login.session.user_agent, "");
    let long = ClientInfo { user_agent: "é".repeat(2000), ..at("default", "192.0.2.1") };
    let login = server.client().with_client_info(long).log_in("alice", &server.alice.password).await.unwrap();
    assert_eq!(login.session.user_agent.len(), 1024);
}
