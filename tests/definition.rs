//! Definitions: external credentials, who keeps them, what they may be, what their end ends.

#[path = "definition/field.rs"]
mod field;

use std::time::Duration;

use lanyard_client::v1::definition::Kind;
use lanyard_client::v1::{
    BasicAuthDefinition, Definition, DefinitionSecret, DeleteDefinitionRequest, JwtDefinition, ListDefinitionsRequest,
    RotateDefinitionSecretRequest, UpdateDefinitionRequest,
};
use lanyard_client::{Code, DefinitionChange, Error, ErrorReason, Subject, prost_types};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, events_of, is_active, revoked, why_inactive};
use lanyard_tests::support::external::{Defined, Kinds};
use lanyard_tests::support::principal::{definition as jwt, public_keys, secret, url};
use lanyard_tests::support::server::{Database, TestServer};
use lanyard_tests::support::signing::{Signer, jwk_set};

both_databases!(
    a_definition_is_kept_as_it_was_made_and_shows_no_secret,
    definitions_are_listed_in_their_order_page_by_page,
    a_regular_user_learns_nothing_of_definitions,
    names_and_principals_are_unique,
    a_number_is_never_used_again,
    only_what_the_mask_names_is_changed,
    whose_credential_it_is_never_changes,
    an_etag_guards_against_what_was_changed_meanwhile,
    what_turns_a_definition_off_ends_its_own_sessions_only,
    a_rotation_may_end_sessions,
    a_definition_that_is_not_there_is_not_found,
    changes_are_written_down,
);

fn basic_auth(username: &str) -> Definition {
    Definition {
        name: format!("the account of {username}"),
        is_active: true,
        kind: Some(Kind::BasicAuth(BasicAuthDefinition { username: username.to_owned() })),
        ..Definition::default()
    }
}

fn jwt_of(definition: Definition) -> JwtDefinition {
    let Some(Kind::Jwt(jwt)) = definition.kind else { panic!("it is a jwt definition") };
    jwt
}

const SECRET: &str = "a secret of an account";
const SHARED: &str = "a shared secret of 32 bytes or more";

async fn made(root: &Subject, username: &str) -> Definition {
    root.create_definition(basic_auth(username), secret(SECRET)).await.unwrap()
}

async fn update(root: &Subject, definition: Definition, paths: &[&str]) -> Result<DefinitionChange, Error> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = UpdateDefinitionRequest {
        definition: Some(definition),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..UpdateDefinitionRequest::default()
    };
    root.update_definition(request).await
}

