//! Sessions on platforms: of many, only the few that have not ended have a credential.

use std::time::Duration;

use super::{Access, Fixture, START};
use crate::model::session::RevokeReason::PlatformRemoved;
use crate::store::{PlatformCredentialRow, SessionFilter, SessionPlatformRow, SessionRow, Store};

/// Sessions that have not ended.
const LIVE: usize = 10;

pub(super) async fn fill(store: &Store, sessions: &[SessionRow]) {
    for (number, sessions) in sessions.chunks(1000).enumerate() {
        let rows: Vec<SessionPlatformRow> = sessions.iter().map(platform).collect();
        let filled = store.write(move |tx| {
            let rows = rows.clone();
            Box::pin(async move {
                for (place, row) in rows.into_iter().enumerate() {
                    let is_live = number == 0 && place < LIVE;
                    let name = if is_live { "micetro" } else { "of-old" };
                    let row = SessionPlatformRow { platform: name.to_owned(), ..row };
                    let session = row.session_id;
                    tx.insert_platform(row.clone(), credential(&row)).await?;
                    if !is_live {
                        tx.delete_platform_credential(session).await?;
                    }
                }
                Ok(())
            })
        });
        filled.await.unwrap();
    }
}

pub(super) async fn all(fixture: &Fixture) {
    let (store, session) = (&fixture.store, &fixture.sessions[3]);
    let id = session.session_id;
    store.session_platform(id).await.unwrap().unwrap();
    fixture.explain("the platform of a session", Access::Search).await;
    let some = fixture.sessions[..20].iter().map(|session| session.session_id).collect();
    assert_eq!(store.session_platforms(some).await.unwrap().len(), 20);
    fixture.explain("the platforms of a page", Access::Search).await;
    store.platform_credential(id).await.unwrap().unwrap();
    fixture.explain("the credential of a session", Access::Search).await;
    assert_eq!(store.platform_credentials_before_key(2, 10).await.unwrap().len(), 10);
    fixture.explain("credentials under an older key", Access::Search).await;
    assert_eq!(store.platforms_in_use().await.unwrap().len(), 1);
    fixture.explain("the platforms of all sessions that have not ended", Access::Search).await;
    let of_platform = SessionFilter { platform: Some("micetro".to_owned()), ..SessionFilter::default() };
    assert_eq!(store.sessions(&of_platform, None, 51).await.unwrap().len(), LIVE);
    fixture.explain("a platform's sessions", Access::Search).await;
    let user = Some(session.user_id);
    assert!(!store.sessions(&SessionFilter { user, ..of_platform }, None, 51).await.unwrap().is_empty());
    fixture.explain("a user's sessions on a platform", Access::Search).await;

    let row = platform(session);
    let work = store.write(move |tx| {
        let row = row.clone();
        Box::pin(async move {
            let before = credential(&row);
            let after = PlatformCredentialRow { generation: 1, ..before.clone() };
            assert!(tx.replace_platform_credential(&before, after).await?);
            let now = tx.clock().now();
            assert_eq!(
                tx.revoke_sessions_of_platform("micetro", Some("nowhere"), None, PlatformRemoved, now).await?,
                0
            );
            tx.revoke_sessions_of_platform("micetro", None, Some(row.session_id), PlatformRemoved, now).await
        })
    });
    assert_eq!(work.await.unwrap(), LIVE as u64 - 1);
    fixture.explain("what changes sessions of platforms", Access::Search).await;
    // The credential of the session that was not revoked, once it has expired.
    let gone = store.purge_platform_credentials(START + Duration::from_hours(2_000), 10).await.unwrap();
    assert_eq!(gone, 1);
    fixture.explain("purging credentials", Access::Search).await;
}

fn platform(session: &SessionRow) -> SessionPlatformRow {
    SessionPlatformRow {
        session_id: session.session_id,
        platform: String::new(),
        url: "https://micetro.example.org".to_owned(),
        version: None,
        unique_name: String::new(),
        groups: "[]".to_owned(),
    }
}

fn credential(platform: &SessionPlatformRow) -> PlatformCredentialRow {
    PlatformCredentialRow { session_id: platform.session_id, key_id: 1, generation: 0, sealed: vec![1; 100] }
}
