"""Measures the client against the bare generated stub, side by side: see `bench`."""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from lanyard import Client, aio, v1
from lanyard.v1 import session_pb2_grpc
from tests.support import DEADLINE, Lanyard, real_server

ROUNDS = 60
CALLS = 200
GOAL = 1.15


def main() -> None:
    with real_server() as server:
        sync = by_threads(server)
        awaited = asyncio.run(by_asyncio(server))
    json.dump(
        {"bench": "client overhead, verify", "language": "python", "goal": GOAL, **sync, "asyncio": awaited}, sys.stdout
    )
    print()


def figures(bare: list[float], client: list[float]) -> dict[str, float]:
    """Of rounds that were run in turn: the median of their ratios is not moved by what else the machine did."""
    ratios = [ours / theirs for ours, theirs in zip(client, bare, strict=True)]
    return {
        "overhead": round(statistics.median(ratios), 3),
        "bare_us": round(statistics.median(bare) * 1e6, 1),
        "client_us": round(statistics.median(client) * 1e6, 1),
    }


def metadata(server: Lanyard) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {server.api_key}"), ("x-correlation-id", "bench"))


def by_threads(server: Lanyard) -> dict[str, float]:
    def timed(call: Callable[[], Any]) -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        return (time.perf_counter() - start) / CALLS

    with Client(server.address, api_key=server.api_key) as client, grpc.insecure_channel(server.address) as channel:
        ust = client.with_deadline(DEADLINE).log_in(*server.demo).ust.expose()
        stub = session_pb2_grpc.SessionServiceStub(channel)
        sent = metadata(server)

        def bare() -> Any:
            return stub.VerifySession(v1.VerifySessionRequest(ust=ust), timeout=2, metadata=sent)

        def ours() -> Any:
            return client.verify(ust)

        timed(bare), timed(ours)
        rounds = [(timed(bare), timed(ours)) for _ in range(ROUNDS)]
    return figures(*map(list, zip(*rounds, strict=True)))


async def by_asyncio(server: Lanyard) -> dict[str, float]:
    async def timed(call: Callable[[], Any]) -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            await call()
        return (time.perf_counter() - start) / CALLS

    async with aio.Client(server.address, api_key=server.api_key) as client:
        async with grpc.aio.insecure_channel(server.address) as channel:
            ust = (await client.with_deadline(DEADLINE).log_in(*server.demo)).ust.expose()
            stub = session_pb2_grpc.SessionServiceStub(channel)
            sent = metadata(server)

            async def bare() -> Any:
                return await stub.VerifySession(v1.VerifySessionRequest(ust=ust), timeout=2, metadata=sent)

            async def ours() -> Any:
                return await client.verify(ust)

            await timed(bare), await timed(ours)
            rounds = [(await timed(bare), await timed(ours)) for _ in range(ROUNDS)]
    return figures(*map(list, zip(*rounds, strict=True)))


if __name__ == "__main__":
    main()
