# SPDX-License-Identifier: Apache-2.0
"""Legitimate users, run as a process in the clients' namespace: real requests at fixed rates, every one checked.

    python -m xdpwall.lab.visitor JOB.json

| kind | what is tried |
|---|---|
| http | a page over a new connection, from one of a few addresses that come again and again |
| newcomer | the same from an address that was never seen before |
| stream | a page over a connection that stays open and busy |
| idle | a page over a connection that was silent for many seconds |
| ping | an echo request |

A page counts when all of it came, unchanged, in time. The process is also the DNS server that the protected host asks.
See ``xdpwall/lab/beat.py`` for what it prints and when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from xdpwall.lab import resolver
from xdpwall.lab.beat import Habit, Try, live
from xdpwall.lab.echo import Pinger
from xdpwall.lab.server import BODY

STREAMED, PINGS = 20.0, 10.0
"""A second."""
IDLE, IDLE_SECONDS = 8, 8.0
"""So many silent connections, each of which asks for a page after so many seconds."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the process is told.

    Args:
        servers: addresses of the protected host, IPv4 and IPv6.
        port: of its web server.
        rate: new connections per second; half of them come from newcomers.
        timeout: seconds.
        regulars: addresses of the users that come again; IPv4, then IPv6.
        crowds: prefixes that newcomers come from, likewise; a /32 or a /64 for each.
        resolvers: addresses that the DNS server has.
    """

    servers: list[str]
    port: int
    rate: float
    timeout: float
    regulars: list[list[str]]
    crowds: list[str]
    resolvers: list[str]


class Kept:
    """One connection for many requests, one at a time; opened again when it breaks."""

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self) -> None:
        """One request; opens the connection when there is none."""
        async with self._turn:
            try:
                if self._streams is None:
                    await self.open()
                assert self._streams is not None
                await _get(*self._streams, self._address, keep=True)
            except BaseException:
                self.drop()
                raise

    async def open(self) -> None:
        """Connect."""
        self._streams = await asyncio.open_connection(self._address, self._port)

    def drop(self) -> None:
        """Give the connection up."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def visit(job: Job) -> None:
    """Follow every habit until standard input ends."""
    await resolver.serve(job.resolvers)
    pingers = [Pinger(address) for address in job.servers]
    streams = [Kept(address, job.port) for address in job.servers]
    silent = [Kept(job.servers[number % 2], job.port) for number in range(IDLE)]
    for kept in (*streams, *silent):
        # One that does not come up now is tried again, and told, when its turn comes.
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(kept.open(), job.timeout)

    async def stream(number: int) -> None:
        await streams[number % 2].get()

    async def idle(number: int) -> None:
        await silent[number % IDLE].get()

    async def ping(number: int) -> None:
        await pingers[number % 2].ping(number)

    await live(
        [
            Habit("http", job.rate / 2, _regular(job), job.timeout),
            Habit("newcomer", job.rate / 2, _newcomer(job), job.timeout),
            Habit("stream", STREAMED, stream, job.timeout),
            Habit("idle", IDLE / IDLE_SECONDS, idle, job.timeout),
            Habit("ping", PINGS, ping, job.timeout),
        ]
    )
    for kept in (*streams, *silent):
        kept.drop()


def _regular(job: Job) -> Try:
    async def attempt(number: int) -> float:
        family = _family(number)
        addresses = job.regulars[family]
        return await _fresh(job.servers[family], job.port, addresses[number % len(addresses)])

    return attempt


def _newcomer(job: Job) -> Try:
    crowds = [ipaddress.ip_network(text) for text in job.crowds]

    async def attempt(number: int) -> float:
        family = _family(number)
        network = crowds[family]
        # Steps of a prime, so that neighbours in time are none in the address space; each a /32, or a /64 of its own.
        place = number * 7_919 % 100_000 + 1
        address = network.network_address + (place if family == 0 else (place << 64) + 1)
        return await _fresh(job.servers[family], job.port, str(address))

    return attempt


def _family(number: int) -> int:
    """Every third one IPv6."""
    return 1 if number % 3 == 0 else 0


async def _fresh(server: str, port: int, own: str) -> float:
    """A page over a connection of its own; gives how long the connect took, ms."""
    start = time.monotonic_ns()
    reader, writer = await asyncio.open_connection(server, port, local_addr=(own, 0))
    took = (time.monotonic_ns() - start) / 1e6
    try:
        await _get(reader, writer, server, keep=False)
    finally:
        writer.close()
    return took


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, *, keep: bool) -> None:
    named = f"[{host}]" if ":" in host else host
    connection = "keep-alive" if keep else "close"
    writer.write(f"GET / HTTP/1.1\r\nHost: {named}\r\nConnection: {connection}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"not 200: {head[:40]!r}")
    body = await reader.readexactly(len(BODY))
    if body != BODY:
        raise ValueError("the page is not the one that the server has")


def main() -> None:
    """Read the job and go."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    asyncio.run(visit(job))


if __name__ == "__main__":
    main()
