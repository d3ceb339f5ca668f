//! Linked accounts: which external credentials belong to which user.

use futures::TryStreamExt as _;

use crate::client::{Client, Subject};
use crate::error::Error;
use crate::page::Pages;
use crate::v1::create_linked_auth_request::Proof;
use crate::v1::definition_ref::Definition;
use crate::v1::{
    CreateLinkedAuthRequest, DefinitionRef, DeleteLinkedAuthRequest, LinkedAuth, LinkedUser, ListLinkedAuthRequest,
    LookupLinkedAuthRequest, UpdateLinkedAuthRequest,
};

/// A link after a change that may end sessions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinkChange {
    /// The link.
    pub link: LinkedAuth,
    /// How many live sessions ended.
    pub revoked_count: u64,
}

impl Subject {
    /// The accounts that are linked to a user, oldest first, all of them (Zato SSO's `get_linked_auth_list`). `None`: the
    /// own ones. Another's need a super-user.
    pub async fn get_linked_auth_list(&self, user_id: Option<&str>) -> Result<Vec<LinkedAuth>, Error> {
        let user_id = user_id.unwrap_or_default().to_owned();
        let request = ListLinkedAuthRequest { user_id, page_size: i32::MAX, ..ListLinkedAuthRequest::default() };
        self.list_linked_auth(request).into_stream().try_collect().await
    }

    /// The same, page by page.
    pub fn list_linked_auth(&self, request: ListLinkedAuthRequest) -> Pages<ListLinkedAuthRequest> {
        Pages::new(self.clone(), request)
    }

    /// Links a definition to a user. Super-users only.
    pub async fn create_linked_auth(&self, user_id: &str, definition: Definition) -> Result<LinkedAuth, Error> {
        let definition = Some(DefinitionRef { definition: Some(definition) });
        let user_id = user_id.to_owned();
        let request = CreateLinkedAuthRequest { user_id, definition, ..CreateLinkedAuthRequest::default() };
        self.call_for(request, "link", |answer| answer.link).await
    }

    /// Links to the acting user the definition of which `proof` is a good credential. They must have logged in with a
    /// password in the last five minutes, and the policy of the app must allow it.
    pub async fn create_own_linked_auth(&self, proof: Proof) -> Result<LinkedAuth, Error> {
        let request = CreateLinkedAuthRequest { proof: Some(proof), ..CreateLinkedAuthRequest::default() };
        self.call_for(request, "link", |answer| answer.link).await
    }

    /// Turns a link on or off; the sessions that began with one that is turned off end. Super-users only.
    pub async fn update_linked_auth(&self, link_id: &str, is_active: bool) -> Result<LinkChange, Error> {
        let link_id = link_id.to_owned();
        let request = UpdateLinkedAuthRequest { link_id, is_active, ..UpdateLinkedAuthRequest::default() };
        self.call_for(request, "link", |answer| {
            Some(LinkChange { link: answer.link?, revoked_count: answer.revoked_count })
        })
        .await
    }

    /// Removes a link, and returns how many live sessions ended: those that began with it. Super-users only.
    pub async fn delete_linked_auth(&self, link_id: &str) -> Result<u64, Error> {
        let request = DeleteLinkedAuthRequest { link_id: link_id.to_owned(), ..DeleteLinkedAuthRequest::default() };
        Ok(self.call(request).await?.revoked_count)
    }
}

impl Client {
    /// Whom up to 500 definitions are linked to: one answer each, in the same order. `None`: there is no such definition, or
    /// it is linked to nobody.
    pub async fn lookup_linked_auth(
        &self,
        definitions: impl IntoIterator<Item = Definition>,
    ) -> Result<Vec<Option<LinkedUser>>, Error> {
        let definitions = definitions.into_iter().map(|definition| DefinitionRef { definition: Some(definition) });
        let request =
            LookupLinkedAuthRequest { definitions: definitions.collect(), ..LookupLinkedAuthRequest::default() };
        let asked = request.definitions.len();
        // An answer that is one place off is of somebody else.
        self.call_for(request, "answer for each definition", |answer| {
            let users = answer.users.into_iter().map(|user| Some(user).filter(|user| !user.user_id.is_empty()));
            (users.len() == asked).then(|| users.collect())
        })
        .await
    }
}
