//! Linking an account to oneself: both sides are proved afresh, and the attacks on linked accounts come to nothing.

use std::time::Duration;

use lanyard_client::secrecy::SecretString;
use lanyard_client::v1::create_linked_auth_request::Proof;
use lanyard_client::v1::create_session_request::Credential;
use lanyard_client::v1::definition_ref::Definition as ByNumber;
use lanyard_client::v1::{BasicAuthCredential, ClientInfo, CreateLinkedAuthRequest, JwtCredential, LinkedAuth, User};
use lanyard_client::{Code, Error, ErrorReason, Subject, prost_types};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{MOMENT, Refused, events_of};
use lanyard_tests::support::external::{BOTH, Defined, Kinds, SIGNING_SECRET, turn_definition};
use lanyard_tests::support::server::{Database, Person, TestServer};
use lanyard_tests::support::signing::Signer;

both_databases!(
    a_user_who_proves_both_sides_links_themself_and_logs_in_with_it,
    it_is_off_unless_the_app_allows_it,
    the_login_must_be_fresh,
    a_session_that_did_not_begin_with_a_password_links_nothing,
    a_bad_proof_is_a_failed_login_whatever_is_wrong_with_it,
    guesses_at_a_proof_are_throttled_by_definition,
    a_definition_that_is_linked_cannot_be_taken_over,
    many_who_prove_the_same_definition_at_once_do_not_share_it,
    a_super_user_too_links_themself_by_proving_both_sides,
    nobody_is_linked_by_being_called_the_same,
    the_same_subject_of_another_issuer_is_somebody_else,
    a_definition_that_was_made_again_is_linked_to_nobody,
    who_lost_the_session_to_its_owner_links_nothing,
    what_proving_came_to_is_written_down,
);

/// The app that allows it.
const APP: &str = "CRM";

async fn start(database: Database) -> TestServer {
    let allow = |config: &mut lanyard_server::config::Config| {
        config.apps.get_mut(APP).expect("it is there").self_service_links = true;
    };
    TestServer::start_with(database, allow).await
}

/// Somebody who has just logged in with a password, in the app.
async fn fresh(server: &TestServer, person: &Person) -> Subject {
    in_app(server, APP).on_behalf_of(&server.log_in(person).await.ust)
}

fn in_app(server: &TestServer, app: &str) -> lanyard_client::Client {
    server.client().with_client_info(ClientInfo { current_app: app.to_owned(), ..ClientInfo::default() })
}

/// A good credential as a proof.
fn proof(server: &TestServer, defined: &Defined) -> Proof {
    match defined.credential(&server.clock, 0) {
        Credential::BasicAuth(sent) => Proof::BasicAuth(sent),
        Credential::Jwt(sent) => Proof::Jwt(sent),
        Credential::Password(_) | Credential::Platform(_) => unreachable!("no definition is of a user or a platform"),
    }
}

async fn link(server: &TestServer, subject: &Subject, defined: &Defined) -> Result<LinkedAuth, Error> {
    subject.create_own_linked_auth(proof(server, defined)).await
}

fn basic(username: &str, secret: &str) -> Proof {
    Proof::BasicAuth(BasicAuthCredential { username: username.to_owned(), secret: secret.to_owned() })
}

fn sign(claims: &serde_json::Value, secret: &str) -> String {
    Signer::Secret(secret.into()).token(&serde_json::json!({ "alg": "HS256" }), claims)
}

fn jwt(token: impl Into<String>) -> Proof {
    Proof::Jwt(JwtCredential { token: token.into(), ..JwtCredential::default() })
}

async fn a_user_who_proves_both_sides_links_themself_and_logs_in_with_it(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    for kind in BOTH {
        let defined = Defined::new(&root, kind, &format!("{kind:?}")).await;
        let alice = fresh(&server, &server.alice).await;
        let made = link(&server, &alice, &defined).await.unwrap();
        assert_eq!((made.user_id.as_str(), made.auth_id), (server.alice.user_id.as_str(), defined.auth_id));
        assert!(made.is_active && !made.is_internal);
        assert_eq!(defined.link_of(&root, &server.alice.user_id).await, made);
        let login = defined.log_in(&server).await;
        assert_eq!((login.session.user_id, login.session.auth_id), (server.alice.user_id.clone(), defined.auth_id));
    }
    // The own ID may be given, which changes nothing.
    let defined = Defined::new(&root, Kinds::BasicAuth, "third").await;
    let request = CreateLinkedAuthRequest {
        user_id: server.alice.user_id.clone(),
        proof: Some(proof(&server, &defined)),
        ..CreateLinkedAuthRequest::default()
    };
    fresh(&server, &server.alice).await.call(request).await.unwrap();
}

