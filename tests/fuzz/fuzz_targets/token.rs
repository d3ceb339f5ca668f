//! The token parser takes any text without harm, and accepts only what is a token to the last character.
#![no_main]

use lanyard_server::crypto::{Token, TokenKind, TokenRef};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for kind in [TokenKind::Ust, TokenKind::CallerKey] {
        if TokenRef::parse(kind, text).is_none() {
            assert!(Token::from_text(kind, text).is_none(), "one way of reading refuses what the other accepts");
            continue;
        }
        assert_eq!(text.len(), 54);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        let token = Token::from_text(kind, text).expect("one way of reading accepts what the other refuses");
        assert_eq!(token.expose(), text);
        assert!(!format!("{token:?}").contains(text));
    }
});
