//! External credentials: is one good, and of which definition is it?

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::App;
use super::password::Password;
use crate::error::Result;
use crate::store::DefinitionRow;

/// What somebody logs in with who has no password here.
pub enum ExternalCredential {
    BasicAuth { username: String, secret: Password },
    Jwt { token: Zeroizing<String> },
}

/// A credential that is good.
pub(super) struct ProvedExternal {
    /// As it was read; it may have changed since: what follows looks again in its transaction.
    pub definition: DefinitionRow,
    /// The SHA-256 of the token as it was sent, by which its session is found again; `None` with basic auth, where the
    /// definition alone is the credential.
    pub token_hash: Option<[u8; 32]>,
}

impl App {
    /// The active definition of which the credential is a good one; or why not, for the audit trail. Failures are counted
    /// against the definition and the address; an unknown definition costs what a wrong secret costs.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(super) async fn check_external(
        &self,
        _credential: &ExternalCredential,
        _remote_addr: IpAddr,
    ) -> Result<std::result::Result<ProvedExternal, &'static str>> {
        Ok(Err("soon"))
    }
}
