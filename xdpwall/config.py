# SPDX-License-Identifier: Apache-2.0
"""The configuration: every key with its default, its range and its meaning.

``Config.load`` reads a TOML file and checks it whole. All models are frozen. A duration is text in the file
(``interval = "100ms"``) and whole milliseconds in Python (``config.tick.interval_ms``). The texts of ``config init``
and of the guide are made from the descriptions here.

Imports pydantic: a verb that only asks must not import this module.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from xdpwall.config_problems import CrossRule, check_mapping, syntax_problem
from xdpwall.config_types import (
    AllowedPrefix,
    Duration,
    InterfaceName,
    list_to_tuple,
    round_up_to_power_of_two,
)
from xdpwall.errors import ConfigError, InputError, PrivilegeError
from xdpwall.paths import DEFAULT_CONFIG

PowerOfTwo = AfterValidator(round_up_to_power_of_two)
_ROUNDED = "Rounded up to a power of two."


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TickConfig(Section):
    """How often the controller looks."""

    interval_ms: Annotated[int, Duration("10ms", "10s")] = Field(
        default=100, alias="interval", description="Time from one look at the counters to the next."
    )
    reconcile_ms: Annotated[int, Duration("100ms", "10m")] = Field(
        default=5_000,
        alias="reconcile",
        description="Time from one comparison of the database with the kernel's bans to the next.",
    )


class SourceLimits(Section):
    """What one source (an IPv4 address, an IPv6 /64) may send before it is banned. 0 turns a limit off."""

    pps: int = Field(default=100_000, ge=0, le=1_000_000_000, description="Packets per second.")
    bps: int = Field(
        default=1_000_000_000,
        ge=0,
        le=10**13,
        description="Bits per second, counted from the Ethernet header on.",
    )
    syn: int = Field(
        default=100,
        ge=0,
        le=1_000_000_000,
        description="TCP connection requests (SYN without ACK) per second.",
    )
    udp: int = Field(default=20_000, ge=0, le=1_000_000_000, description="UDP packets per second.")
    icmp: int = Field(default=200, ge=0, le=1_000_000_000, description="ICMP and ICMPv6 packets per second.")
    burst_ms: Annotated[int, Duration("10ms", "1m")] = Field(
        default=1_000,
        alias="burst",
        description='How much may come at once: "1s" is a second\'s worth of each limit.',
    )


class PrefixLimits(Section):
    """What one prefix (an IPv4 /24, an IPv6 /48) may send before it is banned whole. 0 turns a limit off."""

    pps: int = Field(default=400_000, ge=0, le=1_000_000_000, description="Packets per second.")
    bps: int = Field(
        default=4_000_000_000,
        ge=0,
        le=10**13,
        description="Bits per second, counted from the Ethernet header on.",
    )
    syn: int = Field(
        default=1_000,
        ge=0,
        le=1_000_000_000,
        description="TCP connection requests (SYN without ACK) per second.",
    )
    udp: int = Field(default=80_000, ge=0, le=1_000_000_000, description="UDP packets per second.")
    icmp: int = Field(
        default=1_000, ge=0, le=1_000_000_000, description="ICMP and ICMPv6 packets per second."
    )
    burst_ms: Annotated[int, Duration("10ms", "1m")] = Field(
        default=1_000,
        alias="burst",
        description='How much may come at once: "1s" is a second\'s worth of each limit.',
    )


class LimitsConfig(Section):
    """Thresholds of the detection."""

    source: SourceLimits = Field(default=SourceLimits(), description="Limits per source.")
    prefix: PrefixLimits = Field(default=PrefixLimits(), description="Limits per prefix.")


class BansConfig(Section):
    """How long automatic bans last, how many there may be, and how wide."""

    time_ms: Annotated[int, Duration("1s", "365d")] = Field(
        default=600_000, alias="time", description="Length of a source's first automatic ban."
    )
    growth: float = Field(
        default=2.0,
        ge=1.0,
        le=100.0,
        allow_inf_nan=False,
        description="Each further strike multiplies the ban's length by this.",
    )
    time_max_ms: Annotated[int, Duration("1s", "365d")] = Field(
        default=86_400_000, alias="time_max", description="An automatic ban never gets longer than this."
    )
    forget_ms: Annotated[int, Duration("1s", "3650d")] = Field(
        default=86_400_000,
        alias="forget",
        description="A source's strikes are forgotten after this long without a new one.",
    )
    capacity: Annotated[int, PowerOfTwo] = Field(
        default=131_072,
        ge=1_024,
        le=4_194_304,
        description=f"How many single sources can be banned at a time. {_ROUNDED}",
    )
    prefix_capacity: int = Field(
        default=16_384, ge=64, le=1_048_576, description="How many prefixes can be banned at a time."
    )
    per_minute: int = Field(
        default=30_000,
        ge=1,
        le=10_000_000,
        description="No more automatic bans than this in a minute: a brake should a threshold be set badly.",
    )
    collapse_sources: int = Field(
        default=32,
        ge=0,
        le=256,
        description="This many banned sources within one /24 (IPv6: /48) become one ban of the prefix. 0 turns it off.",
    )
    min_prefix_v4: int = Field(
        default=8,
        ge=1,
        le=32,
        description="An IPv4 prefix shorter than this cannot be banned: a slip must not cut off the world.",
    )
    min_prefix_v6: int = Field(default=16, ge=1, le=64, description="The same for IPv6.")


class MetersConfig(Section):
    """The counters per source and per prefix in the kernel."""

    enabled: bool = Field(
        default=True, description="Count per source. Without it nothing is banned automatically."
    )
    sources: Annotated[int, PowerOfTwo] = Field(
        default=131_072,
        ge=1_024,
        le=4_194_304,
        description=f"Sources counted at a time, over all CPUs together. {_ROUNDED}",
    )
    prefixes: Annotated[int, PowerOfTwo] = Field(
        default=32_768,
        ge=256,
        le=1_048_576,
        description=f"Prefixes counted at a time, over all CPUs together. {_ROUNDED}",
    )


class ChecksConfig(Section):
    """What is dropped whoever sends it."""

    malformed: bool = Field(default=True, description="Drop packets whose headers cannot be real.")
    own_source: bool = Field(
        default=True,
        description="Drop packets from outside that claim an address of this host as their source.",
    )


class AllowConfig(Section):
    """Who is never dropped."""

    prefixes: Annotated[tuple[AllowedPrefix, ...], BeforeValidator(list_to_tuple)] = Field(
        default=(),
        description="Addresses and prefixes that always pass. `xdpwall allow add` adds more at run time.",
    )


class ControlConfig(Section):
    """The controller's own upkeep."""

    history_ms: Annotated[int, Duration("1h", "3650d")] = Field(
        default=2_592_000_000, alias="history", description="How long lapsed bans stay in the database."
    )