async fn it_is_off_unless_the_app_allows_it(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    let defined = Defined::new(&root, Kinds::BasicAuth, "machine").await;
    let ust = server.log_in(&server.alice).await.ust;
    let refusal = link(&server, &in_app(&server, "default").on_behalf_of(&ust), &defined).await.refusal();
    assert_eq!((refusal.code, refusal.reason), (Code::PermissionDenied, ErrorReason::SuperUserRequired));
    let refused = link(&server, &root, &defined).await;
    assert_eq!(refused.reason(), ErrorReason::UserNotEligible);
    // The proof is not even looked at.
    let wrong = in_app(&server, "default").on_behalf_of(&ust).create_own_linked_auth(basic("machine", "wrong")).await;
    assert_eq!(wrong.reason(), ErrorReason::SuperUserRequired);
    link(&server, &in_app(&server, APP).on_behalf_of(&ust), &defined).await.unwrap();
}

async fn the_login_must_be_fresh(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    let (first, second) =
        (Defined::new(&root, Kinds::BasicAuth, "first").await, Defined::new(&root, Kinds::Jwt, "second").await);
    let alice = fresh(&server, &server.alice).await;
    server.clock.advance(Duration::from_mins(5));
    link(&server, &alice, &first).await.unwrap();
    server.clock.advance(MOMENT);
    let refusal = link(&server, &alice, &second).await.refusal();
    assert_eq!((refusal.code, refusal.reason), (Code::FailedPrecondition, ErrorReason::ReauthenticationRequired));
    // Neither activity nor a new token is a login.
    alice.current_user().await.unwrap();
    alice.renew().await.unwrap();
    let rotated = in_app(&server, APP).on_behalf_of(&alice.rotate().await.unwrap().ust.unwrap());
    for subject in [&alice, &rotated] {
        assert_eq!(link(&server, subject, &second).await.reason(), ErrorReason::ReauthenticationRequired);
    }
    link(&server, &fresh(&server, &server.alice).await, &second).await.unwrap();
}

async fn a_session_that_did_not_begin_with_a_password_links_nothing(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    for kind in BOTH {
        let stolen = Defined::linked(&root, kind, &format!("stolen {kind:?}"), &server.alice.user_id).await;
        let thiefs = Defined::new(&root, Kinds::BasicAuth, &format!("thief's {kind:?}")).await;
        let through = in_app(&server, APP).on_behalf_of(&stolen.log_in(&server).await.ust);
        assert_eq!(link(&server, &through, &thiefs).await.reason(), ErrorReason::ReauthenticationRequired);
    }
}

async fn a_bad_proof_is_a_failed_login_whatever_is_wrong_with_it(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    let alice = fresh(&server, &server.alice).await;
    let machine = Defined::new(&root, Kinds::BasicAuth, "machine").await;
    let person = Defined::new(&root, Kinds::Jwt, "person").await;
    let off = Defined::new(&root, Kinds::BasicAuth, "off").await;
    turn_definition(&root, off.auth_id, false).await;
    let good_token = person.token(&server.clock, 0);
    let now = server.clock.now().to_unix().0;
    let expired = serde_json::json!({
        "iss": "https://issuer.example", "aud": "lanyard", "sub": "person", "iat": now - 7200, "exp": now - 3600,
    });
    let mut refusals = Vec::new();
    for bad in [
        basic("machine", "wrong secret, long enough"),
        basic("machine", ""),
        basic("nobody", "wrong secret, long enough"),
        basic("person", SIGNING_SECRET),
        proof(&server, &off),
        jwt(format!("{good_token}x")),
        jwt(sign(&expired, SIGNING_SECRET)),
        jwt(sign(&expired, "a secret of somebody else, long enough")),
        jwt("junk"),
        jwt(""),
    ] {
        refusals.push(alice.create_own_linked_auth(bad).await.refusal());
        // The waits between guesses are another test's business.
        server.clock.advance(Duration::from_secs(1));
    }
    for refusal in &refusals {
        assert_eq!((refusal.code, refusal.reason), (Code::Unauthenticated, ErrorReason::LoginFailed));
        assert_eq!(refusal.message, refusals[0].message);
    }
    assert!(alice.get_linked_auth_list(None).await.unwrap().is_empty());
    link(&server, &alice, &machine).await.unwrap();
}

