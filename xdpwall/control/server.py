# SPDX-License-Identifier: Apache-2.0
"""The control socket: JSON lines for root, and nobody who misuses it can hold up the tick.

Bounded in every direction: clients, length of a request, time to finish one, time to take an answer. A client that
sends rubbish gets an error; one that sends half a line or never reads is hung up on.
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
from xdpwall.errors import InputError, PrivilegeError, XdpwallError

log = logging.getLogger(__name__)

MAX_CLIENTS = 32
IDLE_SECONDS = 120.0
"""How long a client may say nothing, or take to finish a line."""
WRITE_SECONDS = 10.0
"""How long a client may take to read what is in its way."""
_SLICE = 1_000


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


Handler = Callable[[str, dict[str, Any]], Awaitable[Mapping[str, Any] | Listing]]
"""Carries out one checked request. Raises XdpwallError for what the client should be told."""


class Server:
    """Listens on the control socket of an instance.

    Args:
        path: the socket. Its folder must be there, 0700, and ours alone (the caller holds the instance's lock).
        handler: what requests are given to.
        idle_seconds: see :data:`IDLE_SECONDS`. ``write_seconds``: see :data:`WRITE_SECONDS`.
    """

    def __init__(
        self,
        path: Path,
        handler: Handler,
        *,
        idle_seconds: float = IDLE_SECONDS,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        self._path = path
        self._handler = handler
        self._idle = idle_seconds
        self._patience = write_seconds
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
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
                self._accept, sock=listener, limit=protocol.MAX_REQUEST_BYTES, backlog=64
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
        self._clients.add(task)
        try:
            refusal = self._refusal(writer)
            if refusal is not None:
                await self._send(writer, protocol.encode_error(refusal))
                return
            while await self._serve_one(reader, writer):
                pass
        except (TimeoutError, ConnectionError):
            log.debug("a client of the control socket was hung up on")
        except asyncio.CancelledError:
            pass  # the server stops; nobody awaits this task but stop()
        finally:
            self._clients.discard(task)
            transport = writer.transport
            if transport.get_write_buffer_size():
                transport.abort()  # it does not read: what it did not take is thrown away
            else:
                writer.close()

    def _refusal(self, writer: asyncio.StreamWriter) -> XdpwallError | None:
        sock = writer.get_extra_info("socket")
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        peer.set_may_write(uid in (0, os.geteuid()))
        if not peer.may_write() and not self.readers:
            return PrivilegeError("only root may talk to the controller", hint="run it with sudo")
        # Those who only look never take the last places from root.
        if len(self._clients) > (MAX_CLIENTS if peer.may_write() else MAX_CLIENTS // 2):
            return XdpwallError(
                f"the controller already talks to {MAX_CLIENTS} clients", hint="close some, then try again"
            )
        return None

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read, carry out and answer one request. Gives whether there may be another."""
        try:
            async with asyncio.timeout(self._idle):
                line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return False  # it hung up, maybe in mid line
        except asyncio.LimitOverrunError:
            error = InputError(f"a request may have {protocol.MAX_REQUEST_BYTES} bytes at most")
            await self._send(writer, protocol.encode_error(error))
            return False
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
