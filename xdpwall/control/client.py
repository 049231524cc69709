# SPDX-License-Identifier: Apache-2.0
"""Talks to a running controller. Standard library only: a verb that only asks must start fast."""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Any

from xdpwall.clock import SystemClock
from xdpwall.control import protocol
from xdpwall.errors import BusyError, InputError, NoControllerError, PrivilegeError
from xdpwall.paths import Paths

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 30.0
BUSY_SECONDS = 5.0
"""How long a place is asked for again while the controller has none: who is silent gives way after a second."""
MAX_ANSWER_BYTES = 256 << 20
"""A list of every ban that fits in the kernel is some 30 MiB."""


class Connection:
    """One connection to the controller of an instance; as many calls as wanted, one after the other.

    Args:
        paths: the instance.
        timeout: seconds that one call may take in all.

    Raises:
        NoControllerError: nobody listens, or does not take the connection in time.
        PrivilegeError: the socket is not ours to open.
    """

    def __init__(self, paths: Paths, *, timeout: float = ANSWER_SECONDS) -> None:
        self._paths = paths
        self._timeout = timeout
        self._open()

    def _open(self) -> None:
        paths, timeout = self._paths, self._timeout
        self._rest = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(min(CONNECT_SECONDS, timeout))
        try:
            self._connect(_now() + min(CONNECT_SECONDS, timeout))
        except PermissionError:
            self._socket.close()
            raise PrivilegeError(
                f"{paths.socket}: only root may talk to the controller", hint="run it with sudo"
            ) from None
        except OSError as error:
            self._socket.close()
            raise self._gone(f"no controller answers on {paths.socket} ({error})") from None

    def _connect(self, deadline: float) -> None:
        """Raises OSError. While too many wait to be taken, the kernel says EAGAIN at once (unix(7)): then try again."""
        while True:
            try:
                self._socket.connect(str(self._paths.socket))
            except BlockingIOError:
                if _now() >= deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def call(self, op: str, **args: Any) -> dict[str, Any]:
        """Ask for one op and give its result object (``control.results`` has the shapes).

        Raises:
            XdpwallError: what the controller answered: message, hint and exit code are the controller's.
            NoControllerError: it went away, answers nothing in time, or answers nonsense.
        """
        request = protocol.encode_request(op, args)
        if len(request) > protocol.MAX_REQUEST_BYTES:
            raise InputError(
                f"{op}: the request has {len(request)} bytes; at most {protocol.MAX_REQUEST_BYTES} fit",
                hint=f"send at most {protocol.BULK_ITEMS} prefixes at a time",
            )
        until = _now() + min(BUSY_SECONDS, self._timeout)
        while True:
            try:
                return self._ask(op, request)
            except BusyError:
                if _now() >= until:
                    raise
            self._socket.close()
            time.sleep(0.25)
            self._open()

    def _ask(self, op: str, request: bytes) -> dict[str, Any]:
        deadline = _now() + self._timeout
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(request)
        except TimeoutError:
            raise self._slow(op) from None
        except OSError as error:
            # The controller may have said why before it hung up (too many clients, not root).
            line = self._last_words()
            if line:
                return protocol.decode_answer(line)
            raise self._gone(f"the controller went away during {op!r} ({error})") from None
        return protocol.decode_answer(self._line(op, deadline))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self, op: str, deadline: float) -> bytes:
        chunks: list[bytes] = [self._rest]
        size = len(self._rest)
        # One buffer for all: a fresh one for each piece costs more than the piece.
        buffer = memoryview(bytearray(1 << 18))
        while b"\n" not in chunks[-1]:
            left = deadline - _now()
            if left <= 0:
                raise self._slow(op)
            try:
                self._socket.settimeout(left)
                chunk = bytes(buffer[: self._socket.recv_into(buffer)])
            except TimeoutError:
                raise self._slow(op) from None
            except OSError as error:
                raise self._gone(f"the controller went away during {op!r} ({error})") from None
            if not chunk:
                raise self._gone(f"the controller closed the connection during {op!r}")
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise self._gone(f"the controller's answer to {op!r} does not end")
        last, _, self._rest = chunks.pop().partition(b"\n")
        return b"".join([*chunks, last])

    def _last_words(self) -> bytes:
        try:
            self._socket.settimeout(0.2)
            return self._socket.recv(1 << 16).partition(b"\n")[0]
        except OSError:
            return b""

    def _slow(self, op: str) -> NoControllerError:
        return self._gone(f"the controller did not answer {op!r} within {self._timeout:g} s")

    def _gone(self, message: str) -> NoControllerError:
        name = self._paths.instance
        return NoControllerError(
            message, hint=f"is `xdpwall --instance {name} run` up? see `journalctl -u xdpwall`"
        )


def call(paths: Paths, op: str, *, timeout: float = ANSWER_SECONDS, **args: Any) -> dict[str, Any]:
    """One op on a connection of its own. See :meth:`Connection.call`; bulks are faster on one Connection."""
    with Connection(paths, timeout=timeout) as connection:
        return connection.call(op, **args)


def _now() -> float:
    return SystemClock().mono_ns() / 1e9
