//! Which definitions, secrets and keys there may be, and how they are kept.

use lanyard_client::ErrorReason;
use lanyard_client::v1::definition::Kind;
use lanyard_client::v1::{
    Definition, DefinitionSecret, JwtDefinition, ListDefinitionsRequest, RotateDefinitionSecretRequest,
};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, events_of};
use lanyard_tests::support::principal::{definition as jwt, keys_of, public_keys, secret, url};
use lanyard_tests::support::server::{Database, TestServer};
use lanyard_tests::support::signing::{Signer, jwk_set};

use super::{SECRET, SHARED, basic_auth, jwt_of, made, rotation, seconds};

both_databases!(
    a_definition_that_cannot_be_is_refused_by_its_field,
    a_secret_that_cannot_be_is_refused_by_its_field,
    a_private_key_is_refused_and_kept_nowhere,
    a_sealed_secret_belongs_to_its_definition_and_its_place,
);

async fn a_definition_that_cannot_be_is_refused_by_its_field(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let long = |length: usize| "x".repeat(length);
    for (name, field) in
        [(String::new(), "definition.name"), (long(129), "definition.name"), ("a\nb".to_owned(), "definition.name")]
    {
        let refused = root.create_definition(Definition { name, ..basic_auth("crm") }, secret(SECRET)).await;
        assert_eq!(refused.bad_field(), field);
    }
    for username in [String::new(), long(129), "a\0b".to_owned(), "a:b".to_owned(), "a\u{7f}".to_owned()] {
        let refused =
            root.create_definition(Definition { name: "n".into(), ..basic_auth(&username) }, secret(SECRET)).await;
        assert_eq!(refused.bad_field(), "definition.basic_auth.username");
    }
    let changed = |change: fn(&mut JwtDefinition)| {
        let mut jwt = jwt_of(jwt("alice", &["HS256"]));
        change(&mut jwt);
        Definition { name: "n".into(), kind: Some(Kind::Jwt(jwt)), ..Definition::default() }
    };
    for (definition, field) in [
        (changed(|jwt| jwt.issuer.clear()), "definition.jwt.issuer"),
        (changed(|jwt| jwt.issuer = "x".repeat(513)), "definition.jwt.issuer"),
        (changed(|jwt| jwt.username.clear()), "definition.jwt.username"),
        (changed(|jwt| jwt.username = "x".repeat(129)), "definition.jwt.username"),
        (changed(|jwt| jwt.username = "a\0".into()), "definition.jwt.username"),
        (changed(|jwt| jwt.audience.clear()), "definition.jwt.audience"),
        (changed(|jwt| jwt.audience = "x".repeat(513)), "definition.jwt.audience"),
        (changed(|jwt| jwt.algorithms.clear()), "definition.jwt.algorithms"),
        (changed(|jwt| jwt.algorithms = vec!["none".into()]), "definition.jwt.algorithms"),
        (changed(|jwt| jwt.algorithms = vec!["hs256".into()]), "definition.jwt.algorithms"),
        (changed(|jwt| jwt.algorithms = vec!["HS256".into(), "HS256".into()]), "definition.jwt.algorithms"),
        (changed(|jwt| jwt.algorithms = vec!["HS256".into(), "RS256".into()]), "definition.jwt.algorithms"),
        (changed(|jwt| jwt.algorithms = vec!["HS512".into()]), "definition.jwt.algorithms"),
        (changed(|jwt| jwt.clock_skew = Some(seconds(301))), "definition.jwt.clock_skew"),
        (changed(|jwt| jwt.clock_skew = Some(seconds(-1))), "definition.jwt.clock_skew"),
        (Definition { kind: None, ..basic_auth("crm") }, "definition.kind"),
    ] {
        assert_eq!(root.create_definition(definition, secret(SHARED)).await.bad_field(), field);
    }
    assert_eq!(root.call(ListDefinitionsRequest::default()).await.unwrap().definitions, []);
    let longest = Definition { name: long(128), ..basic_auth(&long(128)) };
    root.create_definition(longest, secret(SECRET)).await.unwrap();
    let skew = changed(|jwt| jwt.clock_skew = Some(seconds(300)));
    root.create_definition(skew, secret(SHARED)).await.unwrap();
}