fn rotation(auth_id: i64, secret: DefinitionSecret) -> RotateDefinitionSecretRequest {
    RotateDefinitionSecretRequest { auth_id, secret: Some(secret), ..RotateDefinitionSecretRequest::default() }
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

async fn a_definition_is_kept_as_it_was_made_and_shows_no_secret(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let asked = Definition { is_internal: true, auth_id: 99, etag: "x".to_owned(), ..basic_auth("Crm-1") };
    let made = root.create_definition(asked.clone(), secret(SECRET)).await.unwrap();
    assert!(made.auth_id > 0 && made.creation_time.is_some() && made.creation_time == made.update_time);
    assert_eq!((&made.name, made.is_active, made.is_internal, &made.kind), (&asked.name, true, true, &asked.kind));
    assert_eq!(root.get_definition(made.auth_id).await.unwrap(), made);

    let token =
        root.create_definition(jwt("alice", &["HS256", "HS512"]), secret(&"long enough ".repeat(8))).await.unwrap();
    assert_eq!(root.get_definition(token.auth_id).await.unwrap(), token);
    let shown = jwt_of(token);
    assert_eq!((shown.algorithms, shown.clock_skew), (vec!["HS256".to_owned(), "HS512".to_owned()], Some(seconds(60))));
    assert_eq!((shown.public_keys.as_str(), shown.jwks_url.as_str()), ("", ""));

    let signer = Signer::p256();
    let with_keys = root.create_definition(jwt("bob", &["ES256"]), public_keys(signer.pem())).await.unwrap();
    assert_eq!(jwt_of(with_keys).public_keys, jwk_set(&[signer.jwk("")]), "PEM becomes a JWK set");
    let with_url = root.create_definition(jwt("carol", &["ES256"]), url("https://issuer.example/keys")).await.unwrap();
    assert_eq!(jwt_of(with_url).jwks_url, "https://issuer.example/keys");
    server.verify_audit().await;
}

async fn definitions_are_listed_in_their_order_page_by_page(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let mut all = Vec::new();
    for number in 0..5 {
        all.push(made(&root, &format!("account-{number}")).await);
        all.push(root.create_definition(jwt(&format!("sub-{number}"), &["HS256"]), secret(SHARED)).await.unwrap());
    }
    let mut pages = root.list_definitions(ListDefinitionsRequest { page_size: 3, ..ListDefinitionsRequest::default() });
    let mut listed = Vec::new();
    while let Some(page) = pages.next_page().await.unwrap() {
        assert!(page.len() <= 3);
        listed.extend(page);
    }
    assert_eq!(listed, all);
    let of_type = |auth_type: &str| ListDefinitionsRequest { auth_type: auth_type.to_owned(), ..Default::default() };
    for (auth_type, first) in [("basic_auth", 0), ("jwt", 1)] {
        let listed = root.call(of_type(auth_type)).await.unwrap().definitions;
        assert_eq!(listed, all.iter().skip(first).step_by(2).cloned().collect::<Vec<_>>());
    }
    let named = |name: &str| ListDefinitionsRequest { name: name.to_owned(), ..Default::default() };
    assert_eq!(root.call(named(&all[4].name)).await.unwrap().definitions, [all[4].clone()]);
    assert_eq!(root.call(named("The account of account-2")).await.unwrap().definitions, []);

    assert_eq!(root.call(of_type("password")).await.bad_field(), "auth_type");
    assert_eq!(root.call(named("a\0b")).await.bad_field(), "name");
    let negative = ListDefinitionsRequest { page_size: -1, ..Default::default() };
    assert_eq!(root.call(negative).await.bad_field(), "page_size");
    let token = root.call(ListDefinitionsRequest { page_size: 1, ..Default::default() }).await.unwrap().next_page_token;
    let other = ListDefinitionsRequest { page_token: token, ..of_type("jwt") };
    assert_eq!(root.call(other).await.reason(), ErrorReason::PageTokenInvalid);
}

async fn a_regular_user_learns_nothing_of_definitions(database: Database) {
    let server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.as_alice().await);
    let there = made(&root, "crm").await;
    for auth_id in [there.auth_id, there.auth_id + 1000, 0, -1] {
        let it = Definition { auth_id, ..there.clone() };
        let refusals = [
            alice.get_definition(auth_id).await.refusal(),
            alice.delete_definition(auth_id).await.refusal(),
            update(&alice, it, &["name"]).await.refusal(),
            alice.rotate_definition_secret(rotation(auth_id, secret(SECRET))).await.refusal(),
            alice.create_definition(there.clone(), secret("short")).await.refusal(),
            alice.call(ListDefinitionsRequest::default()).await.refusal(),
        ];
        for refusal in refusals {
            assert_eq!(
                (refusal.reason, refusal.code),
                (ErrorReason::SuperUserRequired, Code::PermissionDenied),
                "{refusal}"
            );
        }
    }
    assert_eq!(root.get_definition(there.auth_id).await.unwrap(), there);
    for operation in ["create", "get", "list", "update", "delete", "rotate"] {
        let events = events_of(&server, &format!("definition.{operation}")).await;
        assert_eq!(events.iter().filter(|event| event.reason == "super_user_required").count(), 4, "{operation}");
    }
    server.verify_audit().await;
}

