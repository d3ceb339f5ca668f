//! Looking for secrets where none may be: as they are, and in every form in which logs, dumps and protocols write bytes.

use std::fmt::Write;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter ones stand everywhere by chance.
const SHORTEST: usize = 7;

/// What may be seen nowhere, by names that may.
#[derive(Default)]
pub struct Secrets {
    secrets: Vec<(String, Vec<u8>)>,
    codes: Vec<(String, String)>,
}

impl Secrets {
    /// # Panics
    /// If it is so short that it could stand anywhere.
    pub fn add(&mut self, name: &str, secret: impl AsRef<[u8]>) {
        let secret = secret.as_ref();
        assert!(secret.len() >= SHORTEST, "{name} is too short to be looked for");
        self.secrets.push((name.to_owned(), secret.to_vec()));
    }

    /// A few digits: they are looked for as a word of their own.
    pub fn add_code(&mut self, name: &str, code: &str) {
        self.codes.push((name.to_owned(), code.to_owned()));
    }

    pub fn len(&self) -> usize {
        self.secrets.len() + self.codes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// # Panics
    /// If one of them is in `place`; it says which, as what, and what stands around it.
    pub fn are_not_in(&self, name: &str, place: impl AsRef<[u8]>) {
        let place = place.as_ref();
        let forms: Vec<(&str, &str, Vec<u8>)> = self
            .secrets
            .iter()
            .flat_map(|(secret, bytes)| forms(bytes).into_iter().map(move |(form, text)| (secret.as_str(), form, text)))
            .collect();
        let search = AhoCorasick::new(forms.iter().map(|(_, _, text)| text)).expect("the needles are few");
        let mut found: Vec<String> = search
            .find_iter(place)
            .map(|hit| {
                let (secret, form, _) = &forms[hit.pattern().as_usize()];
                format!("{secret}, {form}, behind: {}", before(place, hit.start()))
            })
            .collect();
        found.extend(self.codes.iter().filter_map(|(secret, code)| {
            let at = word(place, code.as_bytes())?;
            Some(format!("{secret}, behind: {}", before(place, at)))
        }));
        found.dedup();
        assert!(found.is_empty(), "secrets in {name}:\n{}", found[..found.len().min(10)].join("\n"));
    }
}

/// What stands before it, which tells where it comes from and is not the secret.
fn before(place: &[u8], at: usize) -> String {
    let line = place[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    String::from_utf8_lossy(&place[line.max(at.saturating_sub(400))..at]).into_owned()
}

/// Where the digits stand alone: not as part of a longer number, and not as the fraction of a second.
fn word(place: &[u8], code: &[u8]) -> Option<usize> {
    let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b".-_:+".contains(byte));
    let alone = |at: &usize| !is_part(at.checked_sub(1).map(|at| &place[at])) && !is_part(place.get(at + code.len()));
    let search = AhoCorasick::new([code]).expect("one needle");
    search.find_iter(place).map(|hit| hit.start()).find(alone)
}

/// A secret as others write it.
fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("as it is", secret.to_vec())];
    let mut add = |form, text: String| {
        if text.as_bytes() != secret {
            forms.push((form, text.into_bytes()));
        }
    };
    let joined = |separator: &str, write: fn(u8) -> String| {
        secret.iter().map(|byte| write(*byte)).collect::<Vec<_>>().join(separator)
    };
    add("in hexadecimal", joined("", |byte| format!("{byte:02x}")));
    add("in upper hexadecimal", joined("", |byte| format!("{byte:02X}")));
    add("as bytes", joined(", ", |byte| byte.to_string()));
    add("as bytes", joined(",", |byte| byte.to_string()));
    add("URL-encoded", joined("", percent));
    // In the middle of something longer the first bytes fall together with those before, in three ways.
    for skipped in 0..3 {
        let whole_groups = (secret.len() - skipped) / 3 * 3;
        let inner = &secret[skipped..skipped + whole_groups];
        add("in base64", STANDARD_NO_PAD.encode(inner));
        add("in URL-safe base64", URL_SAFE_NO_PAD.encode(inner));
    }
    if let Ok(text) = std::str::from_utf8(secret) {
        let quoted = format!("{text:?}");
        add("as Debug writes text", quoted[1..quoted.len() - 1].to_owned());
        let json = serde_json::Value::from(text).to_string();
        add("in JSON", json[1..json.len() - 1].to_owned());
        add("as Debug writes bytes", secret.escape_ascii().to_string());
    }
    forms
}

fn percent(byte: u8) -> String {
    let mut text = String::new();
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        text.push(char::from(byte));
    } else {
        write!(text, "%{byte:02X}").expect("a String takes all");
    }
    text
}
