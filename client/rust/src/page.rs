//! Lists, page by page.

use futures::stream::{self, Stream, TryStreamExt as _};

use crate::client::Subject;
use crate::error::Error;
use crate::rpc::PagedRequest;

/// The pages of a list. Nothing is asked before [`Pages::next_page`].
#[derive(Clone, Debug)]
#[must_use = "pages are asked for one by one"]
pub struct Pages<R> {
    subject: Subject,
    request: R,
    is_done: bool,
}

impl<R: PagedRequest> Pages<R> {
    pub(crate) fn new(subject: Subject, request: R) -> Self {
        Self { subject, request, is_done: false }
    }

    /// The next page; `None` after the last. After an error it may be asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<R::Item>>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let (items, token) = R::split(self.subject.call(self.request.clone()).await?);
        self.is_done = token.is_empty();
        *self.request.page_token_mut() = token;
        Ok(Some(items))
    }

    /// The `page_token` of the page that [`Self::next_page`] gives next; empty before the first and after the last.
    pub fn next_page_token(&mut self) -> &str {
        self.request.page_token_mut()
    }

    /// All items, asking for a page whenever the one before is used up.
    pub fn into_stream(self) -> impl Stream<Item = Result<R::Item, Error>> + Send {
        let pages = stream::try_unfold(self, async |mut pages| {
            let page = pages.next_page().await?;
            Ok(page.map(|items| (stream::iter(items.into_iter().map(Ok)), pages)))
        });
        pages.try_flatten()
    }
}
