//! Keys that are fetched from their issuer: when, how often, and what happens when the issuer misbehaves.

use std::time::Duration;

use lanyard_client::ErrorReason;
use lanyard_server::config::Config;
use lanyard_tests::any_database;
use lanyard_tests::support::answers::{MOMENT, Refused, just_before};
use lanyard_tests::support::issuer::{Answer, Issuer};
use lanyard_tests::support::principal::{Principal, definition, keys_of, url};
use lanyard_tests::support::server::{Database, TestServer};
use lanyard_tests::support::signing::{Signer, jwk_set};
use serde_json::json;
use tokio::task::JoinSet;

any_database!(
    keys_are_fetched_once_and_kept,
    many_tokens_at_once_fetch_once,
    a_new_key_is_fetched_when_a_token_names_it,
    made_up_names_of_keys_do_not_make_us_a_hammer,
    a_key_that_was_withdrawn_is_good_no_longer_than_the_set_is_kept,
    an_issuer_that_misbehaves_gives_no_keys,
    a_slow_issuer_is_not_waited_for,
    while_the_issuer_is_down_its_keys_are_good_for_a_while,
    an_issuer_that_is_down_is_no_reason_to_refuse_for_good,
    keys_of_a_kind_that_nobody_knows_do_not_hurt_the_others,
    without_permission_only_https_will_do,
    a_definition_goes_from_keys_to_a_url_and_back,
    a_definition_that_is_off_is_no_reason_to_fetch,
);

fn local(config: &mut Config) {
    (config.throttle.free_failures, config.throttle.address_free_failures) = (10_000, 10_000);
    config.jwt.allow_http_jwks = true;
    config.jwt.jwks_max_bytes = 10_000;
}

/// A principal whose issuer has these keys, and the issuer.
async fn issued(database: Database, keys: &[(&Signer, &str)]) -> (Principal, Issuer) {
    issued_with(database, keys, |_| {}).await
}

async fn issued_with(
    database: Database,
    keys: &[(&Signer, &str)],
    change: impl FnOnce(&mut Config),
) -> (Principal, Issuer) {
    let issuer = Issuer::new(set(keys)).await;
    let server = TestServer::start_with(database, |config| {
        local(config);
        change(config);
    });
    (Principal::new(server.await, &["ES256"], url(&issuer.url)).await, issuer)
}

fn set(keys: &[(&Signer, &str)]) -> String {
    let keys: Vec<_> = keys.iter().map(|(signer, key_id)| signer.jwk(key_id)).collect();
    jwk_set(&keys)
}

fn token(principal: &Principal, signer: &Signer, key_id: &str) -> String {
    // Longer than any of these tests.
    let mut claims = principal.claims();
    claims["exp"] = (principal.now() + 7 * 86_400).into();
    signer.token(&json!({ "alg": "ES256", "kid": key_id }), &claims)
}

async fn keys_are_fetched_once_and_kept(database: Database) {
    let signer = Signer::p256();
    let (principal, issuer) = issued(database, &[(&signer, "one")]).await;
    assert_eq!(issuer.asked(), 0, "nothing is fetched before it is needed");
    let (token, max_age) = (token(&principal, &signer, "one"), principal.server.config.jwt.jwks_max_age);
    for _ in 0..3 {
        principal.is_good(&token).await;
    }
    principal.server.clock.advance(just_before(max_age));
    principal.is_good(&token).await;
    assert_eq!(issuer.asked(), 1);
    principal.server.clock.advance(MOMENT);
    principal.is_good(&token).await;
    assert_eq!(issuer.asked(), 2);
}

async fn many_tokens_at_once_fetch_once(database: Database) {
    let signer = Signer::p256();
    let (principal, issuer) = issued(database, &[(&signer, "one")]).await;
    let mut logins = JoinSet::new();
    for _ in 0..50 {
        let (client, token) = (principal.client(), token(&principal, &signer, "one"));
        logins.spawn(async move { client.log_in_jwt(&token.as_str().into()).await.unwrap() });
    }
    assert_eq!(logins.join_all().await.len(), 50);
    assert_eq!(issuer.asked(), 1);
}

async fn a_new_key_is_fetched_when_a_token_names_it(database: Database) {
    let (old, new) = (Signer::p256(), Signer::p256());
    let (principal, issuer) = issued(database, &[(&old, "old")]).await;
    principal.is_good(&token(&principal, &old, "old")).await;
    issuer.answers(Answer::Body(set(&[(&old, "old"), (&new, "new")])));
    principal.server.clock.advance(principal.server.config.jwt.jwks_min_refresh);
    principal.is_good(&token(&principal, &new, "new")).await;
    principal.is_good(&token(&principal, &old, "old")).await;
    assert_eq!(issuer.asked(), 2);
}

