//! What the fuzz targets assert, as plain functions: cargo-fuzz drives them here, and proptest in `tests/fuzzing.rs`, which needs
//! no other toolchain than the rest.

use std::sync::LazyLock;

use lanyard_server::app::page::{PageRequest, Query};
use lanyard_server::clock::Time;
use lanyard_server::crypto::{Keyring, Token, TokenKind, TokenRef};
use lanyard_server::model::id::UserId;

const NOW: Time = Time::from_micros(1_700_000_000_000_000);
/// The longest key of a list: a time, a name, an identifier.
const LONGEST_KEY: usize = 300;

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::generate(NOW));
static ASKER: LazyLock<UserId> = LazyLock::new(|| UserId::new(NOW));

/// The token parser takes any text without harm, and accepts only what is a token to the last character.
///
/// # Panics
/// If it does not; the same holds for the others here.
pub fn token(text: &str) {
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
}

/// The page-token parser takes any text without harm; a page token is good for its own query and no other.
pub fn page_token(size: i32, token: &str, filter: &str, key: &[u8]) {
    any_page_token(size, token, filter);
    let query = Query::new("users", *ASKER, filter);
    let key = &key[..key.len().min(LONGEST_KEY)];
    let first = PageRequest::parse(1, "").expect("no token is a good one");
    let issued = first.take(vec![(), ()], |()| key.to_vec(), &KEYRING, &query, NOW).next_page_token;
    let next = PageRequest::parse(1, &issued).expect("1 is a good size");
    let cursor = next.cursor(&KEYRING, &query, NOW).expect("our own page token is good");
    assert_eq!(cursor.as_deref(), Some(key));
    let other = Query::new("users", *ASKER, &format!("{filter}."));
    assert!(next.cursor(&KEYRING, &other, NOW).is_err(), "a page token is bound to its query");
}

fn any_page_token(size: i32, token: &str, filter: &str) {
    let Ok(page) = PageRequest::parse(size, token) else {
        assert!(size < 0);
        return;
    };
    assert!((1..=200).contains(&page.limit()));
    match page.cursor(&KEYRING, &Query::new("users", *ASKER, filter), NOW) {
        Ok(cursor) => assert!(token.is_empty() && cursor.is_none(), "somebody made a page token"),
        Err(_) => assert!(!token.is_empty()),
    }
}
