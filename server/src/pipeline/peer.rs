//! The client of a connection: identified once, used by each call.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Time;

pub(crate) struct Peer {
    pub(crate) ip: IpAddr,
    pub(crate) certificate: ClientCertificate,
}

/// The client certificate, verified by TLS.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    None,
    /// Its one SPIFFE ID, and the end of its validity: TLS checked that at the handshake only.
    Spiffe {
        id: Arc<str>,
        not_after: Time,
    },
    /// Names no SPIFFE ID, or several URIs.
    Unusable,
}

impl Peer {
    pub(crate) fn new(ip: IpAddr, certificate: ClientCertificate) -> Self {
        // A dual-stack socket reports IPv4 clients as IPv4-mapped IPv6.
        Self { ip: ip.to_canonical(), certificate }
    }

    /// When the client certificate expires.
    pub(crate) fn certificate_expires(&self) -> Option<Time> {
        match self.certificate {
            ClientCertificate::Spiffe { not_after, .. } => Some(not_after),
            ClientCertificate::None | ClientCertificate::Unusable => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_client_of_a_dual_stack_socket_has_an_ipv4_address() {
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("an address");
        assert_eq!(Peer::new(mapped, ClientCertificate::None).ip, IpAddr::from([192, 0, 2, 1]));
    }
}
