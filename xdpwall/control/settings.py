# SPDX-License-Identifier: Apache-2.0
"""From the config to the parts of control: the rules of what people ask for, and what a reload changes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdpwall.config_plain import DATAPLANE_KEYS
from xdpwall.control import trial
from xdpwall.control.record import Rules
from xdpwall.errors import XdpwallError
from xdpwall.paths import DEFAULT_CONFIG

if TYPE_CHECKING:
    from xdpwall.config import Config

log = logging.getLogger(__name__)

NEEDS_LOAD = frozenset(DATAPLANE_KEYS) | {"interfaces", "mode"}
"""Keys that take effect only with `xdpwall load`."""


def rules(config: Config) -> Rules:
    """What the desk and the guard need of a config."""
    return Rules(
        ban_time_ms=config.bans.time_ms,
        forget_ms=config.bans.forget_ms,
        min_prefix_v4=config.bans.min_prefix_v4,
        min_prefix_v6=config.bans.min_prefix_v6,
        allow=tuple(config.allow.prefixes),
    )


def differences(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Dotted keys whose values differ, and those of them that need a new load."""
    before, after = _flat(old), _flat(new)
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return changed, [key for key in changed if key in NEEDS_LOAD]


def _flat(config: Config) -> dict[str, Any]:
    return dict(_walk("", config.file_values()))


def _walk(stem: str, node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _walk(f"{stem}{key}.", value)
        else:
            yield f"{stem}{key}", value


def load_in_force(config_path: Path | None) -> Config:
    """Read the configuration that is to be in force: the file, or after a trial that is over what was there before.

    Args:
        config_path: as given with ``-c``; None: the default place, where a missing file means every default.

    Raises:
        XdpwallError: as ``Config.load``.
    """
    from xdpwall.config import Config  # noqa: PLC0415  (brings pydantic: the controller calls this in a child)

    target = config_path or DEFAULT_CONFIG
    try:
        place = trial.in_force(target)
    except (OSError, XdpwallError) as error:
        log.warning("%s; the file itself is read", error)
        place = target
    if place is None:
        return Config()
    return Config.load(config_path if place == target else place)