class Config(Section):
    """The whole file. ``Config()`` is every default: a working wall, once it is told its interfaces."""

    interfaces: Annotated[tuple[InterfaceName, ...], BeforeValidator(list_to_tuple)] = Field(
        default=(), description="Network interfaces to stand on. Empty: they must be given with -i."
    )
    policy: Literal["enforce", "observe"] = Field(
        default="enforce",
        description='"enforce" drops. "observe" counts what it would drop, and drops nothing.',
    )
    mode: Literal["auto", "native", "generic"] = Field(
        default="auto",
        description='XDP mode. "native" runs in the driver, "generic" is slower and works everywhere. '
        '"auto" tries native first and warns when it has to fall back.',
    )
    tick: TickConfig = Field(default=TickConfig(), description="How often the controller looks.")
    limits: LimitsConfig = Field(default=LimitsConfig(), description="Thresholds of the detection.")
    bans: BansConfig = Field(default=BansConfig(), description="Bans.")
    meters: MetersConfig = Field(default=MetersConfig(), description="Counters in the kernel.")
    checks: ChecksConfig = Field(default=ChecksConfig(), description="What is dropped whoever sends it.")
    allow: AllowConfig = Field(default=AllowConfig(), description="Who is never dropped.")
    control: ControlConfig = Field(default=ControlConfig(), description="Upkeep.")

    @classmethod
    def load(cls, path: Path | str | None = None) -> Config:
        """Read and check a file.

        Args:
            path: the file; None means the default place, where a missing file means every default.

        Raises:
            ConfigError: the file has faults; it carries all of them, each with key and line.
            InputError: the file is missing (only when ``path`` was given) or is no regular file.
            PrivilegeError: the file may not be read.
        """
        place = Path(path) if path is not None else DEFAULT_CONFIG
        try:
            raw = place.read_bytes()
        except FileNotFoundError:
            if path is None:
                return cls()
            raise InputError(
                f"{place}: there is no such file",
                hint="`xdpwall config init FILE` writes one with every key explained",
            ) from None
        except PermissionError:
            raise PrivilegeError(f"{place}: may not be read by this user", hint="run it as root") from None
        except OSError as error:
            raise InputError(f"{place}: {error.strerror}", hint="-c wants a TOML file") from None
        return cls.parse(raw, str(place))

    @classmethod
    def parse(cls, raw: bytes | str, name: str = "<config>") -> Config:
        """Read and check the text of a file. ``name`` stands for the file in errors.

        Raises:
            ConfigError: see :meth:`load`.
        """
        try:
            text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw
            data = tomllib.loads(text)
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(name, [syntax_problem(raw, error)]) from None
        return Config._checked(data, text, name)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], name: str = "<mapping>") -> Config:
        """Check what a TOML file would hold, given as nested dicts, for example ``{"tick": {"interval": "50ms"}}``.

        Raises:
            ConfigError: see :meth:`load`; every line is 0.
        """
        return Config._checked(dict(data), "", name)

    @staticmethod
    def _checked(data: dict[str, Any], text: str, name: str) -> Config:
        model, problems = check_mapping(Config, data, text, CROSS_RULES)
        if model is None:
            raise ConfigError(name, problems)
        return model

    def dataplane_digest(self) -> str:
        """Sixteen hex digits over the keys that are compiled into the C (:data:`DATAPLANE_KEYS`).

        Two configs with the same digest need no new load of the data path.
        """
        values = {key: self.value(key) for key in DATAPLANE_KEYS}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def value(self, key: str) -> Any:
        """The value behind a dotted key of the file, as JSON and TOML would write it.

        Raises:
            KeyError: there is no such key.
        """
        node: Any = self.model_dump(mode="json", by_alias=True)
        for part in key.split("."):
            node = node[part]
        return node


