//! Passwords at rest: argon2id.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::random_bytes;
use crate::error::{Error, Result};

const OUTPUT_LEN: usize = 32;
const SALT_LEN: usize = 16;

/// Working memory of argon2. Reusing it saves the OS from zeroing new pages.
pub type HashMemory = Vec<Block>;

/// The cost of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordParams {
    pub memory_kib: u32,
    pub iterations: u32,
    pub parallelism: u32,
}

impl PasswordParams {
    /// Fails if argon2 rejects the parameters.
    pub fn check(self) -> Result<()> {
        self.argon2().map(drop).map_err(|problem| Error::internal(format!("argon2 parameters: {problem}")))
    }

    fn argon2(self) -> std::result::Result<Params, argon2::Error> {
        Params::new(self.memory_kib, self.iterations, self.parallelism, Some(OUTPUT_LEN))
    }
}

/// A hashed password, as a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([redacted])")
    }
}

impl PasswordHash {
    /// A random hash that no known password matches. Checking it takes as long as checking a real one.
    pub fn of_nothing(params: PasswordParams) -> Result<Self> {
        let params = params.argon2().map_err(Error::internal)?;
        phc_string(&params, &random_bytes(), &random_bytes())
    }
}

/// The result of a password check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordMatch {
    Wrong,
    Right,
    /// Right, but hashed at another cost: store this hash instead.
    RightRehashed(PasswordHash),
}

/// Hashes a new password; takes tens of milliseconds.
pub fn hash_password(password: &[u8], params: PasswordParams, memory: &mut HashMemory) -> Result<PasswordHash> {
    let salt: [u8; SALT_LEN] = random_bytes();
    let params = params.argon2().map_err(Error::internal)?;
    let output = derive(password, &salt, &params, memory)?;
    phc_string(&params, &salt, &output)
}

fn phc_string(params: &Params, salt: &[u8; SALT_LEN], output: &[u8; OUTPUT_LEN]) -> Result<PasswordHash> {
    let phc = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: phc::ParamsString::try_from(params).map_err(Error::internal)?,
        salt: Some(phc::Salt::new(salt).map_err(Error::internal)?),
        hash: Some(phc::Output::new(output).map_err(Error::internal)?),
    };
    Ok(PasswordHash(phc.to_string()))
}

/// Compares a password with a stored hash; takes as long as hashing one.
pub fn check_password(
    password: &[u8],
    stored: &PasswordHash,
    today: PasswordParams,
    memory: &mut HashMemory,
) -> Result<PasswordMatch> {
    let unreadable = |_| Error::internal("a stored password hash is unreadable");
    let phc = phc::PasswordHash::new(&stored.0).map_err(unreadable)?;
    let (Some(salt), Some(expected)) = (&phc.salt, &phc.hash) else {
        return Err(Error::internal("a stored password hash is incomplete"));
    };
    let params = Params::try_from(&phc).map_err(|_| Error::internal("a stored password hash has bad parameters"))?;
    let output = derive(password, salt.as_ref(), &params, memory)?;
    if !bool::from(output.as_slice().ct_eq(expected.as_bytes())) {
        return Ok(PasswordMatch::Wrong);
    }
    let cost =
        PasswordParams { memory_kib: params.m_cost(), iterations: params.t_cost(), parallelism: params.p_cost() };
    if cost == today {
        Ok(PasswordMatch::Right)
    } else {
        hash_password(password, today, memory).map(PasswordMatch::RightRehashed)
    }
}

fn derive(
    password: &[u8],
    salt: &[u8],
    params: &Params,
    memory: &mut HashMemory,
) -> Result<Zeroizing<[u8; OUTPUT_LEN]>> {
    memory.resize(memory.len().max(params.block_count()), Block::default());
    let mut output = Zeroizing::new([0; OUTPUT_LEN]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password, salt, &mut *output, memory)
        .map_err(Error::internal)?;
    Ok(output)
}
