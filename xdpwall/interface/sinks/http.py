# SPDX-License-Identifier: Apache-2.0
"""As much of HTTP/1.1 as a scrape needs, inside the controller's event loop: no thread reads what a tick writes.

Bounded in every direction: connections, length of a request, time to send one and to take the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

MAX_REQUEST = 8_192
MAX_CLIENTS = 16
SECONDS = 5.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}

Page = Callable[[], tuple[str, bytes]]
"""Gives the content type and the body."""


class PageServer:
    """Serves a few pages to GET and HEAD, one request a connection.

    Args:
        pages: by path.
    """

    def __init__(self, pages: dict[str, Page]) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self, address: str, port: int) -> int:
        """Begin to listen. Gives the port, which is chosen by the kernel for 0.

        Raises:
            OSError: the address is taken, or not this host's.
        """
        self._server = await asyncio.start_server(self._accept, address, port, limit=MAX_REQUEST, backlog=16)
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            async with asyncio.timeout(SECONDS):
                writer.write(await self._answer(reader))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            log.debug("a client of the metrics was hung up on")
        except asyncio.CancelledError:
            pass  # the server stops; nobody awaits this task but close()
        finally:
            self._clients.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        if len(self._clients) > MAX_CLIENTS:
            return _message(503, "text/plain", b"too many clients\n")
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _message(400, "text/plain", b"the request is too long\n")
        words = head.split(b"\r\n", 1)[0].split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _message(400, "text/plain", b"not HTTP/1\n")
        method, path = words[0], words[1].split(b"?", 1)[0].decode("ascii", "replace")
        if method not in {b"GET", b"HEAD"}:
            return _message(405, "text/plain", b"GET or HEAD\n")
        page = self._pages.get(path)
        if page is None:
            known = "".join(f"{name}\n" for name in sorted(self._pages)).encode()
            return _message(404, "text/plain", b"there are:\n" + known)
        kind, body = page()
        return _message(200, kind, body, body_too=method == b"GET")


def _message(status: int, kind: str, body: bytes, *, body_too: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    return head.encode() + (body if body_too else b"")
