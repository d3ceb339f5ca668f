//! The key ring: a file with a list of keys for each purpose, the current one first.

use std::fmt;
use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::random_bytes;
use super::token::{TokenHash, TokenRef};
use crate::clock::Time;

/// HMAC-SHA-256, initialized with its key.
type Prf = Hmac<Sha256>;

/// What a key is for; no key serves two purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPurpose {
    /// Hashes of tokens at rest. Two keys: the current one and the previous or staged one.
    Token,
    /// Values sealed at rest. Older keys stay, to open them.
    Seal,
    /// The MAC chain of the audit trail. Older keys stay, to verify it.
    Audit,
}

impl KeyPurpose {
    pub const ALL: [Self; 3] = [Self::Token, Self::Seal, Self::Audit];

    /// How many keys stay when one is added.
    const fn kept(self) -> usize {
        match self {
            Self::Token => 2,
            Self::Seal | Self::Audit => usize::MAX,
        }
    }
}

/// One key.
pub(super) struct Key {
    pub(super) id: u16,
    created: Time,
    secret: Zeroizing<[u8; 32]>,
    prf: Prf,
}

impl Key {
    fn new(id: u16, created: Time, secret: [u8; 32]) -> Self {
        let prf = Prf::new_from_slice(&secret).expect("HMAC takes keys of any length");
        Self { id, created, secret: Zeroizing::new(secret), prf }
    }

    pub(super) fn secret(&self) -> [u8; 32] {
        *self.secret
    }

    fn mac(&self, data: &[u8]) -> [u8; 32] {
        let mut prf = self.prf.clone();
        prf.update(data);
        prf.finalize().into_bytes().into()
    }
}

/// All keys of a deployment. Replicas share one file.
pub struct Keyring {
    token: Vec<Key>,
    seal: Vec<Key>,
    audit: Vec<Key>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring([redacted])")
    }
}

/// The key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error("key file {path}: {source}")]
    File { path: String, source: std::io::Error },
    /// Never quotes the content: it is secret.
    #[error("key file {path}: {problem}")]
    Content { path: String, problem: String },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    token: Vec<KeyEntry>,
    seal: Vec<KeyEntry>,
    audit: Vec<KeyEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: u16,
    /// RFC 3339; informative.
    created: String,
    /// 32 bytes in base64.
    secret: Zeroizing<String>,
}

impl Keyring {
    /// A ring with one new key for each purpose.
    pub fn generate(now: Time) -> Self {
        let first = || vec![Key::new(1, now, random_bytes())];
        Self { token: first(), seal: first(), audit: first() }
    }

