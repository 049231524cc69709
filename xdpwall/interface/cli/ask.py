# SPDX-License-Identifier: Apache-2.0
"""Asks the controller; where none runs, does the work on the pins and the database itself, if the verb can."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import Any

from xdpwall.control.client import Connection
from xdpwall.control.peer import READING
from xdpwall.control.protocol import BULK_ITEMS, MAX_ITEMS
from xdpwall.errors import InputError, NoControllerError, PrivilegeError
from xdpwall.interface.cli.command import Settings
from xdpwall.ssh_connection import ssh_connection

_OFFLINE_FAMILIES = frozenset({"status", "verdicts", "ban", "allow", "incident", "rules", "observed"})
_CAP_NET_ADMIN, _CAP_BPF, _CAP_SYS_ADMIN = 12, 39, 21  # linux/capability.h


def need_root(what: str) -> None:
    """Refuse early, in words, what would fail with EPERM later.

    Raises:
        PrivilegeError: the process is not root's.
    """
    if os.geteuid() != 0:
        raise PrivilegeError(f"{what} needs root", hint="run it with sudo")


def need_bpf(what: str) -> None:
    """Like :func:`need_root`, but the two capabilities that suffice for BPF and XDP will do.

    Raises:
        PrivilegeError: neither root's nor capable.
    """
    if os.geteuid() == 0:
        return
    held = _effective_capabilities()
    bpf = held >> _CAP_BPF & 1 or held >> _CAP_SYS_ADMIN & 1
    if not (bpf and held >> _CAP_NET_ADMIN & 1):
        raise PrivilegeError(
            f"{what} needs root, or the capabilities CAP_BPF and CAP_NET_ADMIN", hint="run it with sudo"
        )


def _effective_capabilities() -> int:
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - pathlib costs more than the read
        for line in file:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


def ask(settings: Settings, op: str, **args: Any) -> dict[str, Any]:
    """The answer to one op, from the controller or without it.

    Raises:
        XdpwallError: what the op can fail with.
        NoControllerError: none runs, and this op needs one.
    """
    if op not in READING or not os.access(settings.paths.socket, os.R_OK | os.W_OK):
        need_root(f"`xdpwall {op.partition('.')[0]}`")
    connection = _connect(settings, op)
    if connection is None:
        need_root(f"`xdpwall {op.partition('.')[0]}` without a controller")
        return _offline(settings, op, args)
    with connection:
        return connection.call(op, **args)


def ask_in_parts(
    settings: Settings, op: str, field: str, items: Sequence[Any], **args: Any
) -> dict[str, Any]:
    """Like :func:`ask` for long lists: sent in parts, so that the controller can tick between them.

    Args:
        settings: which instance.
        op: the op.
        field: the argument that carries the list.
        items: the list.
        args: the other arguments.

    Returns:
        The results added up: numbers summed, lists joined, objects merged.
    """
    need_root(f"`xdpwall {op.partition('.')[0]}`")
    total: dict[str, Any] = {}
    connection = _connect(settings, op)
    if connection is None:
        for part in _parts(items, MAX_ITEMS):
            _add_up(total, _offline(settings, op, {**args, field: part}))
        return total
    with connection:
        for part in _parts(items, BULK_ITEMS):
            _add_up(total, connection.call(op, **{**args, field: part}))
    return total


def _connect(settings: Settings, op: str) -> Connection | None:
    try:
        connection = Connection(settings.paths)
        _introduce(connection)
        return connection
    except NoControllerError as error:
        if op.partition(".")[0] in _OFFLINE_FAMILIES:
            return None
        name = settings.paths.instance
        option = "" if name == "default" else f" --instance {name}"
        raise NoControllerError(
            f"`xdpwall {op}` needs the controller, and none runs for instance {name!r}",
            hint=f"start it with `xdpwall{option} run`",
        ) from error


def _introduce(connection: Connection) -> None:
    """Tell the controller from where root is logged in, so that it never cuts him off."""
    session = ssh_connection() if os.geteuid() == 0 else ""
    if session:
        with contextlib.suppress(
            InputError
        ):  # a controller that is older than this command does not know the op
            connection.call("session", connection=session)


def _offline(settings: Settings, op: str, args: dict[str, Any]) -> dict[str, Any]:
    from xdpwall.control import offline

    return offline.call(settings.paths, op, **args)


def _parts(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]


def _add_up(total: dict[str, Any], part: dict[str, Any]) -> None:
    for key, value in part.items():
        if key not in total:
            total[key] = value
        elif isinstance(value, dict):
            total[key] = {**total[key], **value}
        elif isinstance(value, list):
            # The same warning from each part is one warning.
            total[key] = [
                *total[key],
                *(entry for entry in value if key != "warnings" or entry not in total[key]),
            ]
        else:
            total[key] += value
