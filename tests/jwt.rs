//! JSON web tokens: which are good, and that no other is, whatever it says of itself.

use std::time::Duration;

use lanyard_server::config::Config;
use lanyard_tests::support::issuer::Issuer;
use lanyard_tests::support::principal::{AUDIENCE, ISSUER, Principal, SUBJECT, keys_of, public_keys, secret};
use lanyard_tests::support::server::{Database, TestServer};
use lanyard_tests::support::signing::{Signer, jwk_set, unsigned};
use lanyard_tests::{any_database, both_databases};
use serde_json::{Value, json};

both_databases!(
    each_algorithm_is_good_with_its_own_key,
    after_a_rotation_the_keys_before_work_until_the_overlap_is_over,
    a_shared_secret_is_rotated_with_an_overlap,
);
any_database!(
    a_token_without_a_signature_is_no_token,
    a_public_key_is_no_shared_secret,
    an_algorithm_that_is_not_allowed_is_refused_although_the_key_fits,
    a_token_cannot_bring_its_own_key,
    a_token_with_critical_headers_is_refused,
    a_forged_signature_is_refused,
    a_token_is_for_one_issuer_principal_and_audience,
    a_token_is_good_from_nbf_until_before_exp_and_the_skew_around_it,
    a_token_without_an_end_is_refused,
    what_is_no_token_is_refused,
    a_key_is_found_by_its_name_and_without_one_all_are_tried,
    keys_are_given_in_pem_and_in_certificates_too,
    a_key_is_used_with_its_own_algorithm_only,
);

const SHARED: &str = "a shared secret of sixty-four bytes, which HS512 needs: 01234567";

/// Nobody is throttled here.
fn patient(config: &mut Config) {
    (config.throttle.free_failures, config.throttle.address_free_failures) = (10_000, 10_000);
}

async fn principal(database: Database, algorithms: &[&str], secret: lanyard_client::v1::DefinitionSecret) -> Principal {
    Principal::new(TestServer::start_with(database, patient).await, algorithms, secret).await
}

fn head(algorithm: &str) -> Value {
    json!({ "alg": algorithm, "typ": "JWT" })
}

fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    claims[name] = value.into();
    claims
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().expect("claims").remove(name);
    claims
}

async fn each_algorithm_is_good_with_its_own_key(database: Database) {
    let rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    let signers: [(&[&str], Signer); 5] = [
        (&["HS256", "HS384", "HS512"], Signer::Secret(SHARED.into())),
        (&rsa, Signer::rsa()),
        (&["ES256"], Signer::p256()),
        (&["ES384"], Signer::p384()),
        (&["EdDSA"], Signer::ed25519()),
    ];
    let server = TestServer::start_with(database, patient).await;
    let mut principal = Principal::new(server, &["HS256"], secret(SHARED)).await;
    for (algorithms, signer) in signers {
        let keys = if let Signer::Secret(_) = signer { secret(SHARED) } else { keys_of(&signer) };
        principal.root.delete_definition(principal.auth_id).await.unwrap();
        principal = Principal::new(principal.server, algorithms, keys).await;
        for algorithm in algorithms {
            principal.is_good(&principal.token(&signer, &head(algorithm))).await;
        }
    }
}

async fn a_token_without_a_signature_is_no_token(database: Database) {
    let principal = principal(database, &["RS256"], keys_of(&Signer::rsa())).await;
    for none in ["none", "None", "nOnE", "NONE", ""] {
        let unsigned = unsigned(&head(none), &principal.claims());
        principal.is_refused(&format!("{unsigned}."), "algorithm_not_allowed").await;
        let signed = principal.token(&Signer::rsa(), &head(none));
        principal.is_refused(&signed, "algorithm_not_allowed").await;
    }
    let stripped = unsigned(&head("RS256"), &principal.claims());
    principal.is_refused(&format!("{stripped}."), "wrong_signature").await;
    principal.is_refused(&stripped, "token_unreadable").await;
}

async fn a_public_key_is_no_shared_secret(database: Database) {
    let (rsa, p256) = (Signer::rsa(), Signer::p256());
    let set = jwk_set(&[rsa.jwk("one"), p256.jwk("two")]);
    let principal = principal(database, &["RS256", "ES256"], public_keys(set.clone())).await;
    let shown = principal.root.get_definition(principal.auth_id).await.unwrap();
    let Some(lanyard_client::v1::definition::Kind::Jwt(jwt)) = shown.kind else { panic!("it is a jwt definition") };
    let modulus = rsa.jwk("")["n"].as_str().unwrap().to_owned();
    for public in [set, jwt.public_keys, p256.pem(), p256.pem().trim().to_owned(), modulus] {
        for algorithm in ["HS256", "HS384", "HS512"] {
            let forged = principal.token(&Signer::Secret(public.clone().into_bytes()), &head(algorithm));
            principal.is_refused(&forged, "algorithm_not_allowed").await;
        }
        let forged = Signer::Secret(public.into_bytes()).token(&head("RS256"), &principal.claims());
        principal.is_refused(&forged, "wrong_signature").await;
    }
}

