# SPDX-License-Identifier: Apache-2.0
"""A legitimate user, run as a process in the client's namespace: real HTTP requests at a fixed rate, every one checked.

    python -m xdpwall.lab.visitor ADDRESS PORT REQUESTS_PER_SECOND TIMEOUT_SECONDS

Every other request opens a connection of its own; the others share one that is kept alive, and opened again when it
breaks. Each request that is over is one line on standard output:

    {"start_ns": CLOCK_MONOTONIC, "ms": 1.23, "ok": true, "new": true, "error": ""}

A request succeeds when the whole page came, unchanged, in time. Requests start on schedule even while others hang.
Ends when standard input does, after the requests under way are over.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from xdpwall.lab.server import BODY


class Kept:
    """One connection for many requests, one at a time."""

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
                    self._streams = await asyncio.open_connection(self._address, self._port)
                await _get(*self._streams, self._address, keep=True)
            except BaseException:
                self.drop()
                raise

    def drop(self) -> None:
        """Give the connection up."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def visit(address: str, port: int, rate: float, timeout: float) -> None:
    """Request until standard input ends."""
    kept = Kept(address, port)
    stop = asyncio.Event()
    # Nothing is ever written to it: it becomes readable when it ends.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    under_way: set[asyncio.Task[None]] = set()
    began = time.monotonic()
    number = 0
    while not stop.is_set():
        task = asyncio.create_task(_one(kept, address, port, timeout, new=number % 2 == 0))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        number += 1
        wait = began + number / rate - time.monotonic()
        if wait > 0:
            try:
                await asyncio.wait_for(stop.wait(), wait)
            except TimeoutError:
                continue
    if under_way:
        await asyncio.wait(under_way, timeout=timeout + 1)
    kept.drop()


async def _one(kept: Kept, address: str, port: int, timeout: float, *, new: bool) -> None:
    start = time.monotonic_ns()
    error = ""
    try:
        async with asyncio.timeout(timeout):
            if new:
                await _fresh(address, port)
            else:
                await kept.get()
    except TimeoutError:
        error = f"no answer within {timeout:g} s"
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as failure:
        error = f"{type(failure).__name__}: {failure}"
    took = (time.monotonic_ns() - start) / 1e6
    line = {"start_ns": start, "ms": round(took, 3), "ok": not error, "new": new, "error": error}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def _fresh(address: str, port: int) -> None:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        await _get(reader, writer, address, keep=False)
    finally:
        writer.close()


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
    """Read the arguments and go."""
    address, port, rate, timeout = sys.argv[1:5]
    asyncio.run(visit(address, int(port), float(rate), float(timeout)))


if __name__ == "__main__":
    main()
