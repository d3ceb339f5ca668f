//! The targets of cargo-fuzz on random bytes: less far than a fuzzer looks, on every toolchain.

use lanyard_server::crypto::{Token, TokenKind};
use proptest::collection::vec;
use proptest::prelude::*;

#[path = "fuzz/lib.rs"]
#[expect(unreachable_pub, reason = "it is a library to the targets")]
mod targets;

/// As a fuzzer hands bytes over: what is valid UTF-8 of them.
fn text(bytes: &[u8]) -> &str {
    let valid = std::str::from_utf8(bytes).map_err(|problem| problem.valid_up_to());
    valid.unwrap_or_else(|end| std::str::from_utf8(&bytes[..end]).expect("up to there it is valid"))
}

/// A good token in which bytes were exchanged, put in or left out: what is random alone never comes far.
fn nearly_a_token() -> impl Strategy<Value = Vec<u8>> {
    let harm = (0usize..60, vec(any::<u8>(), 0..3), 0usize..3);
    let kind = prop_oneof![Just(TokenKind::Ust), Just(TokenKind::CallerKey)];
    (kind, vec(harm, 0..3)).prop_map(|(kind, harms)| {
        let mut bytes = Token::generate(kind).expose().as_bytes().to_vec();
        for (at, put_in, left_out) in harms {
            let at = at.min(bytes.len());
            let end = (at + left_out).min(bytes.len());
            bytes.splice(at..end, put_in);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_token_parser_takes_any_bytes(bytes in prop_oneof![vec(any::<u8>(), 0..200), nearly_a_token()]) {
        targets::token(text(&bytes));
    }

    #[test]
    fn the_page_token_parser_takes_any_bytes(
        size in any::<i32>(),
        token in vec(any::<u8>(), 0..700),
        filter in vec(any::<u8>(), 0..100),
        key in vec(any::<u8>(), 0..400),
    ) {
        targets::page_token(size, text(&token), text(&filter), &key);
    }
}
