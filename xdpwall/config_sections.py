# SPDX-License-Identifier: Apache-2.0
"""The tables of the configuration: how often to look, limits, bans, meters, checks. ``config.py`` puts them together.

All models are frozen. The descriptions are the texts of ``config init`` and of the guide.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from xdpwall.config_types import AllowedPrefix, Duration, list_to_tuple, round_up_to_power_of_two

PowerOfTwo = AfterValidator(round_up_to_power_of_two)
ROUNDED = "Rounded up to a power of two."


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
        description=f"How many single sources can be banned at a time. {ROUNDED}",
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
    known_percent: int = Field(
        default=5,
        ge=0,
        le=100,
        description="Of the sources that this host talks to, no more than this share is banned automatically in an"
        " hour, but three may be. 0 bans none of them.",
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
        description=f"Sources counted at a time, over all CPUs together. {ROUNDED}",
    )
    prefixes: Annotated[int, PowerOfTwo] = Field(
        default=32_768,
        ge=256,
        le=1_048_576,
        description=f"Prefixes counted at a time, over all CPUs together. {ROUNDED}",
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
    readers: str = Field(
        default="",
        max_length=32,
        description="A group whose members may look (`status`, `top`, ...) and change nothing. Empty: root alone.",
    )