async fn names_and_principals_are_unique(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let (first, second) = (made(&root, "crm").await, made(&root, "erp").await);
    let same_name = Definition { name: first.name.clone(), ..basic_auth("other") };
    let refusal = root.create_definition(same_name, secret(SECRET)).await.refusal();
    assert_eq!((refusal.reason, refusal.code), (ErrorReason::DefinitionNameTaken, Code::AlreadyExists));
    let same_principal = Definition { name: "another".to_owned(), ..basic_auth("crm") };
    let refusal = root.create_definition(same_principal, secret(SECRET)).await.refusal();
    assert_eq!((refusal.reason, refusal.code), (ErrorReason::DefinitionExists, Code::AlreadyExists));
    let renamed = Definition { auth_id: second.auth_id, name: first.name.clone(), ..Definition::default() };
    assert_eq!(update(&root, renamed, &["name"]).await.reason(), ErrorReason::DefinitionNameTaken);
    assert_eq!(root.get_definition(second.auth_id).await.unwrap(), second);

    // Upper and lower case differ, and so do types and issuers.
    made(&root, "Crm").await;
    root.create_definition(jwt("crm", &["HS256"]), secret(SHARED)).await.unwrap();
    let elsewhere = |name: &str| {
        let mut definition = Definition { name: name.to_owned(), ..jwt("crm", &["HS256"]) };
        let Some(Kind::Jwt(jwt)) = &mut definition.kind else { panic!("it is a jwt definition") };
        "https://elsewhere.example".clone_into(&mut jwt.issuer);
        definition
    };
    root.create_definition(elsewhere("one"), secret(SHARED)).await.unwrap();
    let refusal = root.create_definition(elsewhere("two"), secret(SHARED)).await;
    assert_eq!(refusal.reason(), ErrorReason::DefinitionExists);
    // A name is free again when its definition is gone.
    root.delete_definition(first.auth_id).await.unwrap();
    made(&root, "crm").await;
}

async fn a_number_is_never_used_again(database: Database) {
    let mut server = TestServer::start(database).await;
    let root = server.as_root().await;
    let mut highest = 0;
    for round in 0..4 {
        if round == 2 {
            server.restart().await;
        }
        let root = server.on_behalf_of(&server.log_in(&server.root).await.ust);
        let definition = made(&root, "crm").await;
        assert!(definition.auth_id > highest, "{} after {highest}", definition.auth_id);
        highest = definition.auth_id;
        root.delete_definition(definition.auth_id).await.unwrap();
    }
    drop(root);
}

async fn only_what_the_mask_names_is_changed(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let before = root.create_definition(jwt("alice", &["HS256"]), secret(&"x".repeat(64))).await.unwrap();
    server.clock.advance(Duration::from_secs(1));
    let mut wanted = jwt_of(before.clone());
    wanted.audience = "other".into();
    wanted.algorithms = vec!["HS512".into(), "HS384".into()];
    wanted.clock_skew = Some(seconds(5));
    let all = Definition {
        name: "another".into(),
        is_active: false,
        kind: Some(Kind::Jwt(wanted.clone())),
        ..before.clone()
    };
    let mut expected = before.clone();
    for (path, change) in [
        ("name", (|to, from| to.name.clone_from(&from.name)) as fn(&mut Definition, &Definition)),
        ("is_active", |to, from| to.is_active = from.is_active),
        ("jwt.audience", |to, from| with_jwt(to, from, |to, from| to.audience = from.audience)),
        ("jwt.algorithms", |to, from| with_jwt(to, from, |to, from| to.algorithms = from.algorithms)),
        ("jwt.clock_skew", |to, from| with_jwt(to, from, |to, from| to.clock_skew = from.clock_skew)),
    ] {
        let done = update(&root, Definition { etag: String::new(), ..all.clone() }, &[path]).await.unwrap().definition;
        change(&mut expected, &all);
        assert_ne!(done.etag, expected.etag);
        assert!(done.update_time != before.update_time && done.creation_time == before.creation_time);
        (expected.etag, expected.update_time) = (done.etag.clone(), done.update_time);
        assert_eq!(done, expected, "{path}");
        assert_eq!(root.get_definition(done.auth_id).await.unwrap(), expected);
    }
    let again = update(&root, Definition { etag: String::new(), ..all.clone() }, &["name", "is_active"]).await.unwrap();
    assert_eq!(again.definition, expected, "what changes nothing is not stored");
    // Absent: as it is by default.
    wanted.clock_skew = None;
    let default = Definition { kind: Some(Kind::Jwt(wanted)), etag: String::new(), ..all.clone() };
    let done = update(&root, default, &["jwt.clock_skew"]).await.unwrap().definition;
    assert_eq!(jwt_of(done).clock_skew, Some(seconds(60)));

    let empty = Definition { name: String::new(), etag: String::new(), ..all.clone() };
    assert_eq!(update(&root, empty, &["name"]).await.bad_field(), "definition.name");
    let mut keys_needed = jwt_of(all.clone());
    keys_needed.algorithms = vec!["ES256".into()];
    let keys_needed = Definition { kind: Some(Kind::Jwt(keys_needed)), etag: String::new(), ..all.clone() };
    assert_eq!(update(&root, keys_needed, &["jwt.algorithms"]).await.bad_field(), "definition.jwt.algorithms");
    let basic = made(&root, "crm").await;
    let no_token = Definition { auth_id: basic.auth_id, etag: String::new(), ..all.clone() };
    assert_eq!(update(&root, no_token, &["jwt.audience"]).await.bad_field(), "update_mask");
    assert_eq!(update(&root, basic, &["jwt.audience"]).await.bad_field(), "definition.jwt");
    assert_eq!(update(&root, all, &[]).await.bad_field(), "update_mask");
}