async fn an_algorithm_that_is_not_allowed_is_refused_although_the_key_fits(database: Database) {
    let rsa = Signer::rsa();
    let principal = principal(database, &["RS256"], keys_of(&rsa)).await;
    for algorithm in ["RS384", "RS512", "PS256", "ES256", "rs256", "RS256 ", "ES256K", "RSA-OAEP"] {
        principal.is_refused(&principal.token(&rsa, &head(algorithm)), "algorithm_not_allowed").await;
    }
    // What is signed by one way and named by another.
    let pss = unsigned(&head("PS256"), &principal.claims());
    let signature = principal.token(&rsa, &head("RS256"));
    let signature = signature.rsplit('.').next().unwrap();
    principal.is_refused(&format!("{pss}.{signature}"), "algorithm_not_allowed").await;
}

async fn a_token_cannot_bring_its_own_key(database: Database) {
    let (ours, theirs) = (Signer::p256(), Signer::p256());
    let evil = Issuer::new(jwk_set(&[theirs.jwk("evil")])).await;
    let principal = principal(database, &["ES256"], public_keys(jwk_set(&[ours.jwk("good")]))).await;
    let certificate = theirs.pem().lines().filter(|line| !line.starts_with('-')).collect::<String>();
    for (name, value) in
        [("jku", json!(evil.url)), ("x5u", json!(evil.url)), ("jwk", theirs.jwk("good")), ("x5c", json!([certificate]))]
    {
        for key_id in [None, Some("good"), Some("evil"), Some(evil.url.as_str()), Some("../../../dev/null")] {
            let mut header = with(head("ES256"), name, value.clone());
            if let Some(key_id) = key_id {
                header["kid"] = key_id.into();
            }
            let known = key_id.is_none_or(|key_id| key_id == "good");
            let reason = if known { "wrong_signature" } else { "unknown_key" };
            principal.is_refused(&principal.token(&theirs, &header), reason).await;
        }
        // They are not even looked at.
        principal.is_good(&principal.token(&ours, &with(head("ES256"), name, value))).await;
    }
    assert_eq!(evil.asked(), 0, "nobody goes where a token points");
}

async fn a_token_with_critical_headers_is_refused(database: Database) {
    let signer = Signer::p256();
    let principal = principal(database, &["ES256"], keys_of(&signer)).await;
    for critical in [json!(["b64"]), json!(["exp"]), json!([]), json!("b64")] {
        let header = with(with(head("ES256"), "crit", critical), "b64", false);
        principal.is_refused(&principal.token(&signer, &header), "token_critical_header").await;
    }
}

