//! Keyset pagination. A page token is the key of the last item, sealed and bound to the query and the acting user.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::clock::Time;
use crate::crypto::Keyring;
use crate::error::{Error, Result};
use crate::model::id::UserId;

const DEFAULT_SIZE: u64 = 50;
const MAX_SIZE: u64 = 200;
/// Lifetime of a page token.
const MAX_AGE: Duration = Duration::from_hours(24);
/// Maximum length in bytes.
const MAX_TOKEN: usize = 512;

/// The query that a page token is bound to.
pub struct Query {
    name: &'static str,
    acting_user: [u8; 16],
    filter: Vec<u8>,
}

impl Query {
    /// `filter`: a text that identifies the filter of the query.
    pub fn new(name: &'static str, acting_user: UserId, filter: &str) -> Self {
        Self { name, acting_user: *acting_user.as_bytes(), filter: filter.as_bytes().to_vec() }
    }

    fn seal_context(&self) -> [&[u8]; 4] {
        [b"page", self.name.as_bytes(), &self.acting_user, &self.filter]
    }
}

/// The requested page.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageRequest<'a> {
    limit: u64,
    token: &'a str,
}

/// One page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Empty on the last page.
    pub next_page_token: String,
}

impl<'a> PageRequest<'a> {
    /// 0 means 50, more than 200 means 200; negative is an error.
    pub fn parse(size: i32, token: &'a str) -> Result<Self> {
        let size = u64::try_from(size)
            .map_err(|_| Error::invalid("page_size", "is negative: send 0 for the default, or 1 to 200"))?;
        let limit = if size == 0 { DEFAULT_SIZE } else { size.min(MAX_SIZE) };
        Ok(Self { limit, token })
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// True for the first page.
    pub fn is_first(&self) -> bool {
        self.token.is_empty()
    }

    /// The key after which the page starts; `None` on the first page.
    pub fn cursor(&self, keyring: &Keyring, query: &Query, now: Time) -> Result<Option<Vec<u8>>> {
        if self.token.is_empty() {
            return Ok(None);
        }
        open(self.token, keyring, query, now).map(Some).ok_or(Error::PageTokenInvalid)
    }

    /// Builds a page from up to `limit + 1` items; the extra one shows that there is another page.
    pub fn take<T>(
        &self,
        mut items: Vec<T>,
        key: impl Fn(&T) -> Vec<u8>,
        keyring: &Keyring,
        query: &Query,
        now: Time,
    ) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| has_more);
        let next_page_token = last.map(|item| seal(&key(item), keyring, query, now)).unwrap_or_default();
        Page { items, next_page_token }
    }
}

fn seal(key: &[u8], keyring: &Keyring, query: &Query, now: Time) -> String {
    let content = [&now.micros().to_be_bytes()[..], key].concat();
    BASE64.encode(keyring.seal(&query.seal_context(), &content))
}

fn open(token: &str, keyring: &Keyring, query: &Query, now: Time) -> Option<Vec<u8>> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let content = keyring.open(&query.seal_context(), &BASE64.decode(token).ok()?).ok()?;
    let (issued, key) = content.split_first_chunk()?;
    let issued = Time::from_micros(i64::from_be_bytes(*issued));
    (now.since(issued) <= MAX_AGE).then(|| key.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn acting_user(number: u128) -> UserId {
        UserId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn sizes_are_defaulted_cut_and_refused() {
        assert_eq!(PageRequest::parse(0, "").unwrap().limit(), 50);
        assert_eq!(PageRequest::parse(7, "").unwrap().limit(), 7);
        assert_eq!(PageRequest::parse(i32::MAX, "").unwrap().limit(), 200);
        assert!(matches!(PageRequest::parse(-1, ""), Err(Error::InvalidField { .. })));
    }

    #[test]
    fn a_page_token_is_good_for_its_own_query_asker_and_day_only() {
        let ring = Keyring::generate(Time::default());
        let now = Time::from_micros(1_700_000_000_000_000);
        let query = Query::new("users", acting_user(1), "search=a");
        let page = PageRequest::parse(1, "").unwrap().take(vec![b'x', b'y'], |item| vec![*item], &ring, &query, now);
        assert_eq!(page.items, [b'x']);
        let next = PageRequest::parse(1, &page.next_page_token).unwrap();
        assert_eq!(next.cursor(&ring, &query, now).unwrap(), Some(vec![b'x']));
        for (other, when) in [
            (Query::new("users", acting_user(1), "search=b"), now),
            (Query::new("users", acting_user(2), "search=a"), now),
            (Query::new("sessions", acting_user(1), "search=a"), now),
            (query, now + MAX_AGE + Duration::from_secs(1)),
        ] {
            assert!(matches!(next.cursor(&ring, &other, when), Err(Error::PageTokenInvalid)));
        }
        let last = PageRequest::parse(2, "").unwrap().take(
            vec![1, 2],
            |_| vec![],
            &ring,
            &Query::new("q", acting_user(1), ""),
            now,
        );
        assert_eq!(last.next_page_token, "", "the last page has no token");
    }

    proptest! {
        #[test]
        fn junk_is_refused_without_a_panic(token in "\\PC{1,600}") {
            let ring = Keyring::generate(Time::default());
            let query = Query::new("users", acting_user(1), "");
            let page = PageRequest::parse(1, &token).unwrap();
            prop_assert!(matches!(page.cursor(&ring, &query, Time::default()), Err(Error::PageTokenInvalid)));
        }
    }
}
