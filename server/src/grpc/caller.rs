//! Who calls: a key or a client certificate, proved before anything else is done for them.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::method::Method;
use super::peer::{ClientCertificate, Peer};
use crate::app::caller::{Caller, CallerCredential};
use crate::error::{Error, Result};

/// Turns a proof into a caller. `app` does it; the tests of this room do it without a database.
pub trait Authenticate: Clone + Send + Sync + 'static {
    /// The caller, if it can be told without waiting: nearly always.
    fn authenticate_cached(&self, credential: CallerCredential<'_>) -> Option<Arc<Caller>>;

    /// The caller, or [`Error::CallerUnauthenticated`].
    fn authenticate(&self, credential: CallerCredential<'_>) -> impl Future<Output = Result<Arc<Caller>>> + Send;
}

impl Authenticate for crate::app::App {
    fn authenticate_cached(&self, credential: CallerCredential<'_>) -> Option<Arc<Caller>> {
        Self::authenticate_cached(self, credential)
    }

    fn authenticate(&self, credential: CallerCredential<'_>) -> impl Future<Output = Result<Arc<Caller>>> + Send {
        Self::authenticate(self, credential)
    }
}

/// What a call brought to prove its caller. A key that was sent decides, even if the connection has a certificate: it was
/// chosen for this call, the certificate may be that of a mesh.
pub(super) enum Proof {
    Key(HeaderValue),
    Certificate(Arc<str>),
}

impl Proof {
    /// Takes the key out of the headers: nothing behind this room can print it.
    pub(super) fn take(headers: &mut HeaderMap, peer: &Peer) -> Result<Self> {
        if let Some(mut key) = headers.remove(AUTHORIZATION) {
            key.set_sensitive(true);
            return Ok(Self::Key(key));
        }
        match &peer.certificate {
            ClientCertificate::Spiffe(id) => Ok(Self::Certificate(id.clone())),
            ClientCertificate::None | ClientCertificate::Unusable => Err(Error::CallerUnauthenticated),
        }
    }

    pub(super) fn credential(&self) -> Result<CallerCredential<'_>> {
        match self {
            Self::Certificate(spiffe_id) => Ok(CallerCredential::Certificate { spiffe_id }),
            Self::Key(header) => bearer(header).map(CallerCredential::Key).ok_or(Error::CallerUnauthenticated),
        }
    }
}

/// The token of `Bearer TOKEN`; the scheme has no case (RFC 9110).
fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Deny by default: only the grant in the method's row opens it.
pub(super) fn authorize(caller: &Caller, method: &Method) -> Result<()> {
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
        let peer = Peer::new([127, 0, 0, 1].into(), ClientCertificate::Spiffe("spiffe://mesh/a".into()));
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer k"));
        let proof = Proof::take(&mut headers, &peer).expect("a proof");
        assert!(matches!(proof.credential(), Ok(CallerCredential::Key("k"))) && headers.is_empty());
        let proof = Proof::take(&mut headers, &peer).expect("a proof");
        assert!(matches!(proof.credential(), Ok(CallerCredential::Certificate { spiffe_id: "spiffe://mesh/a" })));
    }
}
