# SPDX-License-Identifier: Apache-2.0
"""`xdpwall run`: the controller."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import click

from xdpwall.interface.cli.ask import need_bpf
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.options import check_interfaces, config_option, config_to_go_by, interface_option

_M_ARENA_MAX = -8  # malloc.h


@click.command(cls=Verb)
@interface_option
@config_option
@click.pass_obj
def command(settings: Settings, interfaces: tuple[str, ...], config_path: Path | None) -> int:
    """Run the controller in the foreground: read counters, decide, ban, serve the other verbs.

    Loads the wall first when nothing is loaded. Ctrl-C and SIGTERM stop the controller and leave the wall up; SIGHUP
    reads the config again.
    """
    need_bpf("`xdpwall run`")
    from xdpwall.control import config_child

    config = config_to_go_by(config_path, config_child.read)
    names = check_interfaces(interfaces)
    _import_asyncio_without_tls()
    _share_one_heap()
    from xdpwall.control import daemon
    from xdpwall.interface.sinks.metrics import MetricsSink

    return daemon.run(
        settings.paths, config, interfaces=names, config_path=config_path, sinks=[MetricsSink()]
    )


def _import_asyncio_without_tls() -> None:
    """The controller serves no TLS: asyncio does without where there is no ssl, which is 4 MB of OpenSSL less.

    A web hook or a probe that needs it imports it as usual.
    """
    if "asyncio" in sys.modules or "ssl" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]  # importing it fails, as where Python was built without
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules["ssl"]


def _share_one_heap() -> None:
    """All threads allocate from one heap (mallopt(3), M_ARENA_MAX): what each has free of its own is 6 MB in a flood.

    Python's own lock lets one of them allocate at a time anyway. Does nothing with another C library than glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