fn with_jwt(to: &mut Definition, from: &Definition, change: fn(&mut JwtDefinition, JwtDefinition)) {
    let Some(Kind::Jwt(jwt)) = &mut to.kind else { panic!("it is a jwt definition") };
    change(jwt, jwt_of(from.clone()));
}

async fn whose_credential_it_is_never_changes(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let (basic, token) =
        (made(&root, "crm").await, root.create_definition(jwt("alice", &["HS256"]), secret(SHARED)).await.unwrap());
    for path in [
        "basic_auth",
        "basic_auth.username",
        "jwt",
        "jwt.username",
        "jwt.issuer",
        "jwt.public_keys",
        "jwt.jwks_url",
        "auth_id",
        "is_internal",
        "kind",
        "etag",
        "*",
        "",
    ] {
        for definition in [&basic, &token] {
            let other = Definition { kind: basic_auth("another").kind, ..definition.clone() };
            assert_eq!(update(&root, other, &[path]).await.bad_field(), "update_mask", "{path}");
        }
    }
    // Of another kind, but the mask does not name it.
    let other = Definition { kind: basic_auth("another").kind, etag: String::new(), ..token.clone() };
    let done = update(&root, Definition { name: "new".into(), ..other }, &["name"]).await.unwrap().definition;
    assert_eq!(done.kind, token.kind);
}

async fn an_etag_guards_against_what_was_changed_meanwhile(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let first = made(&root, "crm").await;
    let renamed = Definition { name: "new".into(), ..first.clone() };
    let second = update(&root, renamed.clone(), &["name"]).await.unwrap().definition;
    let refusal = update(&root, renamed, &["name"]).await.refusal();
    assert_eq!((refusal.reason, refusal.code), (ErrorReason::EtagMismatch, Code::Aborted));
    let with = |etag: &str| RotateDefinitionSecretRequest {
        etag: etag.to_owned(),
        ..rotation(first.auth_id, secret("another secret of it"))
    };
    assert_eq!(root.rotate_definition_secret(with(&first.etag)).await.reason(), ErrorReason::EtagMismatch);
    let third = root.rotate_definition_secret(with(&second.etag)).await.unwrap().definition;
    assert_ne!(third.etag, second.etag);
    let delete =
        |etag: &str| DeleteDefinitionRequest { auth_id: first.auth_id, etag: etag.to_owned(), ..Default::default() };
    assert_eq!(root.call(delete(&second.etag)).await.reason(), ErrorReason::EtagMismatch);
    assert_eq!(root.get_definition(first.auth_id).await.unwrap(), third);
    root.call(delete(&third.etag)).await.unwrap();
}

async fn what_turns_a_definition_off_ends_its_own_sessions_only(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let alice = server.alice.user_id.clone();
    // Numbers of which one begins as another does.
    let mut defined = Vec::new();
    for number in 1..=10 {
        defined.push(Defined::linked(&root, Kinds::BasicAuth, &format!("account-{number}"), &alice).await);
    }
    let mut logins = Vec::new();
    for defined in &defined {
        logins.push(defined.log_in(&server).await.ust);
    }
    let own = server.log_in(&server.alice).await.ust;
    let off = Definition { auth_id: defined[0].auth_id, is_active: false, ..Definition::default() };
    assert_eq!(update(&root, off.clone(), &["is_active"]).await.unwrap().revoked_count, 1);
    assert_eq!(update(&root, off.clone(), &["is_active"]).await.unwrap().revoked_count, 0, "it is off already");
    assert_eq!(
        why_inactive(&server.client(), &logins[0]).await,
        revoked(lanyard_client::RevokeReason::DefinitionInactive)
    );
    assert_eq!(root.delete_definition(defined[1].auth_id).await.unwrap(), 1);
    assert_eq!(
        why_inactive(&server.client(), &logins[1]).await,
        revoked(lanyard_client::RevokeReason::DefinitionDeleted)
    );
    for ust in logins[2..].iter().chain([&own]) {
        assert!(is_active(&server.client(), ust).await);
    }
    // Turned on again, it logs in again, and the old session stays ended.
    update(&root, Definition { is_active: true, ..off }, &["is_active"]).await.unwrap();
    let again = defined[0].log_in(&server).await.ust;
    assert!(is_active(&server.client(), &again).await && !is_active(&server.client(), &logins[0]).await);
    // Its link went with it.
    let links = root.get_linked_auth_list(Some(&alice)).await.unwrap();
    assert_eq!(links.len(), 9);
    assert!(links.iter().all(|link| link.auth_id != defined[1].auth_id));
}

