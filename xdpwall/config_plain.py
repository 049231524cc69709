# SPDX-License-Identifier: Apache-2.0
"""The configuration as plain objects: the same names and values as the models, and nothing of pydantic.

The controller lives for months and reads its configuration a few times. The models that check it take 12 MB of memory,
so they are built in a process that ends (``control.config_child``), and what lives on is this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from xdpwall.config import Config
    from xdpwall.config_sections import Section

DATAPLANE_KEYS = (
    "policy",
    "observe",
    "bans.capacity",
    "bans.prefix_capacity",
    "meters.enabled",
    "meters.sources",
    "meters.prefixes",
    "checks.malformed",
    "checks.own_source",
    "lanes.enabled",
    "proof.capacity",
    "syncookies.enabled",
    *(f"limits.{scope}.{kind}" for scope in ("source", "prefix") for kind in ("pps", "bps", "syn", "burst")),
)
"""Keys that the C is specialised to: a change takes effect with the next `xdpwall load`."""


class Plain:
    """One table of the file. Frozen, like the model that it stands for; equal when all values are."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"the configuration is frozen: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.items()))


class PlainConfig(Plain):
    """The whole file. The methods are those of ``Config`` that the controller calls."""

    def dataplane_digest(self) -> str:
        """See ``Config.dataplane_digest``."""
        return cast("str", self.__dict__["_digest"])

    def file_values(self) -> dict[str, Any]:
        """See ``Config.file_values``."""
        return cast("dict[str, Any]", self.__dict__["_file_values"])


def plain(config: Config) -> PlainConfig:
    """Take the values, and what properties say, out of the models. What comes of it can be pickled."""
    values = _values(config)
    return PlainConfig(values | {"_digest": config.dataplane_digest(), "_file_values": config.file_values()})


def _values(model: Section) -> dict[str, Any]:
    kind = type(model)
    names = [
        *kind.model_fields,
        *(name for name, member in vars(kind).items() if isinstance(member, property)),
    ]
    return {name: _plain(getattr(model, name)) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return Plain(_values(value)) if hasattr(type(value), "model_fields") else value
