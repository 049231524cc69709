# SPDX-License-Identifier: Apache-2.0
"""The tables of the configuration about incidents: when one begins and ends, whom to tell, what to probe."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from xdpwall.config_sections import Section
from xdpwall.config_types import Duration, list_to_tuple, refuse

ADMIN_PORTS = (
    22, 23, 135, 139, 445, 623, 902, 1433, 1521, 2049, 2222, 2375, 2376, 3306, 3389, 5432, 5900, 5985, 5986, 6379,
    6443, 8006, 8443, 9090, 9200, 9300, 10000, 10250, 11211, 27017,
)  # fmt: skip
"""TCP ports behind which machines are administered or data lie: shells, desktops, databases, panels, clusters."""


def _check_ports(ports: tuple[int, ...]) -> tuple[int, ...]:
    bad = [str(port) for port in ports if not 0 < port < 65536]
    if bad:
        refuse(f"no TCP port: {', '.join(bad)}")
    return ports


class IncidentConfig(Section):
    """When an incident begins and ends, and what is kept of it."""

    enabled: bool = Field(default=True, description="Record incidents.")
    drops: int = Field(
        default=200,
        ge=1,
        le=1_000_000_000,
        description="Fewer dropped packets per second than this are no incident.",
    )
    floor: int = Field(
        default=2_000,
        ge=1,
        le=1_000_000_000,
        description="A lane with fewer packets per second than this is never called unusual.",
    )
    factor: float = Field(
        default=10.0,
        ge=1.5,
        le=10_000.0,
        allow_inf_nan=False,
        description="A lane is unusual from this many times its learned normal on.",
    )
    sources: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="So many sources banned automatically within ten seconds are an incident.",
    )
    open_after_ms: Annotated[int, Duration("50ms", "10m")] = Field(
        default=1_000,
        alias="open_after",
        description="How long a threshold must be passed. Five times over needs a fifth of it.",
    )
    close_below: float = Field(
        default=0.5,
        ge=0.01,
        le=1.0,
        allow_inf_nan=False,
        description="It is quiet once everything is below this share of its threshold.",
    )
    close_after_ms: Annotated[int, Duration("1s", "1d")] = Field(
        default=120_000, alias="close_after", description="It ends after it was quiet for this long."
    )
    reopen_ms: Annotated[int, Duration("1s", "1d")] = Field(
        default=600_000,
        alias="reopen",
        description="An attack of the same kind that comes back this soon after the end opens the same incident again.",
    )
    link_ms: Annotated[int, Duration("1m", "365d")] = Field(
        default=604_800_000,
        alias="link",
        description="One that comes back later, but within this time, is linked to it.",
    )
    learn_ms: Annotated[int, Duration("1m", "30d")] = Field(
        default=3_600_000, alias="learn", description="What is normal is an average over about this long."
    )
    retention_ms: Annotated[int, Duration("1d", "3650d")] = Field(
        default=63_072_000_000, alias="retention", description="How long incidents are kept."
    )
    retention_bytes: int = Field(
        default=500_000_000,
        ge=1_000_000,
        le=10**12,
        description="The oldest go earlier once records and samples take more than this.",
    )
    samples: int = Field(
        default=5_000,
        ge=0,
        le=1_000_000,
        description="Packets kept of each incident, in a pcapng file beside the database. 0 keeps none.",
    )
    admin_ports: Annotated[tuple[int, ...], BeforeValidator(list_to_tuple), AfterValidator(_check_ports)] = (
        Field(
            default=ADMIN_PORTS,
            max_length=256,
            description="TCP ports where probing and logins are always noted.",
        )
    )
    scan_ports: int = Field(
        default=8,
        ge=3,
        le=65_535,
        description="A source that tries this many closed or admin ports (or local addresses) scans.",
    )
    scan_window_ms: Annotated[int, Duration("10s", "1d")] = Field(
        default=600_000, alias="scan_window", description="Within this long, so slow scans are seen too."
    )


Moment = Literal["open", "escalate", "close", "diversion", "problem"]


def _check_url(text: str) -> str:
    if text:
        try:
            parts = urlsplit(text)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        except ValueError:
            good = False
        if not good:
            refuse(f'"{text}" is no address of a web hook; write it like "https://hooks.example.org/xdpwall"')
    return text


class NotifyConfig(Section):
    """Whom to tell of an incident, beside the journal."""

    on: Annotated[tuple[Moment, ...], BeforeValidator(list_to_tuple)] = Field(
        default=("open", "escalate", "close", "diversion", "problem"),
        description='When: "open", "escalate" (five times worse than last told), "close", "diversion", and "problem": '
        "a check found what may let an attack through.",
    )
    command: Annotated[tuple[str, ...], BeforeValidator(list_to_tuple)] = Field(
        default=(),
        max_length=64,
        description="Program and arguments, run without a shell; the message is on its standard input as JSON.",
    )
    user: str = Field(
        default="",
        pattern=r"^([a-z_][a-z0-9_-]{0,31})?$",
        description="The user that the command runs as, where the controller is root; empty is nobody. It has none of"
        " the controller's rights in any case.",
    )
    webhook: Annotated[str, AfterValidator(_check_url)] = Field(
        default="", description="The message is posted here as JSON."
    )
    webhook_token: str = Field(
        default="", max_length=500, description="Sent with it as Authorization: Bearer, when not empty."
    )
    apprise: Annotated[tuple[str, ...], BeforeValidator(list_to_tuple)] = Field(
        default=(),
        max_length=64,
        description='Addresses of the apprise library (install the extra "notify").',
    )
    timeout_ms: Annotated[int, Duration("100ms", "5m")] = Field(
        default=10_000, alias="timeout", description="How long one try may take."
    )
    tries: int = Field(
        default=3, ge=1, le=20, description="How often a message is tried, with growing pauses."
    )
    per_hour: int = Field(default=60, ge=1, le=10_000, description="No more messages than this in an hour.")
    repeat_ms: Annotated[int, Duration("1s", "7d")] = Field(
        default=600_000, alias="repeat", description="The same message is not sent again within this time."
    )


def _check_place(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if (
        not colon
        or not host.strip("[]")
        or not port.isascii()
        or not port.isdigit()
        or not 0 < int(port) < 65536
    ):
        refuse(f'"{text}" is no service; write it like "127.0.0.1:22" or "[::1]:443"')
    return text


class ProbesConfig(Section):
    """Own services that are tried now and then, so that a report can say how they fared."""

    interval_ms: Annotated[int, Duration("1s", "1h")] = Field(
        default=5_000, alias="interval", description="Time from one try to the next, of each."
    )
    timeout_ms: Annotated[int, Duration("100ms", "1m")] = Field(
        default=3_000, alias="timeout", description="How long an answer may take."
    )
    tcp: Annotated[
        tuple[Annotated[str, AfterValidator(_check_place)], ...], BeforeValidator(list_to_tuple)
    ] = Field(default=(), max_length=32, description='Places to connect to, like "192.0.2.1:22".')
    http: Annotated[
        tuple[Annotated[str, AfterValidator(_check_url)], ...], BeforeValidator(list_to_tuple)
    ] = Field(default=(), max_length=32, description="Addresses that must answer with a status below 400.")
