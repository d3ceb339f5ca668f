//! TOTP (RFC 6238): SHA-1, six digits, 30 seconds, as all authenticator apps support. Each code works once.

use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

use crate::clock::Time;
use crate::crypto::random_bytes;
use crate::error::{Error, Result};

const STEP: u64 = 30;
const SECRET_LEN: usize = 20;

pub(in crate::app) fn new_secret() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(random_bytes::<SECRET_LEN>().to_vec())
}

/// The secret in base32 and as an `otpauth://` URI.
pub(in crate::app) fn encode(secret: &[u8], username: &str) -> Result<(Zeroizing<String>, Zeroizing<String>)> {
    let totp = totp(secret, username)?;
    Ok((
        Zeroizing::new(totp.secret().to_base32()),
        Zeroizing::new(totp.to_url().map_err(|_| Error::internal("no otpauth address"))?),
    ))
}

/// The time step of a valid code. Accepts the current and the previous step, for clocks that are behind, but only a
/// step after `last_step`: a code is never accepted twice (RFC 6238, 5.2).
pub(in crate::app) fn matching_step(secret: &[u8], code: &str, last_step: i64, now: Time) -> Result<Option<i64>> {
    let totp = totp(secret, "")?;
    let current = u64::try_from(now.to_unix().0).unwrap_or(0) / STEP;
    let mut found = None;
    for step in [current.saturating_sub(1), current] {
        let expected = totp.generate(step * STEP);
        let is_newer = i64::try_from(step).is_ok_and(|step| step > last_step);
        if bool::from(subtle::ConstantTimeEq::ct_eq(expected.to_string().as_bytes(), code.as_bytes())) && is_newer {
            found = i64::try_from(step).ok();
        }
    }
    Ok(found)
}

fn totp(secret: &[u8], username: &str) -> Result<Totp> {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_secret(secret.to_vec())
        // The URI label is `issuer:account`: a colon in the account would end the issuer.
        .with_account_name(username.replace(':', "_"))
        .with_issuer(Some("Lanyard".to_owned()))
        .build()
        .map_err(|_| Error::internal("unusable TOTP secret"))
}
