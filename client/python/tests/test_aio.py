"""The client for asyncio, where it is not one with the other."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from lanyard import Active, CallError, Inactive, RetryPolicy, UnavailableError, aio, correlation, v1
from tests.support import KEY, UST, Fake, Refusal


def run(fake: Fake, test: Callable[[aio.Client], Awaitable[None]]) -> None:
    async def with_client() -> None:
        async with aio.Client(fake.address, api_key=KEY, retry=RetryPolicy(4, 0.01, 0.01)) as client:
            await test(client)

    asyncio.run(with_client())


def test_a_verdict_is_awaited_and_is_neither_true_nor_false(fake: Fake) -> None:
    fake.then(v1.VerifySessionResponse(session=v1.VerifiedSession(username="alice")))

    async def test(client: aio.Client) -> None:
        verdict = await client.verify(UST)
        assert isinstance(verdict, Active)
        with pytest.raises(TypeError):
            bool(verdict)
        assert isinstance(await client.peek(UST), Inactive)

    run(fake, test)


def test_each_task_has_the_id_of_its_own_context(fake: Fake) -> None:
    async def test(client: aio.Client) -> None:
        async def as_part_of(correlation_id: str) -> None:
            with correlation(correlation_id):
                await asyncio.sleep(0)
                await client.verify(UST)

        await asyncio.gather(*(as_part_of(f"order-{number}") for number in range(20)))

    run(fake, test)
    assert set(fake.metadata("x-correlation-id")) == {f"order-{number}" for number in range(20)}
    assert set(fake.metadata("authorization")) == {f"Bearer {KEY}"}


def test_reads_are_tried_again_and_writes_not(fake: Fake) -> None:
    async def test(client: aio.Client) -> None:
        fake.then(*[Refusal(grpc.StatusCode.UNAVAILABLE)] * 3)
        await client.verify(UST)
        fake.then(Refusal(grpc.StatusCode.UNAVAILABLE))
        with pytest.raises(UnavailableError):
            await client.on_behalf_of(UST).log_out()

    run(fake, test)
    assert len(fake.asked) == 5


def test_pages_are_iterated_over(fake: Fake) -> None:
    pages = [
        v1.ListUsersResponse(users=[v1.User(username="a"), v1.User(username="b")], next_page_token="2"),
        v1.ListUsersResponse(users=[v1.User(username="c")]),
    ]

    async def test(client: aio.Client) -> None:
        fake.then(*pages)
        users = client.on_behalf_of(UST).list_users(v1.ListUsersRequest(search="x"))
        assert [user.username async for user in users] == ["a", "b", "c"]
        assert await users.next_page() is None

    run(fake, test)
    assert [asked.request.page_token for asked in fake.asked] == ["", "2"]
    assert {asked.request.search for asked in fake.asked} == {"x"}


def test_a_call_may_be_cancelled(fake: Fake) -> None:
    async def test(client: aio.Client) -> None:
        task = asyncio.ensure_future(client.with_deadline(30).verify(UST))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(CallError, match="the answer has no user"):
            await client.on_behalf_of(UST).current_user()

    run(fake, test)