DATAPLANE_KEYS = (
    "policy",
    "bans.capacity",
    "bans.prefix_capacity",
    "meters.enabled",
    "meters.sources",
    "meters.prefixes",
    "checks.malformed",
    "checks.own_source",
    *(f"limits.{scope}.{kind}" for scope in ("source", "prefix") for kind in ("pps", "bps", "syn", "burst")),
)
"""Keys that the C is specialised to: a change takes effect with the next `xdpwall load`."""


def _time_within_max(config: Config) -> str | None:
    if config.bans.time_ms <= config.bans.time_max_ms:
        return None
    return "a first ban (bans.time) may not be longer than the longest (bans.time_max)"


def _reconcile_after_tick(config: Config) -> str | None:
    if config.tick.reconcile_ms >= config.tick.interval_ms:
        return None
    return "bans are reconciled (tick.reconcile) at most once a tick (tick.interval)"


def _collapse_is_plural(config: Config) -> str | None:
    if config.bans.collapse_sources != 1:
        return None
    return "1 would ban a whole prefix for a single source; use 2 or more, or 0 for off"


def _interfaces_once(config: Config) -> str | None:
    twice = sorted({name for name in config.interfaces if config.interfaces.count(name) > 1})
    return f"named more than once: {', '.join(twice)}" if twice else None


def _prefix_limit_above_source(name: str) -> CrossRule[Config]:
    def rule(config: Config) -> str | None:
        source, prefix = getattr(config.limits.source, name), getattr(config.limits.prefix, name)
        if not source or not prefix or prefix >= source:
            return None
        return (
            f"limits.prefix.{name} ({prefix}) is below limits.source.{name} ({source}): "
            "one source within its limit would get its whole prefix banned"
        )

    return CrossRule((f"limits.source.{name}", f"limits.prefix.{name}"), rule)


CROSS_RULES: tuple[CrossRule[Config], ...] = (
    CrossRule(("interfaces",), _interfaces_once),
    CrossRule(("tick.interval", "tick.reconcile"), _reconcile_after_tick),
    *(_prefix_limit_above_source(name) for name in ("pps", "bps", "syn", "udp", "icmp")),
    CrossRule(("bans.time", "bans.time_max"), _time_within_max),
    CrossRule(("bans.collapse_sources",), _collapse_is_plural),
)
"""What no single key can tell."""
