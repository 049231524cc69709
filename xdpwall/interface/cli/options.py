# SPDX-License-Identifier: Apache-2.0
"""The options of the verbs that act on interfaces."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xdpwall.errors import InputError, NotFoundError, XdpwallError
from xdpwall.interface.cli.output import note

if TYPE_CHECKING:
    from xdpwall.config import Config

Function = TypeVar("Function", bound=Callable[..., Any])


def interface_option(function: Function) -> Function:
    """Add -i, which may be given again."""
    return click.option(
        "-i",
        "--interface",
        "interfaces",
        multiple=True,
        metavar="IFACE",
        help="A network interface; may be given again.",
    )(function)


CONFIG_HELP = "Config file; /etc/xdpwall/xdpwall.toml is the default."


def config_option(function: Function, help_text: str = CONFIG_HELP) -> Function:
    """Add -c."""
    return click.option(
        "-c",
        "--config",
        "config_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=help_text,
    )(function)


def config_to_go_by(config_path: Path | None, read: Callable[[Path | None], Config] | None = None) -> Config:
    """Read the config for who is about to go by it. One on trial whose time is over is put away first.

    Args:
        config_path: as given with -c.
        read: reads it; ``settings.load_in_force`` when None.

    Raises:
        XdpwallError: as ``Config.load``.
    """
    from xdpwall.control import apply, settings
    from xdpwall.paths import DEFAULT_CONFIG

    try:
        ended = apply.settle(config_path or DEFAULT_CONFIG)
    except (OSError, XdpwallError) as error:
        note(f"warning: {error}")
    else:
        if ended is not None:
            note(
                f"{ended.target}: nobody confirmed what was on trial until {ended.until}; back to what was before"
            )
    return (read or settings.load_in_force)(config_path)


def interfaces_here() -> list[str]:
    """The interfaces of this network namespace, without the loopback.

    Asked of the kernel: sysfs shows the namespace that it was mounted in.
    """
    return sorted(name for _, name in socket.if_nameindex() if name != "lo")


def check_interfaces(names: tuple[str, ...]) -> list[str]:
    """The names of -i, each once.

    Raises:
        InputError: one cannot be the name of an interface.
        NotFoundError: one is not on this host.
    """
    from xdpwall.interface_name import interface_fault

    here = interfaces_here()
    hint = f"interfaces here: {', '.join(here)}" if here else "there is no interface here but lo"
    unique = list(dict.fromkeys(names))
    for name in unique:
        fault = interface_fault(name)
        if fault:
            raise InputError(f"-i: {fault}", hint=hint)
        if name not in here:
            raise NotFoundError(f"-i: there is no interface {name!r} here", hint=hint)
    return unique