async fn a_secret_that_cannot_be_is_refused_by_its_field(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let signer = Signer::p256();
    let both = DefinitionSecret { public_keys: signer.pem(), ..secret(SHARED) };
    let es256 = || jwt("alice", &["ES256"]);
    let small = "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC0pOMVeFy/4VPFvokG0djrVHBm\n\
        LYC4+voG3LoErnzLAKX6nRP6W5NT1R0C3XflHw4tpuj4SR2D7FHG2gTO0k1xaeNR\n\
        0hdg+0Mau3l9ljvp0IkxdTrVbEeyrJ8Q0mIHNiKmp0zbzNpgyqDHI5S2D+D1+CTH\nbg7UvS4r9hyq1xbz7wIDAQAB\n\
        -----END PUBLIC KEY-----\n";
    let many: Vec<_> = (0..33).map(|number| signer.jwk(&number.to_string())).collect();
    for (definition, secret, field) in [
        (basic_auth("crm"), DefinitionSecret::default(), "secret"),
        (basic_auth("crm"), both.clone(), "secret"),
        (basic_auth("crm"), public_keys(signer.pem()), "secret"),
        (basic_auth("crm"), url("https://issuer.example/keys"), "secret"),
        (basic_auth("crm"), secret("11 bytes...."[..11].into()), "secret.secret"),
        (basic_auth("crm"), secret(&"x".repeat(1025)), "secret.secret"),
        (es256(), both, "secret"),
        (es256(), secret(SHARED), "definition.jwt.algorithms"),
        (jwt("alice", &["HS256"]), secret("31 bytes, which is one too few."), "definition.jwt.algorithms"),
        (jwt("alice", &["HS256"]), keys_of(&signer), "definition.jwt.algorithms"),
        (jwt("alice", &["HS256"]), url("https://issuer.example/keys"), "definition.jwt.algorithms"),
        (jwt("alice", &["RS256", "ES256"]), keys_of(&signer), "definition.jwt.algorithms"),
        (jwt("alice", &["ES384"]), keys_of(&signer), "definition.jwt.algorithms"),
        (jwt("alice", &["RS256"]), public_keys(small), "secret.public_keys"),
        (es256(), public_keys("x"), "secret.public_keys"),
        (es256(), public_keys("{}"), "secret.public_keys"),
        (es256(), public_keys(r#"{"keys":[]}"#), "secret.public_keys"),
        (es256(), public_keys(jwk_set(&many)), "secret.public_keys"),
        (es256(), public_keys("x".repeat(64 * 1024 + 1)), "secret.public_keys"),
        (es256(), url("http://issuer.example/keys"), "secret.jwks_url"),
    ] {
        let told = definition.name.clone();
        assert_eq!(root.create_definition(definition, secret).await.bad_field(), field, "{told}");
    }
    assert_eq!(root.call(ListDefinitionsRequest::default()).await.unwrap().definitions, []);
    let there = made(&root, "crm").await;
    let token = root.create_definition(jwt("alice", &["HS256"]), secret(SHARED)).await.unwrap();
    for (request, field) in [
        (rotation(there.auth_id, secret("too short")), "secret.secret"),
        (rotation(there.auth_id, keys_of(&signer)), "secret"),
        (rotation(there.auth_id, DefinitionSecret::default()), "secret"),
        (rotation(token.auth_id, keys_of(&signer)), "secret"),
        (rotation(token.auth_id, secret("too short")), "secret"),
        (
            RotateDefinitionSecretRequest {
                overlap: Some(seconds(30 * 86_400 + 1)),
                ..rotation(there.auth_id, secret(SECRET))
            },
            "overlap",
        ),
        (
            RotateDefinitionSecretRequest { overlap: Some(seconds(-1)), ..rotation(there.auth_id, secret(SECRET)) },
            "overlap",
        ),
    ] {
        assert_eq!(root.rotate_definition_secret(request).await.bad_field(), field);
    }
    assert_eq!(root.get_definition(there.auth_id).await.unwrap(), there);
}

async fn a_private_key_is_refused_and_kept_nowhere(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = key.serialize_pem();
    let mut private = Signer::p256().jwk("one");
    private["d"] = "the private number of the key, which nobody may have".into();
    let shared = serde_json::json!({ "kty": "oct", "k": "the shared number of the key, which nobody may have" });
    let damaged = format!("{}\n-----BEGIN EC PRIVATE KEY-----\nnot even base64", key.public_key_pem());
    let encrypted =
        pem.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE").replace("END PRIVATE", "END ENCRYPTED PRIVATE");
    for text in [
        pem.clone(),
        format!("{}{pem}", key.public_key_pem()),
        damaged,
        encrypted,
        jwk_set(&[private]),
        jwk_set(&[shared]),
    ] {
        let refusal = root.create_definition(jwt("alice", &["ES256"]), public_keys(text)).await.refusal();
        let violation = &refusal.field_violations[0];
        assert_eq!(violation.field, "secret.public_keys");
        assert!(violation.description.contains("private or shared key"), "{}", violation.description);
        let said = format!("{refusal} {refusal:?}");
        assert!(!said.contains("which nobody may have") && !said.contains("BEGIN"), "{said}");
    }
    let line = pem.lines().nth(1).unwrap().to_owned();
    for needle in [line.as_str(), "which nobody may have"] {
        let files = ["lanyard.db", "lanyard.db-wal"].map(|file| std::fs::read(server.folder().join(file)));
        for bytes in files.into_iter().flatten() {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle.as_bytes()));
        }
    }
    let events = events_of(&server, "definition.").await;
    assert!(events.iter().all(|event| !event.detail.contains(&line)));
}

