//! Authenticates the caller by API key or client certificate.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::method::Method;
use super::peer::{ClientCertificate, Peer};
use crate::app::App;
use crate::app::caller::CachedCaller;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::model::caller::{Caller, CallerCredential};

/// The credential of a call. A key takes precedence over a certificate: the key was chosen for this call, the
/// certificate may belong to a service mesh.
pub(crate) enum Proof {
    Key(HeaderValue),
    Certificate(Arc<str>),
}

impl Proof {
    /// Takes the key out of the headers, so that no later stage can print it.
    pub(crate) fn take(headers: &mut HeaderMap, peer: &Peer, now: Time) -> Result<Self> {
        if let Some(mut key) = headers.remove(AUTHORIZATION) {
            key.set_sensitive(true);
            return Ok(Self::Key(key));
        }
        match &peer.certificate {
            ClientCertificate::Spiffe { id, not_after } if now <= *not_after => Ok(Self::Certificate(id.clone())),
            _ => Err(Error::CallerUnauthenticated),
        }
    }

    pub(crate) fn credential(&self) -> Result<CallerCredential<'_>> {
        match self {
            Self::Certificate(spiffe_id) => Ok(CallerCredential::Certificate { spiffe_id }),
            Self::Key(header) => bearer(header).map(CallerCredential::Key).ok_or(Error::CallerUnauthenticated),
        }
    }
}

/// The last valid key of a connection. Nearly all calls repeat it and skip hashing it.
#[derive(Default)]
pub(crate) struct CredentialCache {
    last: Mutex<Option<CachedCredential>>,
    #[cfg(test)]
    look_ups: std::sync::atomic::AtomicU32,
}

struct CachedCredential {
    /// A copy: a slice of the receive buffer would keep all of it in memory.
    header: Zeroizing<Vec<u8>>,
    known: CachedCaller,
    /// One per connection, so that threads do not contend for its reference count.
    caller: Arc<Caller>,
}

impl CredentialCache {
    /// Number of cache misses.
    #[cfg(test)]
    pub(crate) fn looked_up(&self) -> u32 {
        self.look_ups.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The caller, if it is cached.
    pub(crate) fn authenticate(&self, app: &App, proof: &Proof, now: Time) -> Result<Option<Arc<Caller>>> {
        let Proof::Key(header) = proof else {
            let known = app.authenticate_cached(proof.credential()?, now);
            return Ok(known.map(|known| known.as_ref().clone()));
        };
        if let Some(last) = &*self.last.lock()
            && bool::from(last.header.ct_eq(header.as_bytes()))
            && app.is_current(&last.known, now)
        {
            return Ok(Some(last.caller.clone()));
        }
        #[cfg(test)]
        self.look_ups.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let Some(known) = app.authenticate_cached(proof.credential()?, now) else { return Ok(None) };
        let caller = Arc::new(Caller::clone(known.as_ref()));
        let header = header.as_bytes().to_vec().into();
        *self.last.lock() = Some(CachedCredential { header, known, caller: caller.clone() });
        Ok(Some(caller))
    }
}

/// The token of `Bearer TOKEN`; the scheme is case-insensitive (RFC 9110).
fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Denies by default: only the grant in the method's row allows the call.
pub(crate) fn authorize(caller: &Caller, method: &Method) -> Result<()> {
    if caller.grants(method.grant) {
        return Ok(());
    }
    Err(Error::CallerForbidden { what: format!("call {}: it lacks the grant {}", method.name(), method.grant).into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_a_key() {
        for (header, key) in [
            ("Bearer lyk1_x", Some("lyk1_x")),
            ("bearer lyk1_x", Some("lyk1_x")),
            ("Basic lyk1_x", None),
            ("lyk1_x", None),
            ("", None),
        ] {
            assert_eq!(bearer(&HeaderValue::from_static(header)), key, "{header}");
        }
        assert_eq!(bearer(&HeaderValue::from_bytes(b"Bearer \xff").expect("opaque bytes")), None);
    }

    #[test]
    fn a_key_goes_before_a_certificate_and_leaves_the_headers() {
        let not_after = Time::from_micros(5);
        let certificate = ClientCertificate::Spiffe { id: "spiffe://mesh/a".into(), not_after };
        let peer = Peer::new([127, 0, 0, 1].into(), certificate);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer k"));
        let proof = Proof::take(&mut headers, &peer, not_after).expect("a proof");
        assert!(matches!(proof.credential(), Ok(CallerCredential::Key("k"))) && headers.is_empty());
        let proof = Proof::take(&mut headers, &peer, not_after).expect("a proof");
        assert!(matches!(proof.credential(), Ok(CallerCredential::Certificate { spiffe_id: "spiffe://mesh/a" })));
    }

    #[test]
    fn an_expired_certificate_proves_nothing() {
        let not_after = Time::from_micros(5);
        let certificate = ClientCertificate::Spiffe { id: "spiffe://mesh/a".into(), not_after };
        let peer = Peer::new([127, 0, 0, 1].into(), certificate);
        let proof = |now| Proof::take(&mut HeaderMap::new(), &peer, Time::from_micros(now));
        assert!(proof(5).is_ok());
        assert!(matches!(proof(6), Err(Error::CallerUnauthenticated)));
    }
}
