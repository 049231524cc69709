# SPDX-License-Identifier: Apache-2.0
"""The control socket: JSON lines for root, and nobody who misuses it can hold up the tick.

Bounded in every direction: clients, length of a request and of all that come in at once, time to finish one, time to
take an answer. A client that sends rubbish gets an error; one that sends half a line or never reads is hung up on.
Those who only look have places and sizes of their own, and whoever is connected and silent gives way: an operator gets
in.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdpwall.control import peer, protocol
from xdpwall.errors import BusyError, InputError, PrivilegeError, XdpwallError

log = logging.getLogger(__name__)

MAX_CLIENTS = 32
"""Of root. Those who only look have half as many places beside these."""
MAX_READER_BYTES = 64 << 10
"""Of one request of somebody who only looks."""
MAX_COMING_BYTES = 4 * protocol.MAX_REQUEST_BYTES
"""Of all requests that are coming in at one time."""
YIELD_SECONDS = 1.0
"""Who has been silent for so long gives way when all places are taken."""
IDLE_SECONDS = 120.0
"""How long a client may say nothing, or take to finish a line."""
WRITE_SECONDS = 10.0
"""How long a client may take to read what is in its way."""
_SLICE = 1_000
_PIECE = 64 << 10
_BACKLOG = 1_024


@dataclass(frozen=True, slots=True)
class Listing:
    """A result with a list too long to build at once: written piece by piece, so that the tick gets its turns.

    Args:
        key: the list's name in the result object.
        items: its entries.
        head: the other fields.
    """

    key: str
    items: Iterator[Any]
    head: Mapping[str, Any] | None = None


@dataclass(slots=True)
class _Client:
    """Somebody connected. ``since``: silent since then, by the loop's clock; None while a request is carried out."""

    may_write: bool
    since: float | None


Handler = Callable[[str, dict[str, Any]], Awaitable[Mapping[str, Any] | Listing]]
"""Carries out one checked request. Raises XdpwallError for what the client should be told."""


