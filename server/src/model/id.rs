//! Public identifiers: a prefix for the kind and a `UUIDv7` in 32 hexadecimal digits, so that they sort by creation.
//! They are not secret and prove nothing.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use uuid::Uuid;

use crate::clock::Time;

/// The kind of an identifier.
pub trait Kind {
    const PREFIX: &'static str;
}

const PREFIX_LEN: usize = 4;
const LEN: usize = PREFIX_LEN + uuid::fmt::Simple::LENGTH;

/// An identifier of one kind; kinds cannot be mixed up.
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

/// Marker of [`SessionId`].
pub enum SessionKind {}
impl Kind for SessionKind {
    const PREFIX: &'static str = "ses_";
}
/// Marker of [`UserId`].
pub enum UserKind {}
impl Kind for UserKind {
    const PREFIX: &'static str = "usr_";
}
/// Marker of [`CallerId`].
pub enum CallerKind {}
impl Kind for CallerKind {
    const PREFIX: &'static str = "cal_";
}
/// Marker of [`LinkId`].
pub enum LinkKind {}
impl Kind for LinkKind {
    const PREFIX: &'static str = "lnk_";
}

pub type SessionId = Id<SessionKind>;
pub type UserId = Id<UserKind>;
pub type CallerId = Id<CallerKind>;
pub type LinkId = Id<LinkKind>;

impl<K> Id<K> {
    /// Creates an identifier with the time part `now`; the rest is random.
    pub fn new(now: Time) -> Self {
        let (seconds, nanos) = now.to_unix();
        let seconds = u64::try_from(seconds).unwrap_or(0);
        Self::from_uuid(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)))
    }

    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self { uuid, kind: PhantomData }
    }

    pub const fn uuid(self) -> Uuid {
        self.uuid
    }

    /// The bytes that keys, page tokens and hashes contain.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.uuid.as_bytes()
    }

    /// Parses [`Self::as_bytes`].
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ParseIdError> {
        Uuid::from_slice(bytes).map(Self::from_uuid).map_err(|_| ParseIdError)
    }

    /// The smallest identifier.
    pub const fn nil() -> Self {
        Self::from_uuid(Uuid::nil())
    }

    /// A buffer for [`Self::write`].
    pub const fn buffer() -> [u8; LEN] {
        [0; LEN]
    }
}

impl<K: Kind> Id<K> {
    /// Writes the text that `Display` shows, without the overhead of formatting.
    pub fn write(self, buffer: &mut [u8; LEN]) -> &str {
        const { assert!(K::PREFIX.len() == PREFIX_LEN) };
        let (prefix, digits) = buffer.split_at_mut(PREFIX_LEN);
        prefix.copy_from_slice(K::PREFIX.as_bytes());
        self.uuid.simple().encode_lower(digits);
        std::str::from_utf8(buffer).expect("prefixes and digits are ASCII")
    }
}

impl<K: Kind> From<Id<K>> for String {
    /// Like `Display`, without the overhead of formatting.
    fn from(id: Id<K>) -> Self {
        id.write(&mut Id::<K>::buffer()).to_owned()
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uuid.cmp(&other.uuid)
    }
}
impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}
impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In one call, so that a `String` need not grow.
        f.write_str(self.write(&mut Self::buffer()))
    }
}
impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an identifier of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of this kind")]
pub struct ParseIdError;

impl<K: Kind> FromStr for Id<K> {
    type Err = ParseIdError;

    /// Accepts exactly what `Display` writes, and no other spelling of a UUID.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digits = text.strip_prefix(K::PREFIX).ok_or(ParseIdError)?;
        let canonical = digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !canonical {
            return Err(ParseIdError);
        }
        Uuid::try_parse(digits).map(Self::from_uuid).map_err(|_| ParseIdError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_reads_back_as_itself_and_never_as_another_kind(bits: u128) {
            let id = UserId::from_uuid(Uuid::from_u128(bits));
            prop_assert_eq!(id.to_string().parse::<UserId>(), Ok(id));
            prop_assert_eq!(id.to_string().parse::<SessionId>(), Err(ParseIdError));
        }

        #[test]
        fn any_text_is_refused_or_reads_back_to_the_letter(text in "(usr_)?[0-9a-fA-F-]{0,40}") {
            if let Ok(id) = text.parse::<UserId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn an_id_is_its_prefix_and_32_digits() {
        let id = SessionId::from_uuid(Uuid::from_u128(0xabc));
        assert_eq!(id.to_string(), "ses_00000000000000000000000000000abc");
        assert_eq!(id.to_string().len(), LEN);
    }

    #[test]
    fn ids_made_later_sort_later() {
        let early = SessionId::new(Time::from_micros(1_700_000_000_000_000));
        let late = SessionId::new(Time::from_micros(1_700_000_000_001_000));
        assert!(early < late && early.to_string() < late.to_string());
    }
}