async fn made_up_names_of_keys_do_not_make_us_a_hammer(database: Database) {
    let (signer, attacker) = (Signer::p256(), Signer::p256());
    let (principal, issuer) = issued(database, &[(&signer, "one")]).await;
    for number in 0..20 {
        principal.is_refused(&token(&principal, &attacker, &format!("made up {number}")), "unknown_key").await;
    }
    assert_eq!(issuer.asked(), 1);
    principal.is_good(&token(&principal, &signer, "one")).await;
    principal.server.clock.advance(principal.server.config.jwt.jwks_min_refresh);
    for number in 0..20 {
        principal.is_refused(&token(&principal, &attacker, &format!("made up {number}")), "unknown_key").await;
    }
    assert_eq!(issuer.asked(), 2);
    principal.is_refused(&token(&principal, &attacker, "one"), "wrong_signature").await;
    assert_eq!(issuer.asked(), 2, "a wrong signature with a known key is no reason to fetch");
}

async fn a_key_that_was_withdrawn_is_good_no_longer_than_the_set_is_kept(database: Database) {
    let (old, new) = (Signer::p256(), Signer::p256());
    let (principal, issuer) = issued(database, &[(&old, "old")]).await;
    let token = token(&principal, &old, "old");
    principal.is_good(&token).await;
    issuer.answers(Answer::Body(set(&[(&new, "new")])));
    principal.server.clock.advance(just_before(principal.server.config.jwt.jwks_max_age));
    principal.is_good(&token).await;
    principal.server.clock.advance(MOMENT);
    principal.is_refused(&token, "unknown_key").await;
}

async fn an_issuer_that_misbehaves_gives_no_keys(database: Database) {
    let signer = Signer::p256();
    let (principal, issuer) = issued(database, &[(&signer, "one")]).await;
    let token = token(&principal, &signer, "one");
    let retry = principal.server.config.jwt.jwks_min_refresh;
    for (number, bad) in [
        Answer::Html,
        Answer::Status(500),
        Answer::Status(404),
        Answer::Status(204),
        Answer::Redirect,
        Answer::Huge(10_000),
        Answer::Body(String::new()),
        Answer::Body("{}".into()),
        Answer::Body("[]".into()),
        Answer::Body(r#"{"keys":{}}"#.into()),
        Answer::Body("\u{0}".into()),
    ]
    .into_iter()
    .enumerate()
    {
        issuer.answers(bad);
        principal.is_unavailable(&token).await;
        principal.is_unavailable(&token).await;
        assert_eq!(issuer.asked(), number + 1, "it is asked once in a while only");
        principal.server.clock.advance(retry);
    }
    issuer.answers(Answer::Body(set(&[(&signer, "one")])));
    principal.is_good(&token).await;
    // What is just small enough is read.
    let small = 10_000 - set(&[(&signer, "one")]).len();
    issuer.answers(Answer::Huge(small));
    principal.server.clock.advance(principal.server.config.jwt.jwks_max_age + principal.server.config.jwt.jwks_stale);
    principal.is_good(&token).await;
}

async fn a_slow_issuer_is_not_waited_for(database: Database) {
    let signer = Signer::p256();
    let hasty = |config: &mut Config| config.jwt.jwks_timeout = Duration::from_millis(100);
    let (principal, issuer) = issued_with(database, &[(&signer, "one")], hasty).await;
    let token = token(&principal, &signer, "one");
    issuer.answers(Answer::Silence);
    principal.is_unavailable(&token).await;
    issuer.answers(Answer::Body(set(&[(&signer, "one")])));
    principal.server.clock.advance(principal.server.config.jwt.jwks_min_refresh);
    principal.is_good(&token).await;
}

async fn while_the_issuer_is_down_its_keys_are_good_for_a_while(database: Database) {
    let (signer, new) = (Signer::p256(), Signer::p256());
    let (principal, mut issuer) = issued(database, &[(&signer, "one")]).await;
    let config = principal.server.config.jwt.clone();
    let known = token(&principal, &signer, "one");
    principal.is_good(&known).await;
    issuer.goes_down().await;
    principal.server.clock.advance(config.jwks_max_age);
    principal.is_good(&known).await;
    // Whether there is such a key, nobody can say now.
    principal.is_unavailable(&token(&principal, &new, "new")).await;
    principal.server.clock.advance(just_before(config.jwks_stale));
    principal.is_good(&known).await;
    principal.server.clock.advance(MOMENT);
    principal.is_unavailable(&known).await;
}

async fn an_issuer_that_is_down_is_no_reason_to_refuse_for_good(database: Database) {
    let signer = Signer::p256();
    let (principal, issuer) = issued(database, &[(&signer, "one")]).await;
    let token = token(&principal, &signer, "one");
    issuer.answers(Answer::Status(503));
    // Our troubles are not the user's failures.
    for _ in 0..10 {
        principal.is_unavailable(&token).await;
    }
    issuer.answers(Answer::Body(set(&[(&signer, "one")])));
    let refusal = principal.try_token(&token).await.refusal();
    assert_eq!(refusal.reason, ErrorReason::KeysUnavailable);
    principal.server.clock.advance(refusal.retry_after.expect("when it is worth to try again"));
    principal.is_good(&token).await;
}

async fn keys_of_a_kind_that_nobody_knows_do_not_hurt_the_others(database: Database) {
    let (signer, for_encryption) = (Signer::p256(), Signer::p256());
    let (principal, issuer) = issued(database, &[(&signer, "one")]).await;
    let mut encrypting = for_encryption.jwk("enc");
    encrypting["use"] = "enc".into();
    issuer.answers(Answer::Body(jwk_set(&[
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "new" }),
        json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "oct" }),
        json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "kid": "large" }),
        json!(7),
        encrypting,
        signer.jwk("one"),
    ])));
    principal.is_good(&token(&principal, &signer, "one")).await;
    principal.is_refused(&token(&principal, &for_encryption, "enc"), "unknown_key").await;
    let shared = Signer::Secret(b"secret".into());
    let forged = shared.token(&json!({ "alg": "HS256", "kid": "oct" }), &principal.claims());
    principal.is_refused(&forged, "algorithm_not_allowed").await;
}