class Server:
    """Listens on the control socket of an instance.

    Args:
        path: the socket. Its folder must be there, 0700, and ours alone (the caller holds the instance's lock).
        handler: what requests are given to.
        idle_seconds: see :data:`IDLE_SECONDS`. ``write_seconds``: see :data:`WRITE_SECONDS`. ``yield_seconds``: see
            :data:`YIELD_SECONDS`.
    """

    def __init__(
        self,
        path: Path,
        handler: Handler,
        *,
        idle_seconds: float = IDLE_SECONDS,
        write_seconds: float = WRITE_SECONDS,
        yield_seconds: float = YIELD_SECONDS,
    ) -> None:
        self._path = path
        self._handler = handler
        self._idle = idle_seconds
        self._patience = write_seconds
        self._server: asyncio.Server | None = None
        self._yield = yield_seconds
        self._clients: dict[asyncio.Task[None], _Client] = {}
        self._coming = 0
        self.readers = False
        """Whether others than root may ask what changes nothing. Who they are, the socket's permissions say."""

    async def start(self) -> None:
        """Begin to listen. A socket left behind by a killed controller is replaced."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._path.unlink(missing_ok=True)  # we hold the lock: whoever made it is gone
            before = os.umask(0o177)
            try:
                listener.bind(str(self._path))
            finally:
                os.umask(before)
            listener.setblocking(False)
            self._server = await asyncio.start_unix_server(
                self._accept, sock=listener, limit=_PIECE, backlog=_BACKLOG
            )
        except BaseException:
            listener.close()
            raise

    async def stop(self) -> None:
        """Stop listening, hang up on everybody, remove the socket."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()  # last: from Python 3.12 on it waits until every client is gone

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._clients)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        client = self._clients[task] = _Client(_uid(writer) in (0, os.geteuid()), _now())
        peer.set_may_write(client.may_write)
        try:
            refusal = self._refusal(task, client)
            if refusal is not None:
                await self._send(writer, protocol.encode_error(refusal))
                return
            while await self._serve_one(client, reader, writer):
                client.since = _now()
        except (TimeoutError, ConnectionError):
            log.debug("a client of the control socket was hung up on")
        except asyncio.CancelledError:
            pass  # the server stops, or this one gives way; nobody awaits this task but stop()
        finally:
            self._clients.pop(task, None)
            transport = writer.transport
            if transport.get_write_buffer_size():
                transport.abort()  # it does not read: what it did not take is thrown away
            else:
                writer.close()

    def _refusal(self, task: asyncio.Task[None], client: _Client) -> XdpwallError | None:
        if not client.may_write and not self.readers:
            return PrivilegeError("only root may talk to the controller", hint="run it with sudo")
        # Those who only look never take a place from root.
        places = MAX_CLIENTS if client.may_write else MAX_CLIENTS // 2
        like = {
            other: c
            for other, c in self._clients.items()
            if other is not task and c.may_write == client.may_write and not other.cancelling()
        }
        if len(like) < places:
            return None
        silent = {t: c.since for t, c in like.items() if c.since is not None}
        longest = min(silent, key=lambda t: silent[t], default=None)
        if longest is not None and _now() - silent[longest] >= self._yield:
            longest.cancel()
            return None
        return BusyError(
            f"the controller already talks to {places} clients", hint="close some, then try again"
        )

    async def _line(self, client: _Client, reader: asyncio.StreamReader) -> bytes:
        """The next request, taken in by pieces: what does not end is not kept.

        Raises:
            InputError: it is too long, or too many long ones come at once.
            asyncio.IncompleteReadError: the client hung up.
        """
        most = protocol.MAX_REQUEST_BYTES if client.may_write else MAX_READER_BYTES
        pieces: list[bytes] = []
        size = 0
        try:
            while True:
                try:
                    last = await reader.readuntil(b"\n")
                except asyncio.LimitOverrunError as error:
                    piece = await reader.readexactly(error.consumed)
                else:
                    if size + len(last) > most:
                        raise InputError(f"a request may have {most} bytes at most")
                    return b"".join([*pieces, last]) if pieces else last
                pieces.append(piece)
                size += len(piece)
                self._coming += len(piece)
                if size > most:
                    raise InputError(f"a request may have {most} bytes at most")
                if self._coming > MAX_COMING_BYTES:
                    raise InputError("too many long requests come in at once", hint="try again in a moment")
        finally:
            self._coming -= size

    async def _serve_one(
        self, client: _Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Read, carry out and answer one request. Gives whether there may be another."""
        try:
            async with asyncio.timeout(self._idle):
                line = await self._line(client, reader)
        except asyncio.IncompleteReadError:
            return False  # it hung up, maybe in mid line
        except InputError as error:
            await self._send(writer, protocol.encode_error(error))
            return False
        client.since = None
        try:
            op, args = protocol.decode_request(line)
            del line
            if op not in peer.READING and not peer.may_write():
                raise PrivilegeError(
                    f"only root may change anything, and {op!r} would", hint="run it with sudo"
                )
            result = await self._handler(op, args)
        except XdpwallError as error:
            await self._send(writer, protocol.encode_error(error))
            return True
        except Exception:
            log.exception("a request on the control socket failed")
            bug = XdpwallError("the controller met a bug", hint="its log has the traceback; please report it")
            await self._send(writer, protocol.encode_error(bug))
            return True
        if isinstance(result, Listing):
            await self._send_listing(writer, result)
        else:
            await self._send(writer, protocol.encode_result(result))
        return True

    async def _send_listing(self, writer: asyncio.StreamWriter, listing: Listing) -> None:
        head = json.dumps(dict(listing.head or {}), separators=(",", ":"))[1:-1]
        start = (
            f'{{"schema":{protocol.SCHEMA},"ok":true,"result":{{{head}{"," if head else ""}"{listing.key}":['
        )
        await self._send(writer, start.encode())
        separator = b""
        while True:
            piece = list(itertools.islice(listing.items, _SLICE))
            if not piece:
                break
            text = json.dumps(piece, separators=(",", ":"))[1:-1].encode()
            await self._send(writer, separator + text)
            separator = b","
            await asyncio.sleep(0)
        await self._send(writer, b"]}}\n")

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        async with asyncio.timeout(self._patience):
            await writer.drain()


def _uid(writer: asyncio.StreamWriter) -> int:
    """Who is at the other end, by the kernel's word."""
    sock = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def _now() -> float:
    return asyncio.get_running_loop().time()
