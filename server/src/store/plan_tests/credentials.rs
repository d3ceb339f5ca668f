//! Credentials and the sessions that they started.

use sea_orm::ConnectionTrait;

use super::{Access, Fixture};
use crate::store::{CredentialHash, SessionCredentialRow, SessionRow, Store};

/// Each session was started by a credential of the definition that is linked to its user.
pub(super) async fn fill(store: &Store, unrecorded: &impl ConnectionTrait, sessions: &[SessionRow]) {
    for sessions in sessions.chunks(1000) {
        let rows: Vec<_> = sessions.iter().map(row).collect();
        let filled = store.write(move |tx| {
            let rows = rows.clone();
            Box::pin(async move {
                for row in rows {
                    tx.map_credential(&[], row).await?;
                }
                Ok(())
            })
        });
        filled.await.unwrap();
    }
    let set_definition =
        "UPDATE session SET auth_id = (SELECT auth_id FROM linked_auth WHERE linked_auth.user_id = session.user_id)";
    unrecorded.execute_unprepared(set_definition).await.unwrap();
}

pub(super) async fn all(fixture: &Fixture) {
    let (store, session) = (&fixture.store, &fixture.sessions[3]);
    let found = store.sessions_of_credential(&[hash(session), [0; 32]]).await.unwrap();
    assert_eq!(fixture.recorded.lock().len(), 1, "one statement tells the session, its token and the link");
    assert_eq!(found.len(), 1);
    assert!(found[0].session.session_id == session.session_id && found[0].link.is_some());
    fixture.explain("the session of a credential", Access::Search).await;

    let row = row(session);
    let work = store.write(move |tx| {
        let row = row.clone();
        Box::pin(async move {
            let hashes = [row.credential_hash.clone().try_into().expect("32 bytes"), [0; 32]];
            assert_eq!(tx.lock_sessions_of_credential(&hashes).await?.len(), 1);
            let found = tx.credential_of_session(row.session_id).await?.expect("it is there");
            tx.set_credential_token(&found, vec![2]).await?;
            tx.map_credential(&hashes, row).await
        })
    });
    work.await.unwrap();
    fixture.explain("what changes credentials", Access::Search).await;
}

fn hash(session: &SessionRow) -> CredentialHash {
    let id = session.session_id.as_bytes();
    std::array::from_fn(|place| id[place % id.len()])
}

fn row(session: &SessionRow) -> SessionCredentialRow {
    SessionCredentialRow {
        credential_hash: hash(session).to_vec(),
        session_id: session.session_id,
        token: vec![1; 100],
    }
}
