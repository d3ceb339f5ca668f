//! The page-token parser takes any text without harm; a page token is good for its own query and no other.
#![no_main]

use std::sync::LazyLock;

use lanyard_server::app::page::{PageRequest, Query};
use lanyard_server::clock::Time;
use lanyard_server::crypto::Keyring;
use lanyard_server::id::UserId;
use libfuzzer_sys::fuzz_target;

const NOW: Time = Time::from_micros(1_700_000_000_000_000);

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::generate(NOW));
static ASKER: LazyLock<UserId> = LazyLock::new(|| UserId::new(NOW));

/// The longest key of a list: a time, a name, an identifier.
const LONGEST_KEY: usize = 300;

fuzz_target!(|input: (i32, &str, &str, &[u8])| {
    let (size, token, filter, key) = input;
    let query = Query::new("users", *ASKER, filter);
    let Ok(page) = PageRequest::parse(size, token) else {
        assert!(size < 0);
        return;
    };
    assert!((1..=200).contains(&page.limit()));
    match page.cursor(&KEYRING, &query, NOW) {
        Ok(cursor) => assert!(token.is_empty() && cursor.is_none(), "somebody made a page token"),
        Err(_) => assert!(!token.is_empty()),
    }

    let key = &key[..key.len().min(LONGEST_KEY)];
    let first = PageRequest::parse(1, "").expect("no token is a good one");
    let issued = first.take(vec![(), ()], |()| key.to_vec(), &KEYRING, &query, NOW).next_page_token;
    let next = PageRequest::parse(1, &issued).expect("1 is a good size");
    let cursor = next.cursor(&KEYRING, &query, NOW).expect("our own page token is good");
    assert_eq!(cursor.as_deref(), Some(key));
    let other = Query::new("users", *ASKER, &format!("{filter}."));
    assert!(next.cursor(&KEYRING, &other, NOW).is_err(), "a page token is bound to its query");
});
