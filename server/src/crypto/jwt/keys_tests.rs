//! Tests of which keys are accepted.

use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm};
use serde_json::{Value, json};

use super::*;

const RSA_2048: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxjl9ikoNb9KHMzwI/Mnl
fT1EYO5UzK+dhP+K5XhXr2uqiwjq3jYzLC3RfHJX2MOy2Hdwlq2gAu3vL3GTvDdu
SyHmGFd5Z7r/Pk0CUXYx1Gu75DPSzuV+C0AFCX+WFxyUgTFQ2zM/rNuniODbWzES
koup0h2ZdmMcVjJU2rZSAD3HEsbpP6CefVgRushxv/aNRgke/PrwBr1aDRUxaAur
1KQl9ladPSYe8Hn0GvmSppFfBxCHA+ItiWL1A6wIQU2lOUBBUWvWBW7Moj1TZMZm
wAtRkPmqLdr1K9pB4CdeqwIkq3Ucn7m+CFwjlQoV/s7AeJu1/JOc+rM4VH28Nr5I
RwIDAQAB
-----END PUBLIC KEY-----
";
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC0pOMVeFy/4VPFvokG0djrVHBm
LYC4+voG3LoErnzLAKX6nRP6W5NT1R0C3XflHw4tpuj4SR2D7FHG2gTO0k1xaeNR
0hdg+0Mau3l9ljvp0IkxdTrVbEeyrJ8Q0mIHNiKmp0zbzNpgyqDHI5S2D+D1+CTH
bg7UvS4r9hyq1xbz7wIDAQAB
-----END PUBLIC KEY-----
";