async fn guesses_at_a_proof_are_throttled_by_definition(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    let machine = Defined::new(&root, Kinds::BasicAuth, "machine").await;
    let other = Defined::new(&root, Kinds::BasicAuth, "other").await;
    let alice = fresh(&server, &server.alice).await;
    let guess = || alice.create_own_linked_auth(basic("machine", "a guess that is wrong"));
    for _ in 0..server.config.throttle.free_failures {
        assert_eq!(guess().await.reason(), ErrorReason::LoginFailed);
    }
    let refusal = link(&server, &alice, &machine).await.refusal();
    assert_eq!(refusal.reason, ErrorReason::LoginThrottled, "even a good one");
    assert!(refusal.retry_after.is_some());
    link(&server, &alice, &other).await.unwrap();
    server.clock.advance(refusal.retry_after.unwrap());
    link(&server, &alice, &machine).await.unwrap();
}

async fn a_definition_that_is_linked_cannot_be_taken_over(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    let bob = server.add_user("bob", false).await;
    let machine = Defined::linked(&root, Kinds::BasicAuth, "machine", &server.alice.user_id).await;
    // Who knows its secret learns that it is linked, but not to whom.
    let thief = fresh(&server, &bob).await;
    let refusal = link(&server, &thief, &machine).await.refusal();
    assert_eq!((refusal.code, refusal.reason), (Code::FailedPrecondition, ErrorReason::LinkUnavailable));
    let shown = format!("{refusal:?}");
    assert!(!shown.contains(&server.alice.user_id) && !shown.contains("alice"), "{shown}");
    // Who does not know it does not even learn that.
    let guess = thief.create_own_linked_auth(basic("machine", "a guess that is wrong")).await;
    assert_eq!(guess.reason(), ErrorReason::LoginFailed);
    // Nor can it be linked to somebody else in their name.
    let for_alice = CreateLinkedAuthRequest {
        user_id: server.alice.user_id.clone(),
        proof: Some(proof(&server, &machine)),
        ..CreateLinkedAuthRequest::default()
    };
    assert_eq!(thief.call(for_alice).await.bad_field(), "user_id");
    assert_eq!(machine.log_in(&server).await.session.user_id, server.alice.user_id);
}

async fn many_who_prove_the_same_definition_at_once_do_not_share_it(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    let machine = Defined::new(&root, Kinds::Jwt, "machine").await;
    let mut subjects = Vec::new();
    for number in 0..8 {
        let person = server.add_user(&format!("user{number}"), false).await;
        subjects.push(fresh(&server, &person).await);
    }
    let linking = subjects.iter().map(|subject| link(&server, subject, &machine));
    let (done, refused): (Vec<_>, Vec<_>) =
        futures::future::join_all(linking).await.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 1);
    for refusal in refused {
        assert_eq!(refusal.reason(), ErrorReason::LinkUnavailable);
    }
}

async fn a_super_user_too_links_themself_by_proving_both_sides(database: Database) {
    let server = start(database).await;
    let root = fresh(&server, &server.root).await;
    let machine = Defined::new(&root, Kinds::BasicAuth, "machine").await;
    let refused = root.create_linked_auth(&server.root.user_id, ByNumber::AuthId(machine.auth_id)).await;
    assert_eq!(refused.reason(), ErrorReason::UserNotEligible);
    link(&server, &root, &machine).await.unwrap();
    assert_eq!(root.get_linked_auth_list(None).await.unwrap().len(), 1);
}

/// Classic-federated merge, and a change of an address that nobody verified.
async fn nobody_is_linked_by_being_called_the_same(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    let email = "alice@example.org";
    let alices = [Defined::new(&root, Kinds::BasicAuth, "alice").await, Defined::new(&root, Kinds::Jwt, email).await];
    let alice = fresh(&server, &server.alice).await;
    let user = User { user_id: server.alice.user_id.clone(), email: email.to_owned(), ..User::default() };
    let update = lanyard_client::v1::UpdateUserRequest {
        user: Some(user),
        update_mask: Some(prost_types::FieldMask { paths: vec!["email".to_owned()] }),
        ..Default::default()
    };
    alice.update_user(update).await.unwrap();
    for defined in &alices {
        let refused = defined.try_to_log_in(&server.client(), &server.clock).await;
        assert_eq!(refused.reason(), ErrorReason::LoginFailed);
    }
    assert!(alice.get_linked_auth_list(None).await.unwrap().is_empty());
}

/// An identity is an issuer and its subject: an issuer that verifies nothing cannot speak for another.
async fn the_same_subject_of_another_issuer_is_somebody_else(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    let person = Defined::new(&root, Kinds::Jwt, "person").await;
    let now = server.clock.now().to_unix().0;
    let alice = fresh(&server, &server.alice).await;
    for issuer in ["https://other.example", "https://issuer.example/", ""] {
        let claims = serde_json::json!({
            "iss": issuer, "aud": "lanyard", "sub": "person", "iat": now, "exp": now + 3600,
            "email": "person@example.org", "email_verified": true,
        });
        let refused = alice.create_own_linked_auth(jwt(sign(&claims, SIGNING_SECRET))).await;
        assert_eq!(refused.reason(), ErrorReason::LoginFailed, "{issuer}");
    }
    link(&server, &alice, &person).await.unwrap();
}

