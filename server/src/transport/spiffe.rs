//! The SPIFFE ID of a client certificate.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::clock::Time;
use crate::pipeline::peer::ClientCertificate;

/// Reads the identity of a certificate whose chain TLS has verified.
pub(super) fn client_certificate(der: &[u8]) -> ClientCertificate {
    let Ok((_, certificate)) = parse_x509_certificate(der) else { return ClientCertificate::Unusable };
    let Some(id) = spiffe_id(&certificate) else { return ClientCertificate::Unusable };
    let not_after = Time::from_unix(certificate.validity().not_after.timestamp(), 0).unwrap_or(Time::MAX);
    ClientCertificate::Spiffe { id: id.into(), not_after }
}

/// The SPIFFE ID: an X.509-SVID has exactly one URI, and with several nobody could say which of them is meant.
fn spiffe_id(certificate: &X509Certificate<'_>) -> Option<String> {
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
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn a_certificate_with_exactly_one_spiffe_uri_names_a_caller() {
        let id = "spiffe://example.org/billing";
        let not_after = Time::parse("2040-01-01T00:00:00Z").expect("a time");
        assert_eq!(client_certificate(&certificate(&[id])), ClientCertificate::Spiffe { id: id.into(), not_after });
        for uris in [&[] as &[&str], &[id, "spiffe://example.org/other"], &[id, "https://x"], &["https://x"]] {
            assert_eq!(client_certificate(&certificate(uris)), ClientCertificate::Unusable, "{uris:?}");
        }
        assert_eq!(client_certificate(b"no certificate"), ClientCertificate::Unusable);
    }
}