    /// Reads a key file.
    pub fn load(path: &Path) -> Result<Self, KeyringError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|source| KeyringError::File { path: name.clone(), source })?;
        let content = |problem: String| KeyringError::Content { path: name.clone(), problem };
        let file: KeyFile = serde_json::from_str(&text)
            .map_err(|error| content(format!("not a key file (line {}, column {})", error.line(), error.column())))?;
        let keys = |purpose: &str, entries: Vec<KeyEntry>| {
            read_keys(entries).map_err(|problem| content(format!("{purpose}: {problem}")))
        };
        Ok(Self {
            token: keys("token", file.token)?,
            seal: keys("seal", file.seal)?,
            audit: keys("audit", file.audit)?,
        })
    }

    /// Writes the key file atomically, readable by its owner only.
    pub fn save(&self, path: &Path) -> Result<(), KeyringError> {
        let in_file = |source| KeyringError::File { path: path.display().to_string(), source };
        let entries = |keys: &[Key]| keys.iter().map(write_key).collect();
        let file = KeyFile { token: entries(&self.token), seal: entries(&self.seal), audit: entries(&self.audit) };
        let text = Zeroizing::new(serde_json::to_string_pretty(&file).expect("a key file is plain JSON"));
        write_private(path, text.as_bytes()).map_err(in_file)
    }

    /// Adds a new current key. Of token keys only the current one and the previous one stay.
    pub fn rotate(&mut self, purpose: KeyPurpose, now: Time) {
        let keys = self.keys_mut(purpose);
        keys.insert(0, Key::new(next_id(keys), now, random_bytes()));
        keys.truncate(purpose.kept());
    }

    /// Adds a key that is accepted but not used until [`Self::promote`], so that all servers can load it first. A
    /// staged token key replaces the previous one.
    pub fn stage(&mut self, purpose: KeyPurpose, now: Time) {
        let keys = self.keys_mut(purpose);
        keys.insert(1, Key::new(next_id(keys), now, random_bytes()));
        keys.truncate(purpose.kept());
    }

    /// The ID of the key that is staged but not promoted.
    pub fn staged(&self, purpose: KeyPurpose) -> Option<u16> {
        let newest = self.keys(purpose).iter().map(|key| key.id).max()?;
        (newest != self.current(purpose).id).then_some(newest)
    }

    /// Makes the staged key the current one; returns its ID, or `None` if there is none.
    pub fn promote(&mut self, purpose: KeyPurpose) -> Option<u16> {
        let staged = self.staged(purpose)?;
        let keys = self.keys_mut(purpose);
        let place = keys.iter().position(|key| key.id == staged)?;
        let key = keys.remove(place);
        keys.insert(0, key);
        Some(staged)
    }

    /// ID and creation time of each key, the current one first.
    pub fn list(&self, purpose: KeyPurpose) -> impl Iterator<Item = (u16, Time)> {
        self.keys(purpose).iter().map(|key| (key.id, key.created))
    }

    /// The hash of a new token, and the ID of its key.
    pub fn hash_token(&self, token: TokenRef<'_>) -> (TokenHash, u16) {
        let key = self.current(KeyPurpose::Token);
        (TokenHash(key.mac(token.bytes())), key.id)
    }

    /// The hashes that a stored token may have: under the current key, then under the other one.
    pub fn token_hashes<'a>(&'a self, token: TokenRef<'a>) -> impl Iterator<Item = TokenHash> + 'a {
        self.token.iter().map(move |key| TokenHash(key.mac(token.bytes())))
    }

    /// The next MAC of an audit chain; `None` without this key.
    pub fn audit_mac(&self, key_id: u16, data: &[u8]) -> Option<[u8; 32]> {
        self.find(KeyPurpose::Audit, key_id).map(|key| key.mac(data))
    }

    pub fn current_audit_key(&self) -> u16 {
        self.current(KeyPurpose::Audit).id
    }

    pub fn current_seal_key(&self) -> u16 {
        self.current(KeyPurpose::Seal).id
    }

    /// A keyed hash of a value: throttling by username need not store usernames.
    pub fn pseudonym(&self, label: &str, value: &[u8]) -> [u8; 32] {
        self.current(KeyPurpose::Seal).mac(&labelled(label, value))
    }

    /// The pseudonyms that a value may have, that of the current key first.
    pub fn pseudonyms(&self, label: &str, value: &[u8]) -> Vec<[u8; 32]> {
        let labelled = labelled(label, value);
        self.seal.iter().map(|key| key.mac(&labelled)).collect()
    }

    pub(super) fn current(&self, purpose: KeyPurpose) -> &Key {
        self.keys(purpose).first().expect("a ring has a key for each purpose")
    }

    pub(super) fn find(&self, purpose: KeyPurpose, id: u16) -> Option<&Key> {
        self.keys(purpose).iter().find(|key| key.id == id)
    }

    fn keys(&self, purpose: KeyPurpose) -> &[Key] {
        match purpose {
            KeyPurpose::Token => &self.token,
            KeyPurpose::Seal => &self.seal,
            KeyPurpose::Audit => &self.audit,
        }
    }

    fn keys_mut(&mut self, purpose: KeyPurpose) -> &mut Vec<Key> {
        match purpose {
            KeyPurpose::Token => &mut self.token,
            KeyPurpose::Seal => &mut self.seal,
            KeyPurpose::Audit => &mut self.audit,
        }
    }
}

fn next_id(keys: &[Key]) -> u16 {
    keys.iter().map(|key| key.id).max().unwrap_or(0) + 1
}

fn labelled(label: &str, value: &[u8]) -> Vec<u8> {
    [label.as_bytes(), b"\0", value].concat()
}

fn read_keys(entries: Vec<KeyEntry>) -> Result<Vec<Key>, String> {
    if entries.is_empty() {
        return Err("has no key".into());
    }
    let mut keys: Vec<Key> = Vec::with_capacity(entries.len());
    for entry in entries {
        let secret = BASE64.decode(entry.secret.as_bytes()).ok().map(Zeroizing::new);
        let secret = secret.and_then(|bytes| bytes.as_slice().try_into().ok());
        let secret: [u8; 32] = secret.ok_or_else(|| format!("key {} is not 32 bytes in base64", entry.id))?;
        let created = humantime::parse_rfc3339(&entry.created)
            .ok()
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .map(|since| Time::default() + since)
            .ok_or_else(|| format!("key {}: `created` is no RFC 3339 time", entry.id))?;
        if keys.iter().any(|key| key.id == entry.id) {
            return Err(format!("key {} is there twice", entry.id));
        }
        keys.push(Key::new(entry.id, created, secret));
    }
    Ok(keys)
}

