# SPDX-License-Identifier: Apache-2.0
"""From whose address somebody is logged in to this host.

What speaks for it:

- sessions that systemd-logind knows (``/run/systemd/sessions``), which anybody may read;
- utmp(5), where there is one (psutil);
- connections that belong to an sshd which is past authentication. Only root can look into other processes (psutil);
- ``SSH_CONNECTION`` of whoever started us, or uses the command line as root.

A mere connection to the ssh port speaks for nobody: anybody can make one. All of these come after a login.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from xdpwall.control.protection import Found, Kind, single
from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.tcp_sockets import Connection
from xdpwall.model import Prefix

SESSIONS = Path("/run/systemd/sessions")
_ENDED = frozenset({"closing"})
_MOST_BYTES = 64 << 10
PAST_LOGIN = re.compile(r"^sshd(?:-session)?: (?P<user>[^\[\s][^\[]*)@[^@\s\[]+$")
"""sshd names its process "user@pts/0" or "user@notty" once a session is open. Before that the title has no "@" and ends
in "[accepted]", "[preauth]", "[net]" or "[priv]". The last one stays: it stands before the password, too.
"""
_SSHD = frozenset({"sshd", "sshd-session"})
_SOCKET = "socket:["


@dataclass(frozen=True, slots=True)
class Announced:
    """An ``SSH_CONNECTION``: one TCP connection of a session, as its own end says."""

    flow: Flow

    @classmethod
    def parse(cls, text: str) -> Announced | None:
        """Read ``client port server port``; None for what is no such thing, or comes from this host itself."""
        words = text.split()
        if len(words) != 4 or not (words[1].isdigit() and words[3].isdigit()):
            return None
        peer, local = single(words[0]), single(words[2])
        if peer is None or local is None or len(peer.packed) != len(local.packed):
            return None
        if not (0 < int(words[1]) < 65536 and 0 < int(words[3]) < 65536):
            return None
        return cls(Flow(6, local.packed, int(words[3]), peer.packed, int(words[1])))


def of_logind(folder: Path = SESSIONS) -> list[Found]:
    """Remote sessions of systemd-logind, with when they began."""
    found = []
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []  # no logind here
    for name in names:
        if name.endswith(".ref"):
            continue
        try:
            text = _read(folder / name)
        except OSError:
            continue  # it ended meanwhile
        values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        prefix = single(values.get("REMOTE_HOST", ""))
        if prefix is None or values.get("REMOTE") != "1" or values.get("STATE") in _ENDED:
            continue
        who = values.get("USER") or f"uid {values.get('UID', '?')}"
        since = values.get("REALTIME", "")
        since_ms = int(since) // 1000 if since.isdigit() else None  # sd-login writes microseconds
        found.append(Found(prefix, Kind.ADMIN, _words(who), f"{folder}/{name}", since_ms))
    return found


def of_utmp() -> list[Found]:
    """Logins of utmp(5), of processes that live."""
    found = []
    for user in psutil.users():
        # mosh-server writes "192.0.2.7 via mosh [123]".
        prefix = single((user.host or "").split(" ")[0])
        if prefix is not None and psutil.pid_exists(int(user.pid or 1)):
            found.append(Found(prefix, Kind.ADMIN, _words(user.name), "utmp", round(user.started * 1000)))
    return found


def of_sshd(connections: Callable[[], Iterable[Connection]]) -> list[Found]:
    """Peers of connections that an sshd past authentication holds. Empty for who may not look into other processes.

    Args:
        connections: lists those of this network namespace; only called when there is such an sshd.

    Raises:
        KernelError: the connections cannot be listed.
    """
    held: dict[int, tuple[psutil.Process, str]] = {}
    for process, user in sshd_sessions():
        for inode in _sockets(process.pid):
            held[inode] = (process, user)
    found: dict[Prefix, Found] = {}
    for connection in connections() if held else ():
        if connection.inode not in held:
            continue
        process, user = held[connection.inode]
        prefix = single(_address(connection.flow.peer))
        if prefix is not None and prefix not in found:
            source = f"sshd, process {process.pid}"
            found[prefix] = Found(prefix, Kind.ADMIN, _words(user), source, _began(process))
    return list(found.values())


def sshd_sessions() -> Iterator[tuple[psutil.Process, str]]:
    """Each sshd process that is past authentication, with whom it serves."""
    for process in psutil.process_iter(["name"]):
        if not str(process.info["name"] or "").startswith("sshd"):
            continue
        try:
            match = PAST_LOGIN.match(" ".join(process.cmdline()).strip())
            # Whoever is logged in can give his process any title. Not so the file that it runs.
            if (
                match
                and Path(f"/proc/{process.pid}/exe").stat().st_uid == 0
                and Path(process.exe()).name.split(" ")[0] in _SSHD
            ):
                yield process, match["user"]
        except (psutil.Error, OSError):
            continue  # it ended meanwhile, or we may not look


def _sockets(pid: int) -> Iterator[int]:
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):  # noqa: PTH208  (proc(5); pathlib reads no such links faster)
            target = os.readlink(f"{folder}/{name}")  # noqa: PTH115
            if target.startswith(_SOCKET):
                yield int(target[len(_SOCKET) : -1])
    except (OSError, ValueError):
        return


def _began(process: psutil.Process) -> int | None:
    try:
        return round(process.create_time() * 1000)
    except psutil.Error:
        return None


def _address(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _words(user: str) -> str:
    cleaned = "".join(c for c in user if c.isprintable())[:32]
    return f"{cleaned} is logged in from there"


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode("utf-8", "replace")


def sees_processes() -> bool:
    """Whether we may look into the processes of root: what they hold open."""
    try:
        os.listdir("/proc/1/fd")  # noqa: PTH208
    except OSError:
        return False
    return True
