//! Definitions and links put into the database of a server beside its services, and sessions as if they had begun with them.

use lanyard_client::v1::LinkedAuth;
use lanyard_client::v1::definition_ref::Definition;
use lanyard_client::{Subject, Ust};
use lanyard_server::clock::{Micros, Time};
use lanyard_server::crypto::{Token, TokenKind};
use lanyard_server::model::definition::MaterialSource;
use lanyard_server::model::session::AuthType;
use lanyard_server::store::{DefinitionRow, NewSession, SessionRow};

use super::server::{Person, TestServer};
use super::store::session_row;

/// A definition with a username, of which nobody knows a credential.
pub fn definition_row(auth_type: AuthType, username: &str, issuer: &str, now: Time) -> DefinitionRow {
    DefinitionRow {
        auth_id: 0,
        auth_type,
        name: format!("{username}@{issuer}"),
        username: username.to_owned(),
        issuer: issuer.to_owned(),
        audience: String::new(),
        algorithms: String::new(),
        clock_skew_micros: Micros::default(),
        source: MaterialSource::Hash,
        material: Vec::new(),
        previous_source: None,
        previous_material: None,
        previous_until: None,
        is_active: true,
        is_internal: false,
        created_at: now,
        updated_at: now,
        version: 1,
    }
}

/// Links a definition to a user.
///
/// # Panics
/// If that is refused.
pub async fn link(root: &Subject, person: &Person, auth_id: i64) -> LinkedAuth {
    root.create_linked_auth(&person.user_id, Definition::AuthId(auth_id)).await.expect("it can be linked")
}

impl TestServer {
    /// Adds a basic-auth definition of which nobody knows the secret, and returns its number.
    pub async fn add_definition(&self, username: &str) -> i64 {
        self.add_definition_row(definition_row(AuthType::BasicAuth, username, "", self.clock.now())).await
    }

    /// Adds a definition and returns its number.
    ///
    /// # Panics
    /// If it cannot be added.
    pub async fn add_definition_row(&self, row: DefinitionRow) -> i64 {
        let work = |app: lanyard_server::app::App| async move {
            app.store()
                .write(move |tx| {
                    let row = row.clone();
                    Box::pin(async move { tx.insert_definition(row).await })
                })
                .await
        };
        self.within(work).await.expect("it can be added")
    }

    /// Changes a definition as an operator might.
    ///
    /// # Panics
    /// If there is none, or it cannot be changed.
    pub async fn change_definition(
        &self,
        auth_id: i64,
        change: impl Fn(&mut DefinitionRow) + Send + Sync + Copy + 'static,
    ) {
        let work = move |app: lanyard_server::app::App| async move {
            app.store()
                .write(move |tx| {
                    Box::pin(async move {
                        let mut row = tx.lock_definition(auth_id).await?.expect("it is there");
                        change(&mut row);
                        row.version += 1;
                        tx.update_definition(row).await
                    })
                })
                .await
        };
        self.within(work).await.expect("it can be changed");
    }

    /// A session of a user that began with a definition.
    ///
    /// # Panics
    /// If it cannot begin.
    pub async fn session_through(&self, person: &Person, auth_id: i64) -> Ust {
        self.add_session(person, move |row| (row.auth_type, row.auth_id) = (AuthType::BasicAuth, Some(auth_id))).await
    }

    /// A session of a user that begins now, or as `change` says.
    ///
    /// # Panics
    /// If it cannot begin.
    pub async fn add_session(&self, person: &Person, change: impl FnOnce(&mut SessionRow) + Send + 'static) -> Ust {
        let user: lanyard_server::model::id::UserId = person.user_id.parse().expect("an ID");
        let (token, now) = (Token::generate(TokenKind::Ust), self.clock.now());
        let ust = Ust::new(token.expose());
        let work = move |app: lanyard_server::app::App| async move {
            let store = app.store();
            let user = store.user(user).await?.expect("the user is there");
            let mut row = session_row(&user, now);
            change(&mut row);
            let (hash, key_id) = store.keyring().hash_token(token.as_ref());
            store
                .write(move |tx| {
                    let new = NewSession { row: row.clone(), token: hash, key_id };
                    Box::pin(async move { tx.insert_session(new).await })
                })
                .await
        };
        self.within(work).await.expect("a session begins");
        ust
    }
}