fn write_key(key: &Key) -> KeyEntry {
    KeyEntry { id: key.id, created: key.created.to_string(), secret: Zeroizing::new(BASE64.encode(*key.secret)) }
}

/// Writes a temporary file, syncs and renames it; owner-only from the start.
pub fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Token, TokenKind};

    #[test]
    fn a_ring_reads_back_as_it_was_written_and_only_its_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let ring = Keyring::generate(Time::from_micros(1_000_000));
        ring.save(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let token = Token::generate(TokenKind::Ust);
        let read = Keyring::load(&path).unwrap();
        assert_eq!(read.hash_token(token.as_ref()), ring.hash_token(token.as_ref()));
        assert_eq!(read.list(KeyPurpose::Token).collect::<Vec<_>>(), [(1, Time::from_micros(1_000_000))]);
    }

    #[test]
    fn a_token_hashed_under_the_key_before_is_found_and_under_an_older_one_is_not() {
        let mut ring = Keyring::generate(Time::default());
        let token = Token::generate(TokenKind::Ust);
        let (hash, _) = ring.hash_token(token.as_ref());
        ring.rotate(KeyPurpose::Token, Time::default());
        assert!(ring.token_hashes(token.as_ref()).any(|candidate| candidate == hash));
        ring.rotate(KeyPurpose::Token, Time::default());
        assert!(!ring.token_hashes(token.as_ref()).any(|candidate| candidate == hash));
    }

    #[test]
    fn a_staged_key_is_understood_and_not_used_until_it_is_promoted() {
        let ids = |ring: &Keyring| ring.list(KeyPurpose::Token).map(|(id, _)| id).collect::<Vec<_>>();
        let mut ring = Keyring::generate(Time::default());
        ring.rotate(KeyPurpose::Token, Time::default());
        assert_eq!((ids(&ring), ring.staged(KeyPurpose::Token)), (vec![2, 1], None));
        ring.stage(KeyPurpose::Token, Time::default());
        assert_eq!((ids(&ring), ring.staged(KeyPurpose::Token)), (vec![2, 3], Some(3)));
        let token = Token::generate(TokenKind::Ust);
        let (hash, key_id) = ring.hash_token(token.as_ref());
        assert_eq!(key_id, 2);
        assert_eq!(ring.promote(KeyPurpose::Token), Some(3));
        assert_eq!((ids(&ring), ring.hash_token(token.as_ref()).1), (vec![3, 2], 3));
        assert!(ring.token_hashes(token.as_ref()).any(|candidate| candidate == hash));
        assert_eq!(ring.promote(KeyPurpose::Token), None);
        ring.stage(KeyPurpose::Seal, Time::default());
        let sealed = ring.seal(&[b"place"], b"value");
        ring.promote(KeyPurpose::Seal);
        assert_eq!((ring.current_seal_key(), ring.open(&[b"place"], &sealed)), (2, Ok(b"value".to_vec())));
    }

    #[test]
    fn a_pseudonym_under_an_older_key_is_found_again_and_the_current_one_comes_first() {
        let mut ring = Keyring::generate(Time::default());
        let old = ring.pseudonym("label", b"value");
        ring.rotate(KeyPurpose::Seal, Time::default());
        let new = ring.pseudonym("label", b"value");
        assert_eq!(ring.pseudonyms("label", b"value"), [new, old]);
        assert_ne!(new, old);
        assert!(!ring.pseudonyms("other", b"value").contains(&old));
    }

    #[test]
    fn a_bad_key_file_is_refused_without_repeating_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let secret = "c2VjcmV0";
        let entry = format!(r#"[{{"id":1,"created":"2026-01-01T00:00:00Z","secret":"{secret}"}}]"#);
        for text in [
            secret.to_owned(),
            format!(r#"{{"token":{entry},"seal":{entry},"audit":{entry}}}"#),
            r#"{"token":[],"seal":[],"audit":[]}"#.into(),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Keyring::load(&path).unwrap_err().to_string();
            assert!(!error.contains(secret), "{error}");
        }
        assert!(Keyring::load(&dir.path().join("none")).is_err());
    }
}