async fn a_forged_signature_is_refused(database: Database) {
    let signer = Signer::p256();
    let principal = principal(database, &["ES256"], keys_of(&signer)).await;
    principal.is_refused(&principal.token(&Signer::p256(), &head("ES256")), "wrong_signature").await;
    let good = principal.token(&signer, &head("ES256"));
    let (text, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = text.split_once('.').unwrap();
    let more = unsigned(&json!({}), &with(principal.claims(), "admin", true));
    let (_, other_claims) = more.split_once('.').unwrap();
    principal.is_refused(&format!("{header}.{other_claims}.{signature}"), "wrong_signature").await;
    principal.is_refused(&format!("{text}.{}", "A".repeat(86)), "wrong_signature").await;
    principal.is_refused(&format!("{text}.{signature}="), "token_unreadable").await;
    principal.is_good(&good).await;
}

async fn a_token_is_for_one_issuer_principal_and_audience(database: Database) {
    let signer = Signer::ed25519();
    let principal = principal(database, &["EdDSA"], keys_of(&signer)).await;
    let token = |claims: Value| signer.token(&head("EdDSA"), &claims);
    let claims = || principal.claims();
    for (name, values, reason) in [
        ("iss", vec![json!("https://other.example"), json!("https://issuer.example/")], "unknown_definition"),
        ("iss", vec![json!([ISSUER]), json!(7), Value::Null], "token_unreadable"),
        ("sub", vec![json!("bob@issuer"), json!("Alice@issuer"), json!("")], "unknown_definition"),
        ("sub", vec![json!([SUBJECT]), json!({})], "token_unreadable"),
        ("aud", vec![json!("other"), json!(["other", "Lanyard"]), json!([]), json!(""), json!(7)], "wrong_audience"),
    ] {
        for value in values {
            principal.is_refused(&token(with(claims(), name, value)), reason).await;
        }
    }
    for (name, reason) in [("iss", "token_unreadable"), ("sub", "token_unreadable"), ("aud", "wrong_audience")] {
        principal.is_refused(&token(without(claims(), name)), reason).await;
    }
    principal.is_good(&token(with(claims(), "aud", json!(["other", AUDIENCE])))).await;
    principal.is_good(&token(with(claims(), "aud", json!([AUDIENCE])))).await;
}

async fn a_token_is_good_from_nbf_until_before_exp_and_the_skew_around_it(database: Database) {
    let signer = Signer::Secret(SHARED.into());
    let principal = principal(database, &["HS256"], secret(SHARED)).await;
    let now = principal.now();
    let token = |name: &str, value: Value| signer.token(&head("HS256"), &with(principal.claims(), name, value));
    // One minute of skew, unless the definition says otherwise.
    for (exp, good) in [
        (json!(now + 1), true),
        (json!(now), true),
        (json!(now - 59), true),
        (json!(now - 60), false),
        (json!(f64::from(u32::try_from(now).unwrap()) - 59.5), true),
        (json!(f64::from(u32::try_from(now).unwrap()) - 60.5), false),
        (json!(0), false),
        (json!(u64::MAX), true),
    ] {
        let token = token("exp", exp.clone());
        if good { principal.is_good(&token).await } else { principal.is_refused(&token, "token_expired").await }
    }
    for exp in [json!("2099-01-01"), json!([]), json!({})] {
        principal.is_refused(&token("exp", exp), "token_unreadable").await;
    }
    for exp in [json!(-5), json!(1e300), json!(-1e300)] {
        principal.is_refused(&token("exp", exp), "token_unreadable").await;
    }
    for (nbf, good) in [(now - 5, true), (now + 60, true), (now + 61, false), (i64::MAX, false)] {
        let token = token("nbf", json!(nbf));
        if good { principal.is_good(&token).await } else { principal.is_refused(&token, "token_not_yet_valid").await }
    }
    principal.is_refused(&token("nbf", json!("soon")), "token_unreadable").await;
    // The clock is the server's own, which the test moves.
    let token = token("iat", json!(now));
    principal.server.clock.advance(Duration::from_secs(659));
    principal.is_good(&token).await;
    principal.server.clock.advance(Duration::from_secs(1));
    principal.is_refused(&token, "token_expired").await;
}

async fn a_token_without_an_end_is_refused(database: Database) {
    let signer = Signer::Secret(SHARED.into());
    let principal = principal(database, &["HS256"], secret(SHARED)).await;
    let token = signer.token(&head("HS256"), &without(principal.claims(), "exp"));
    principal.is_refused(&token, "token_without_expiry").await;
    let token = signer.token(&head("HS256"), &with(principal.claims(), "exp", Value::Null));
    principal.is_refused(&token, "token_without_expiry").await;
}

async fn what_is_no_token_is_refused(database: Database) {
    let signer = Signer::Secret(SHARED.into());
    let principal = principal(database, &["HS256"], secret(SHARED)).await;
    let good = principal.token(&signer, &head("HS256"));
    for junk in
        ["", ".", "..", "...", "a.b.c", "é.é.é", "\0", &format!("{good}.x"), &format!("{good}\n"), &format!(" {good}")]
    {
        principal.is_refused(junk, "token_unreadable").await;
    }
    let long = with(principal.claims(), "more", "x".repeat(16 * 1024));
    principal.is_refused(&signer.token(&head("HS256"), &long), "token_too_long").await;
    let encrypted = format!("{good}.AAAA.AAAA");
    principal.is_refused(&encrypted, "token_unreadable").await;
    // Who is meant, if it is said twice?
    let claims = principal.claims().to_string().replacen('{', "{\"sub\":\"bob@issuer\",", 1);
    let twice = [head("HS256").to_string(), claims].map(|part| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part)
    });
    principal.is_refused(&format!("{}.AAAA", twice.join(".")), "token_unreadable").await;
}