async fn a_rotation_may_end_sessions(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let defined = Defined::linked(&root, Kinds::BasicAuth, "account", &server.alice.user_id).await;
    let other =
        Defined::linked(&root, Kinds::BasicAuth, "other", &server.alice.user_id).await.log_in(&server).await.ust;
    let first = defined.log_in(&server).await.ust;
    let overlap = |auth_id| RotateDefinitionSecretRequest {
        overlap: Some(seconds(60)),
        ..rotation(auth_id, secret("a second secret"))
    };
    let done = root.rotate_definition_secret(overlap(defined.auth_id)).await.unwrap();
    assert_eq!(done.revoked_count, 0);
    let overlaps_until = done.definition.overlap_time.expect("the old one works on");
    assert_eq!(overlaps_until.seconds, server.clock.now().to_unix().0 + 60);
    assert!(is_active(&server.client(), &first).await);
    let ending =
        RotateDefinitionSecretRequest { revoke_sessions: true, ..rotation(defined.auth_id, secret("a third secret")) };
    let done = root.rotate_definition_secret(ending).await.unwrap();
    assert_eq!((done.revoked_count, done.definition.overlap_time), (1, None));
    assert_eq!(why_inactive(&server.client(), &first).await, revoked(lanyard_client::RevokeReason::SecretRotated));
    assert!(is_active(&server.client(), &other).await);
}

async fn a_definition_that_is_not_there_is_not_found(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    for auth_id in [0, -1, 4711, i64::MAX, i64::MIN] {
        let it = Definition { auth_id, name: "n".into(), ..Definition::default() };
        let refusals = [
            root.get_definition(auth_id).await.refusal(),
            root.delete_definition(auth_id).await.refusal(),
            update(&root, it, &["name"]).await.refusal(),
            root.rotate_definition_secret(rotation(auth_id, secret(SECRET))).await.refusal(),
        ];
        for refusal in refusals {
            assert_eq!((refusal.reason, refusal.code), (ErrorReason::DefinitionNotFound, Code::NotFound));
        }
    }
}

async fn changes_are_written_down(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let defined = Defined::linked(&root, Kinds::BasicAuth, "account", &server.alice.user_id).await;
    let auth_id = defined.auth_id;
    defined.log_in(&server).await;
    root.get_definition(auth_id).await.unwrap();
    root.call(ListDefinitionsRequest::default()).await.unwrap();
    root.rotate_definition_secret(rotation(auth_id, secret("another secret"))).await.unwrap();
    update(&root, Definition { auth_id, ..Definition::default() }, &["is_active"]).await.unwrap();
    root.delete_definition(auth_id).await.unwrap();
    for (operation, revoked, about_alice) in [
        ("create", None, false),
        ("get", None, false),
        ("list", None, false),
        ("rotate", Some(0), true),
        ("update", Some(1), true),
        ("delete", Some(0), true),
    ] {
        let events = events_of(&server, &format!("definition.{operation}")).await;
        let [event] = &events[..] else { panic!("{operation}: {events:?}") };
        assert_eq!(event.subject.map(|id| id.to_string()), Some(server.root.user_id.clone()), "{operation}");
        let target = event.target.map(|id| id.to_string());
        assert_eq!(target, about_alice.then(|| server.alice.user_id.clone()), "{operation}");
        let detail: serde_json::Value = serde_json::from_str(&event.detail).unwrap_or_default();
        assert_eq!(detail["revoked"].as_u64(), revoked, "{operation}: {detail}");
        assert_eq!(detail["auth_id"].as_i64(), (operation != "list").then_some(auth_id), "{operation}");
        assert!(!event.detail.contains("secret"), "{detail}");
    }
    server.verify_audit().await;
}