async fn a_sealed_secret_belongs_to_its_definition_and_its_place(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let mut made = Vec::new();
    for name in ["one", "two"] {
        made.push(
            root.create_definition(jwt(name, &["HS256"]), secret(&format!("{SHARED} of {name}")))
                .await
                .unwrap()
                .auth_id,
        );
    }
    let overlap =
        RotateDefinitionSecretRequest { overlap: Some(seconds(600)), ..rotation(made[0], secret(&SHARED.repeat(2))) };
    root.rotate_definition_secret(overlap).await.unwrap();
    let ids = made.clone();
    let rows = server.within(|app| async move {
        let mut rows = Vec::new();
        for auth_id in ids {
            rows.push(app.store().definition(auth_id).await.unwrap().unwrap());
        }
        rows
    });
    let rows = rows.await;
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let previous = rows[0].previous_material.clone().expect("the one before");
    for sealed in [&rows[0].material, &rows[1].material, &previous] {
        assert!(!has(sealed, SHARED));
    }
    // Put elsewhere, none of them opens: that is a fault of the database, not of who logs in.
    for (auth_id, material) in
        [(made[0], rows[1].material.clone()), (made[0], previous), (made[1], rows[0].material.clone())]
    {
        let moved = server.within(move |app| async move {
            app.store()
                .write(move |tx| {
                    let material = material.clone();
                    Box::pin(async move {
                        let row = tx.lock_definition(auth_id).await?.expect("it is there");
                        tx.update_material(&lanyard_server::store::DefinitionRow { material, ..row }).await
                    })
                })
                .await
        });
        moved.await.unwrap();
        let signer = Signer::Secret(SHARED.repeat(2).into_bytes());
        let now = server.clock.now().to_unix().0;
        let name = if auth_id == made[0] { "one" } else { "two" };
        let claims =
            serde_json::json!({ "iss": "https://issuer.example", "sub": name, "aud": "lanyard", "exp": now + 60 });
        let token = signer.token(&serde_json::json!({ "alg": "HS256" }), &claims);
        let refusal = server.client().log_in_jwt(&token.as_str().into()).await.refusal();
        assert_eq!(refusal.reason, ErrorReason::Internal, "{refusal}");
    }
}
