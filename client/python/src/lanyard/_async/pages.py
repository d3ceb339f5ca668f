"""Lists that come in pages."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Pages(Generic[Item]):
    """A list that is asked for page by page, as it is iterated over.

    After an error it may be iterated over again: it goes on with the page that failed.
    """

    def __init__(self, ask: Callable[[Any], Any], request: Any, field: str) -> None:
        self._ask = ask
        self._request = request
        self._field = field
        self._is_done = False

    async def next_page(self) -> Sequence[Item] | None:
        """The next page; `None` after the last."""
        if self._is_done:
            return None
        answer = await self._ask(self._request)
        self._request.page_token = answer.next_page_token
        self._is_done = not answer.next_page_token
        items: Sequence[Item] = getattr(answer, self._field)
        return items

    @property
    def next_page_token(self) -> str:
        """The `page_token` of the page that `next_page` gives next; empty before the first and after the last."""
        token: str = self._request.page_token
        return token

    async def __aiter__(self) -> AsyncIterator[Item]:
        while (page := await self.next_page()) is not None:
            for item in page:
                yield item
