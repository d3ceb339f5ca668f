//! Property tests of token rules; the server's tests cover forged tokens.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"a shared secret of 32 bytes or more";

fn signed(header: &Value, claims: &Value) -> String {
    let signed = [header, claims].map(|part| BASE64.encode(part.to_string())).join(".");
    let signature = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", BASE64.encode(signature.as_ref()))
}

fn claims() -> Value {
    json!({ "iss": "i", "sub": "s", "aud": "a", "exp": 1_000 })
}

fn verify(token: &str, clock_skew: Duration, now: Time) -> Result<(), TokenProblem> {
    let expected = Expected { issuer: "i", subject: "s", audience: "a", algorithms: &[Algorithm::HS256], clock_skew };
    UnverifiedToken::read(token)?.verify(expected, VerifyWith::Secret(SECRET), now)
}

fn at(seconds: u64) -> Time {
    Time::default() + Duration::from_secs(seconds)
}

#[test]
fn each_name_is_of_one_algorithm_and_none_is_none() {
    for (name, known) in ALGORITHMS {
        assert_eq!(algorithm(name), Some(known));
        assert_eq!(algorithm_name(known), name);
    }
    for name in ["", "none", "NONE", "hs256", "ES512", "RS1"] {
        assert_eq!(algorithm(name), None, "{name}");
    }
}

#[test]
fn what_a_token_says_before_it_is_verified_is_read_only() {
    let token = signed(&json!({ "alg": "HS256", "kid": "k" }), &claims());
    let unverified = UnverifiedToken::read(&token).unwrap_or_else(|_| panic!("it can be read"));
    assert_eq!((unverified.issuer(), unverified.subject(), unverified.key_id()), ("i", "s", Some("k")));
    assert_eq!(unverified.algorithm(&[Algorithm::HS512]), Err(TokenProblem::AlgorithmNotAllowed));
    assert_eq!(verify(&token, Duration::ZERO, at(1)), Ok(()));
}

#[test]
fn a_secret_does_not_stand_for_a_key_whatever_is_allowed() {
    let token = signed(&json!({ "alg": "RS256" }), &claims());
    let algorithms = [Algorithm::HS256, Algorithm::RS256];
    let expected =
        Expected { issuer: "i", subject: "s", audience: "a", algorithms: &algorithms, clock_skew: Duration::ZERO };
    let read = |token| UnverifiedToken::read(token).unwrap_or_else(|_| panic!("it can be read"));
    let outcome = read(&token).verify(expected, VerifyWith::Secret(SECRET), at(1));
    assert_eq!(outcome, Err(TokenProblem::AlgorithmNotAllowed));
    let none = PublicKeys::fetched(br#"{"keys":[]}"#).unwrap();
    let token = signed(&json!({ "alg": "HS256" }), &claims());
    assert_eq!(read(&token).verify(expected, VerifyWith::Keys(&none), at(1)), Err(TokenProblem::KeyUnknown));
}

proptest! {
    #[test]
    fn a_token_is_good_from_nbf_until_before_exp_give_or_take_the_skew(
        nbf in 0..10_000u64, exp in 0..10_000u64, skew in 0..300u64, now in 0..11_000u64,
    ) {
        let mut claims = claims();
        (claims["nbf"], claims["exp"]) = (nbf.into(), exp.into());
        let verdict = verify(&signed(&json!({ "alg": "HS256" }), &claims), Duration::from_secs(skew), at(now));
        let expected = if now >= exp + skew {
            Err(TokenProblem::Expired)
        } else if now + skew < nbf {
            Err(TokenProblem::NotYetValid)
        } else {
            Ok(())
        };
        prop_assert_eq!(verdict, expected);
    }

    #[test]
    fn no_number_of_a_claim_makes_it_panic(exp in any::<f64>(), nbf in any::<i64>(), now in any::<i64>()) {
        let mut claims = claims();
        (claims["exp"], claims["nbf"]) = (json!(exp), json!(nbf));
        let _ = verify(&signed(&json!({ "alg": "HS256" }), &claims), Duration::MAX, Time::from_micros(now));
    }

    #[test]
    fn a_token_of_which_anything_was_changed_is_not_good(position in 0..200usize, to in "[A-Za-z0-9_.-]") {
        let token = signed(&json!({ "alg": "HS256" }), &claims());
        let position = position % token.len();
        let mut changed = token.clone();
        changed.replace_range(position..=position, &to);
        prop_assume!(changed != token);
        prop_assert!(verify(&changed, Duration::ZERO, at(1)).is_err());
    }

    #[test]
    fn junk_is_refused_without_a_panic(token in "\\PC{0,200}", bytes: Vec<u8>) {
        prop_assert!(UnverifiedToken::read(&token).is_err());
        let part = BASE64.encode(&bytes);
        let three = [part.as_str(); 3].join(".");
        prop_assert!(UnverifiedToken::read(&three).is_err());
    }
}
