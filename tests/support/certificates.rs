//! Certificates for tests of TLS: an authority, and whom it vouches for.

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// A certificate authority of the test's own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// # Panics
    /// Never, with names as plain as ours; the same holds for all of this type.
    pub fn new() -> Self {
        let mut params = named("Lanyard test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, new_key()).expect("an authority signs itself");
        Self { issuer }
    }

    /// What the other side is told to trust, in PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A server that is reached as `localhost`, `127.0.0.1` and `::1`.
    pub fn server(&self) -> Identity {
        self.identity(&server_params())
    }

    /// A server whose certificate expires at this time, in seconds since 1970.
    pub fn server_until(&self, not_after: u64) -> Identity {
        let mut params = server_params();
        let after = std::time::Duration::from_secs(not_after);
        params.not_after = (std::time::UNIX_EPOCH + after).into();
        self.identity(&params)
    }

    /// A client with these URIs as its alternative names: one is a SPIFFE identity, two are one too many.
    pub fn client(&self, uris: &[&str]) -> Identity {
        let mut params = named("Lanyard test client");
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI(ascii(uri))).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.identity(&params)
    }

    fn identity(&self, params: &CertificateParams) -> Identity {
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn server_params() -> CertificateParams {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).expect("valid names");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn ascii(text: &str) -> Ia5String {
    text.try_into().expect("a URI is ASCII")
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("the system has randomness")
}