fn new(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

fn read(text: &str) -> Result<Value, KeysError> {
    PublicKeys::read(text).map(|keys| serde_json::from_str(&keys.to_jwk_set()).unwrap())
}

fn error(text: &str) -> Option<KeysError> {
    PublicKeys::read(text).err()
}

fn set(key: &Value) -> String {
    json!({ "keys": [key] }).to_string()
}

#[test]
fn keys_in_pem_become_a_jwk_set_that_reads_back_as_itself() {
    let keys = [new(&PKCS_ECDSA_P256_SHA256), new(&PKCS_ECDSA_P384_SHA384), new(&PKCS_ED25519)];
    let pem = format!("# ours\n{RSA_2048}{}", keys.each_ref().map(KeyPair::public_key_pem).concat());
    let stored = read(&pem).unwrap();
    let kinds: Vec<_> = stored["keys"].as_array().unwrap().iter().map(|key| [&key["kty"], &key["crv"]]).collect();
    let null = Value::Null;
    let [ec, okp, rsa] = ["EC", "OKP", "RSA"].map(Value::from);
    let [p256, p384, ed25519] = ["P-256", "P-384", "Ed25519"].map(Value::from);
    assert_eq!(kinds, [[&rsa, &null], [&ec, &p256], [&ec, &p384], [&okp, &ed25519]]);
    assert_eq!(read(&stored.to_string()), Ok(stored));
}

#[test]
fn a_certificate_stands_for_its_key() {
    let key = new(&PKCS_ECDSA_P256_SHA256);
    let certificate = rcgen::CertificateParams::new(vec!["issuer.example".to_owned()]).unwrap().self_signed(&key);
    assert_eq!(read(&certificate.unwrap().pem()), read(&key.public_key_pem()));
}

#[test]
fn only_what_is_needed_of_a_jwk_is_kept() {
    let mut jwk = read(RSA_2048).unwrap()["keys"][0].clone();
    (jwk["kid"], jwk["alg"], jwk["use"]) = ("one".into(), "PS256".into(), "sig".into());
    let kept = jwk.as_object().unwrap().clone();
    (jwk["x5c"], jwk["x5u"], jwk["note"]) = (json!(["AAAA"]), "https://elsewhere.example".into(), "ours".into());
    let stored = read(&set(&jwk)).unwrap()["keys"][0].clone();
    let mut expected = Value::Object(kept);
    expected.as_object_mut().unwrap().remove("use");
    assert_eq!(stored, expected);
}

#[test]
fn a_private_key_is_called_what_it_is_even_where_it_is_damaged() {
    let key = new(&PKCS_ED25519);
    for text in [
        key.serialize_pem(),
        format!("{}{}", key.public_key_pem(), key.serialize_pem()),
        key.serialize_pem().replace("-----END", "-----"),
        key.serialize_pem().replace("PRIVATE KEY", "RSA PRIVATE KEY"),
        set(&json!({ "kty": "oct", "k": "AAAA" })),
        set(&json!({ "kty": "RSA", "n": "AAAA", "e": "AQAB", "d": "AAAA" })),
        set(&json!({ "kty": "something new", "d": "AAAA" })),
    ] {
        assert_eq!(error(&text), Some(KeysError::Private), "{text}");
    }
}

#[test]
fn what_cannot_verify_is_refused_by_what_is_wrong_with_it() {
    assert_eq!(error(RSA_1024), Some(KeysError::RsaSize));
    assert_eq!(error(&RSA_2048.replace("MIIB", "AAAA")), Some(KeysError::Unreadable));
    for text in [
        "",
        "x",
        "{}",
        "[]",
        r#"{"keys":7}"#,
        "-----BEGIN PUBLIC KEY-----\n",
        "-----BEGIN X-----\nAA==\n-----END X-----\n",
    ] {
        assert!(matches!(error(text), Some(KeysError::Unreadable | KeysError::Count)), "{text}");
    }
    assert_eq!(error(r#"{"keys":[]}"#), Some(KeysError::Count));
    let good = read(&new(&PKCS_ECDSA_P256_SHA256).public_key_pem()).unwrap()["keys"][0].clone();
    assert_eq!(error(&json!({ "keys": vec![&good; 33] }).to_string()), Some(KeysError::Count));
    assert_eq!(error(&set(&good)), None);
    for (name, value) in [
        ("crv", json!("P-384")),
        ("crv", json!("secp256k1")),
        ("x", json!("AAAA")),
        ("x", json!("")),
        ("kty", json!("RSA")),
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("alg", json!("ES384")),
        ("alg", json!("none")),
        ("alg", json!("RSA-OAEP")),
        ("alg", json!(7)),
        ("kid", json!("x".repeat(257))),
    ] {
        let mut bad = good.clone();
        bad[name] = value;
        assert_eq!(error(&set(&bad)), Some(KeysError::Unsupported), "{bad}");
    }
}

#[test]
fn of_a_fetched_set_only_usable_keys_are_taken_and_not_too_many() {
    let good = read(&new(&PKCS_ECDSA_P256_SHA256).public_key_pem()).unwrap()["keys"][0].clone();
    let mixed = json!({ "keys": [7, {}, { "kty": "oct", "k": "AAAA" }, good], "more": 1 }).to_string();
    assert_eq!(PublicKeys::fetched(mixed.as_bytes()).unwrap().0.len(), 1);
    let many = json!({ "keys": vec![&good; 1000] }).to_string();
    let keys = PublicKeys::fetched(many.as_bytes()).unwrap();
    assert_eq!(keys.0.len(), MAX_FETCHED);
    assert_eq!(keys.candidates(Algorithm::ES256, None).count(), MAX_TRIED);
    assert!(!keys.knows(Algorithm::HS256, None) && !keys.knows(Algorithm::ES384, None));
}

proptest! {
    #[test]
    fn junk_is_refused_without_a_panic(text in "\\PC{0,300}", label in "[A-Z ]{0,20}", bytes: Vec<u8>) {
        prop_assert!(PublicKeys::read(&text).is_err());
        let block = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(&bytes));
        prop_assert!(PublicKeys::read(&block).is_err());
        let jwk = set(&json!({ "kty": "RSA", "n": BASE64.encode(&bytes), "e": text }));
        prop_assert!(PublicKeys::read(&jwk).is_err());
        let _ = PublicKeys::fetched(&bytes);
    }
}