async fn a_key_is_found_by_its_name_and_without_one_all_are_tried(database: Database) {
    let (one, two, other) = (Signer::p256(), Signer::p256(), Signer::ed25519());
    let set = jwk_set(&[one.jwk("one"), other.jwk("other"), two.jwk("two")]);
    let principal = principal(database, &["ES256", "EdDSA"], public_keys(set)).await;
    let named = |signer: &Signer, key_id: &str| principal.token(signer, &with(head("ES256"), "kid", key_id));
    principal.is_good(&named(&one, "one")).await;
    principal.is_good(&named(&two, "two")).await;
    principal.is_refused(&named(&one, "two"), "wrong_signature").await;
    principal.is_refused(&named(&one, "three"), "unknown_key").await;
    principal.is_refused(&named(&one, "other"), "unknown_key").await;
    for signer in [&one, &two] {
        principal.is_good(&principal.token(signer, &head("ES256"))).await;
    }
    principal.is_good(&principal.token(&other, &head("EdDSA"))).await;
    principal.is_refused(&principal.token(&Signer::p256(), &head("ES256")), "wrong_signature").await;
}

async fn keys_are_given_in_pem_and_in_certificates_too(database: Database) {
    let (p256, p384, ed25519) = (Signer::p256(), Signer::p384(), Signer::ed25519());
    let Signer::P384(_, key) = &p384 else { panic!("as it was made") };
    let certificate = rcgen::CertificateParams::new(vec!["issuer.example".to_owned()]).unwrap();
    let certificate = certificate.self_signed(key).unwrap().pem();
    let pem = format!("Issued for tests\n{}\n{certificate}{}", p256.pem(), ed25519.pem());
    let principal = principal(database, &["ES256", "ES384", "EdDSA"], public_keys(pem)).await;
    for (signer, algorithm) in [(&p256, "ES256"), (&p384, "ES384"), (&ed25519, "EdDSA")] {
        principal.is_good(&principal.token(signer, &head(algorithm))).await;
        // Keys in PEM have no names: a token may call them what it likes.
        principal.is_good(&principal.token(signer, &with(head(algorithm), "kid", "today"))).await;
    }
}

async fn a_key_is_used_with_its_own_algorithm_only(database: Database) {
    let rsa = Signer::rsa();
    let set = jwk_set(&[with(rsa.jwk("only"), "alg", "RS256")]);
    let server = TestServer::start_with(database, patient).await;
    let root = server.as_root().await;
    let definition = lanyard_tests::support::principal::definition("nobody", &["RS256", "PS256"]);
    let refused = root.create_definition(definition, public_keys(set.clone())).await;
    assert_eq!(lanyard_tests::support::answers::Refused::bad_field(refused), "definition.jwt.algorithms");
    let both = jwk_set(&[with(rsa.jwk("only"), "alg", "RS256"), Signer::p256().jwk("ec")]);
    let principal = Principal::new(server, &["RS256", "ES256"], public_keys(both)).await;
    principal.is_good(&principal.token(&rsa, &with(head("RS256"), "kid", "only"))).await;
    principal.is_refused(&principal.token(&rsa, &with(head("ES256"), "kid", "only")), "unknown_key").await;
}

async fn after_a_rotation_the_keys_before_work_until_the_overlap_is_over(database: Database) {
    let [first, second, third] = [Signer::p256(), Signer::p256(), Signer::p256()];
    let principal = principal(database, &["ES256"], keys_of(&first)).await;
    let token = |signer: &Signer| principal.token(signer, &head("ES256"));
    principal.rotate(keys_of(&second), 300).await;
    principal.is_good(&token(&first)).await;
    principal.is_good(&token(&second)).await;
    principal.rotate(keys_of(&third), 300).await;
    principal.is_refused(&token(&first), "wrong_signature").await;
    principal.is_good(&token(&second)).await;
    principal.is_good(&token(&third)).await;
    principal.server.clock.advance(Duration::from_mins(5));
    principal.is_refused(&token(&second), "wrong_signature").await;
    principal.is_good(&token(&third)).await;
    principal.rotate(keys_of(&first), 0).await;
    principal.is_refused(&token(&third), "wrong_signature").await;
    principal.is_good(&token(&first)).await;
}

async fn a_shared_secret_is_rotated_with_an_overlap(database: Database) {
    let texts = ["the first shared secret of 32 bytes..", "the second shared secret of 32 bytes."];
    let [first, second] = texts.map(|text| Signer::Secret(text.into()));
    let mut principal = principal(database, &["HS256"], secret(texts[0])).await;
    let token = |principal: &Principal, signer: &Signer| principal.token(signer, &head("HS256"));
    principal.rotate(secret(texts[1]), 300).await;
    // Sealed, and read again by the next server.
    principal.server.restart().await;
    principal.root = principal.server.as_root().await;
    principal.is_good(&token(&principal, &first)).await;
    principal.is_good(&token(&principal, &second)).await;
    principal.server.clock.advance(Duration::from_mins(5));
    principal.is_refused(&token(&principal, &first), "wrong_signature").await;
    principal.is_good(&token(&principal, &second)).await;
}
