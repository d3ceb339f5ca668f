//! What of Micetro is called: paths that cannot lead elsewhere, and their parameters.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but what is never special. A space becomes `%20`: Micetro does not take `+` for one.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A piece of a path, encoded, whatever is in it: `example.com.` and `0/25.2.0.192.in-addr.arpa.` are one segment each.
///
/// A piece that is `..` stays what it is, and is refused in a path.
pub fn path_segment(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// The path with its parameters, or what is wrong with it.
pub(super) fn target(path: &str, params: &[(String, String)]) -> Result<String, &'static str> {
    check(path)?;
    if params.is_empty() {
        return Ok(path.to_owned());
    }
    if path.contains('?') {
        return Err("the path must not have a query where parameters are given too");
    }
    let pairs = params.iter().map(|(name, value)| format!("{}={}", path_segment(name), path_segment(value)));
    Ok(format!("{path}?{}", pairs.collect::<Vec<_>>().join("&")))
}

fn check(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("the path must begin with /");
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && !br##""#<>\^`{|}"##.contains(&byte)) {
        return Err("the path must be percent-encoded, and without a fragment");
    }
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    check_decoded(path)?;
    let decoded = decode(path)?;
    check_decoded(&decoded)?;
    // Whoever decodes twice must not be led astray either. A `%` that is no more an escape ends it.
    let mut last = decoded;
    while let Ok(next) = decode(&last) {
        if next == last {
            break;
        }
        check_decoded(&next)?;
        last = next;
    }
    Ok(())
}

fn check_decoded(path: &str) -> Result<(), &'static str> {
    if path.contains("//") {
        return Err("the path must not have an empty segment");
    }
    if path.split(['/', '\\']).any(|segment| segment == "..") {
        return Err("the path must not have a segment ..");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err("the path must not have control characters or backslashes");
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, &'static str> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        if !after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err("the path has a % that begins no escape");
        }
        rest = after;
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| "the path must be UTF-8 where it is decoded")?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(path: &str, params: &[(&str, &str)]) -> Result<String, &'static str> {
        let params: Vec<_> = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        target(path, &params)
    }

    #[test]
    fn paths_that_micetro_has_are_good() {
        for path in [
            "/dnsServers",
            "/users/.",
            "/dnsZones/example.com.",
            "/dnsZones/dnsZones/7/dnsRecords",
            "/ipamRecords/192.0.2.31",
            "/ipamRecords/2001:db8::1",
            "/dnsZones/0%2F25.2.0.192.in-addr.arpa.",
            "/dnsServers?limit=1&filter=name%3D%5Ens",
            "/dnsServers?redirect=https://elsewhere/../x",
            "/dnsZones/100%25.example.",
        ] {
            assert_eq!(with(path, &[]).as_deref(), Ok(path));
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in [
            "",
            "dnsServers",
            "https://elsewhere/",
            "//elsewhere/dnsServers",
            "/a//b",
            "/../../login",
            "/a/..",
            "/a/../b",
            "/a/%2e%2e/b",
            "/a/.%2E/b",
            "/a/%252e%252e/b",
            "/a%2f..%2fb",
            "/a%2f%2fb",
            "/a\\b",
            "/a%5c..%5cb",
            "/a#b",
            "/a b",
            "/a\r\nHost: elsewhere",
            "/a%0d%0ab",
            "/a%00",
            "/zoë",
            "/a%zz",
            "/a%2",
            "/a%ff",
        ] {
            assert!(with(path, &[]).is_err(), "{path}");
        }
    }

    #[test]
    fn parameters_are_encoded_and_never_with_a_plus() {
        let target = with("/dnsZones", &[("filter", "name=^a b+c&d=ü"), ("limit", "1")]).unwrap();
        assert_eq!(target, "/dnsZones?filter=name%3D%5Ea%20b%2Bc%26d%3D%C3%BC&limit=1");
        assert!(with("/dnsZones?limit=1", &[("offset", "1")]).is_err());
        assert!(with("/dnsZones#x", &[("offset", "1")]).is_err());
    }

    #[test]
    fn a_segment_is_one_whatever_is_in_it() {
        for text in ["0/25.2.0.192.in-addr.arpa.", "a?b#c", "zoë & co", "50%", "a\\b", "..", "../x"] {
            let path = format!("/dnsZones/{}", path_segment(text));
            assert_eq!(path.matches('/').count(), 2, "{path}");
            assert!(!path.contains(['?', '#', ' ']), "{path}");
        }
        assert!(with(&format!("/dnsZones/{}", path_segment("../../x")), &[]).is_err());
        assert!(with(&format!("/dnsZones/{}", path_segment("zoë? 50%")), &[]).is_ok());
    }
}