async fn without_permission_only_https_will_do(database: Database) {
    let signer = Signer::p256();
    let (mut principal, issuer) = issued(database, &[(&signer, "one")]).await;
    for bad in [
        "ftp://issuer.example/keys",
        "file:///etc/passwd",
        "issuer.example/keys",
        "/keys",
        "https://",
        "https://user:password@issuer.example/keys",
        "https://issuer.example/ke ys",
        &format!("https://issuer.example/{}", "x".repeat(1024)),
    ] {
        let refused = principal.root.create_definition(definition("bob", &["ES256"]), url(bad)).await;
        assert_eq!(refused.bad_field(), "secret.jwks_url", "{bad}");
    }
    principal.server.config.jwt.allow_http_jwks = false;
    principal.server.restart().await;
    let root = principal.server.as_root().await;
    let refused = root.create_definition(definition("bob", &["ES256"]), url(&issuer.url)).await;
    assert_eq!(refused.bad_field(), "secret.jwks_url");
    // One that was made when it was allowed is not followed any more.
    principal.is_unavailable(&token(&principal, &signer, "one")).await;
    assert_eq!(issuer.asked(), 0);
}

async fn a_definition_goes_from_keys_to_a_url_and_back(database: Database) {
    let (fetched, given) = (Signer::p256(), Signer::p256());
    let (principal, mut issuer) = issued(database, &[(&fetched, "one")]).await;
    principal.rotate(keys_of(&given), 3600).await;
    principal.is_good(&token(&principal, &given, "today")).await;
    principal.is_good(&token(&principal, &fetched, "one")).await;
    principal.rotate(url(&issuer.url), 3600).await;
    issuer.goes_down().await;
    principal.is_good(&token(&principal, &fetched, "one")).await;
    principal.is_good(&token(&principal, &given, "today")).await;
    principal.server.clock.advance(Duration::from_hours(1));
    // That was what is fetched once more, and cannot be.
    principal.is_unavailable(&token(&principal, &given, "today")).await;
}

async fn a_definition_that_is_off_is_no_reason_to_fetch(database: Database) {
    let signer = Signer::p256();
    let (principal, issuer) = issued(database, &[(&signer, "one")]).await;
    lanyard_tests::support::external::turn_definition(&principal.root, principal.auth_id, false).await;
    principal.is_refused(&token(&principal, &signer, "one"), "definition_inactive").await;
    assert_eq!(issuer.asked(), 0);
}
