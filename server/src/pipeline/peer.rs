//! The other end of a connection: learnt once when it is made, used by each call on it.

use std::net::IpAddr;
use std::sync::Arc;

use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

pub(crate) struct Peer {
    pub(crate) ip: IpAddr,
    pub(crate) certificate: ClientCertificate,
}

/// What TLS has verified about the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    None,
    /// Its one SPIFFE ID.
    Spiffe(Arc<str>),
    /// It names nobody, or more than one.
    Unusable,
}

impl Peer {
    pub(crate) fn new(ip: IpAddr, certificate: ClientCertificate) -> Self {
        // An IPv4 client of a dual-stack socket is an IPv4 client.
        Self { ip: ip.to_canonical(), certificate }
    }
}

impl ClientCertificate {
    /// Reads the identity out of a certificate whose chain TLS has verified.
    pub(crate) fn read(der: &[u8]) -> Self {
        spiffe_id(der).map_or(Self::Unusable, |id| Self::Spiffe(id.into()))
    }
}

/// The SPIFFE ID: an X.509-SVID has exactly one URI, and with several nobody could say which of them is meant.
fn spiffe_id(der: &[u8]) -> Option<String> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (only, more) = (uris.next()?, uris.next());
    let is_spiffe = only.starts_with("spiffe://") && only.len() <= 2048;
    (is_spiffe && more.is_none()).then(|| only.to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["client.example".to_owned()]).expect("a name");
        let names = uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII")));
        params.subject_alt_names.extend(names);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn a_certificate_with_exactly_one_spiffe_uri_names_a_caller() {
        let id = "spiffe://example.org/billing";
        assert_eq!(ClientCertificate::read(&certificate(&[id])), ClientCertificate::Spiffe(id.into()));
        for uris in [&[] as &[&str], &[id, "spiffe://example.org/other"], &[id, "https://x"], &["https://x"]] {
            assert_eq!(ClientCertificate::read(&certificate(uris)), ClientCertificate::Unusable, "{uris:?}");
        }
        assert_eq!(ClientCertificate::read(b"no certificate"), ClientCertificate::Unusable);
    }

    #[test]
    fn an_ipv4_client_of_a_dual_stack_socket_has_an_ipv4_address() {
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("an address");
        assert_eq!(Peer::new(mapped, ClientCertificate::None).ip, IpAddr::from([192, 0, 2, 1]));
    }
}
