//! Keeps the current token of a session, sealed, so that a repeated login with the same external credential returns it.

use zeroize::Zeroizing;

use crate::crypto::{Keyring, Token, TokenKind};
use crate::error::{Error, Result};
use crate::store::{SessionCredentialRow, SessionRow, Tx};

fn token_seal_context(hash: &[u8]) -> [&[u8]; 3] {
    [b"session_credential", hash, b"token"]
}

/// Seals the token of a session for the credential with this hash.
pub(in crate::app) fn seal_token(keyring: &Keyring, hash: &[u8], token: &Token) -> Vec<u8> {
    keyring.seal(&token_seal_context(hash), token.expose().as_bytes())
}

/// Opens a token sealed by [`seal_token`].
pub(in crate::app) fn open_token(keyring: &Keyring, row: &SessionCredentialRow) -> Result<Token> {
    let text = keyring.open(&token_seal_context(&row.credential_hash), &row.token).map(Zeroizing::new);
    let text = text.map_err(Error::internal)?;
    let token = std::str::from_utf8(&text).ok().and_then(|text| Token::from_text(TokenKind::Ust, text));
    token.ok_or_else(|| Error::internal("a sealed token is no token"))
}

/// Updates the sealed token after a rotation, so that the credential yields `new`.
pub(in crate::app) async fn update_sealed_token(tx: &Tx, session: &SessionRow, new: &Token) -> Result<()> {
    if session.auth_id.is_none() {
        return Ok(());
    }
    let Some(row) = tx.credential_of_session(session.session_id).await? else { return Ok(()) };
    let sealed = seal_token(tx.keyring(), &row.credential_hash, new);
    tx.set_credential_token(&row, sealed).await
}