/// Subjects are used again: a definition that comes after another is not that one.
async fn a_definition_that_was_made_again_is_linked_to_nobody(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    for kind in BOTH {
        let before = Defined::linked(&root, kind, "person", &server.alice.user_id).await;
        before.log_in(&server).await;
        root.delete_definition(before.auth_id).await.unwrap();
        let after = Defined::new(&root, kind, "person").await;
        assert_ne!(before.auth_id, after.auth_id);
        let refused = after.try_to_log_in(&server.client(), &server.clock).await;
        assert_eq!(refused.reason(), ErrorReason::LoginFailed);
        root.delete_definition(after.auth_id).await.unwrap();
    }
    assert!(root.get_linked_auth_list(Some(&server.alice.user_id)).await.unwrap().is_empty());
}

/// A session that outlives the recovery of its account.
async fn who_lost_the_session_to_its_owner_links_nothing(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    let machine = Defined::new(&root, Kinds::BasicAuth, "machine").await;
    let (thief, alice) = (fresh(&server, &server.alice).await, fresh(&server, &server.alice).await);
    alice.change_password(&server.alice.password, &"a-better-password".into()).await.unwrap();
    assert_eq!(link(&server, &thief, &machine).await.reason(), ErrorReason::SessionInvalid);
    // Nor while the password is being changed: whatever comes first, none is linked by a session that has ended.
    let mut old: SecretString = "a-better-password".into();
    for number in 0..6 {
        let new: SecretString = format!("a-better-password-{number}").into();
        let person = Person { password: old.clone(), ..server.alice.clone() };
        let (thief, alice) = (fresh(&server, &person).await, fresh(&server, &person).await);
        let defined = Defined::new(&root, Kinds::Jwt, &format!("machine{number}")).await;
        let (linked, changed) = tokio::join!(link(&server, &thief, &defined), alice.change_password(&old, &new));
        changed.unwrap();
        match linked {
            Ok(_) => {}
            Err(error) => assert_eq!(error.reason, ErrorReason::SessionInvalid, "{error}"),
        }
        assert_eq!(link(&server, &thief, &machine).await.reason(), ErrorReason::SessionInvalid);
        old = new;
    }
}

async fn what_proving_came_to_is_written_down(database: Database) {
    let server = start(database).await;
    let root = server.as_root().await;
    let (machine, taken) =
        (Defined::new(&root, Kinds::BasicAuth, "machine").await, Defined::new(&root, Kinds::Jwt, "taken").await);
    taken.link(&root, &server.add_user("bob", false).await.user_id).await;
    let ust = server.log_in(&server.alice).await.ust;
    let with_id = |client: lanyard_client::Client| client.with_correlation_id("prove-it".parse().unwrap());
    let alice = with_id(in_app(&server, APP)).on_behalf_of(&ust);
    with_id(in_app(&server, "default"))
        .on_behalf_of(&ust)
        .create_own_linked_auth(proof(&server, &machine))
        .await
        .reason();
    alice.create_own_linked_auth(basic("machine", "a guess that is wrong")).await.reason();
    alice.create_own_linked_auth(jwt("junk")).await.reason();
    link(&server, &alice, &taken).await.reason();
    let made = link(&server, &alice, &machine).await.unwrap();
    server.clock.advance(Duration::from_mins(6));
    link(&server, &alice, &machine).await.reason();
    let mut reasons = Vec::new();
    for event in events_of(&server, "link.create").await {
        if event.correlation_id != "prove-it" {
            continue;
        }
        let alice = Some(server.alice.user_id.parse().unwrap());
        assert_eq!((event.subject, event.target, event.caller.as_str()), (alice, alice, "tests"));
        let detail: serde_json::Value = serde_json::from_str(&event.detail).unwrap_or_default();
        if event.reason.is_empty() {
            assert_eq!((&detail["link_id"], &detail["self_service"]), (&made.link_id.as_str().into(), &true.into()));
        }
        reasons.push(event.reason.clone());
    }
    reasons.sort_unstable();
    let expected = [
        "",
        "link_unavailable",
        "reauthentication_required",
        "super_user_required",
        "token_unreadable",
        "wrong_secret",
    ];
    assert_eq!(reasons, expected);
}
