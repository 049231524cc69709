# SPDX-License-Identifier: Apache-2.0
"""The tables of the configuration about budgets, proof, SYN cookies and fingerprints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from xdpwall.config_sections import ROUNDED, PowerOfTwo, Section
from xdpwall.config_types import Duration, list_to_tuple, refuse


class Budget(Section):
    """What a lane may bring in all before the excess needs proof. 0 turns a budget off."""

    pps: int = Field(default=0, ge=0, le=100_000_000, description="Packets per second.")
    bps: int = Field(default=0, ge=0, le=10**12, description="Bits per second, from the Ethernet header on.")


class SynBudget(Budget):
    """Connection requests (TCP SYN). Over it the wall answers with SYN cookies, so a low budget costs users nothing."""

    pps: int = Field(default=400, ge=0, le=100_000_000, description="Packets per second.")


class TcpBudget(Budget):
    """TCP that belongs to no known connection: stray ACK, RST, FIN and SYN-ACK."""

    pps: int = Field(default=400, ge=0, le=100_000_000, description="Packets per second.")


class UdpBudget(Budget):
    """UDP that answers nothing we asked, to ports where somebody listens."""

    pps: int = Field(default=10_000, ge=0, le=100_000_000, description="Packets per second.")
    bps: int = Field(
        default=200_000_000,
        ge=0,
        le=10**12,
        description="Bits per second, from the Ethernet header on.",
    )


class IcmpBudget(Budget):
    """ICMP and ICMPv6 that we did not provoke. Neighbour discovery never counts."""

    pps: int = Field(default=400, ge=0, le=100_000_000, description="Packets per second.")


class FragmentBudget(Budget):
    """Fragments of no known flow. The host keeps each for up to 30 s and has 4 MiB for all: so few may pass."""

    pps: int = Field(default=50, ge=0, le=100_000_000, description="Packets per second.")


class OtherBudget(Budget):
    """Every other protocol (GRE, ESP, SCTP, ...) from peers that we sent none of it."""

    pps: int = Field(default=400, ge=0, le=100_000_000, description="Packets per second.")


class ClosedBudget(Budget):
    """TCP and UDP to ports where nobody listens, in place of their lane's budget."""

    pps: int = Field(default=100, ge=0, le=100_000_000, description="Packets per second.")


def _check_port(text: str) -> str:
    protocol, slash, number = text.partition("/")
    if (
        protocol not in {"tcp", "udp"}
        or not slash
        or not number.isascii()
        or not number.isdigit()
        or not 0 < int(number) < 65536
    ):
        refuse(f'"{text}" is no port; write it like "udp/53" or "tcp/443"')
    return f"{protocol}/{int(number)}"


class PortBudget(Budget):
    """A budget of one local port alone, in place of its share of the lane's. For TCP it counts connection requests."""

    port: Annotated[str, AfterValidator(_check_port)] = Field(description='Like "udp/53" or "tcp/443".')


class LanesConfig(Section):
    """Budgets for kinds of traffic. Below them the wall is invisible; above, the excess must prove that it belongs."""

    enabled: bool = Field(default=True, description="Hold lanes to their budgets.")
    burst_ms: Annotated[int, Duration("10ms", "10s")] = Field(
        default=100, alias="burst", description="How much of each budget may come at once."
    )
    closed_ports: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether ports where nobody listens have the budget of their own. "
        '"auto": unless this host forwards packets, for then it cannot know.',
    )
    ports: Annotated[tuple[PortBudget, ...], BeforeValidator(list_to_tuple)] = Field(
        default=(),
        max_length=100,
        description='Budgets of single ports, like [{port = "udp/53", pps = 50000}].',
    )
    syn: SynBudget = Field(default=SynBudget(), description="Connection requests.")
    tcp: TcpBudget = Field(default=TcpBudget(), description="TCP without a connection.")
    udp: UdpBudget = Field(default=UdpBudget(), description="UDP.")
    icmp: IcmpBudget = Field(default=IcmpBudget(), description="ICMP.")
    fragment: FragmentBudget = Field(default=FragmentBudget(), description="Fragments.")
    other: OtherBudget = Field(default=OtherBudget(), description="Other protocols.")
    closed: ClosedBudget = Field(default=ClosedBudget(), description="Ports where nobody listens.")


class ProofConfig(Section):
    """What the wall remembers of whom this host really talks to. Used only above a lane's budget."""

    capacity: Annotated[int, PowerOfTwo] = Field(
        default=262_144,
        ge=4_096,
        le=16_777_216,
        description=f"Flows and proven sources remembered at a time. {ROUNDED}",
    )
    tcp_ms: Annotated[int, Duration("10s", "1d")] = Field(
        default=3_600_000,
        alias="tcp",
        description="A connection stays known for this long after our last packet; longer while its socket is open.",
    )
    udp_ms: Annotated[int, Duration("5s", "1h")] = Field(
        default=180_000,
        alias="udp",
        description="Answers to our UDP and other packets count as asked for this long.",
    )
    icmp_ms: Annotated[int, Duration("1s", "10m")] = Field(
        default=30_000, alias="icmp", description="Answers to our pings count as asked for this long."
    )
    source_ms: Annotated[int, Duration("10s", "1d")] = Field(
        default=300_000,
        alias="source",
        description="A source counts as proven for this long after a completed handshake.",
    )
    refresh_ms: Annotated[int, Duration("1s", "10m")] = Field(
        default=5_000,
        alias="refresh",
        description="Open sockets and listening ports are read from the kernel this often.",
    )


class SynCookiesConfig(Section):
    """Answers from the NIC path to connection requests over budget, so that spoofed ones cost the host nothing."""

    enabled: bool = Field(
        default=True,
        description="Answer with SYN cookies. While it does, net.ipv4.tcp_syncookies is 2; it is put back after.",
    )
    timestamps: bool = Field(
        default=True,
        description="Keep window scaling and SACK of such connections: net.ipv4.tcp_timestamps is 2 meanwhile, too.",
    )


class FingerprintsConfig(Section):
    """Rules made from the attack's own packets: fields that they share and good traffic does not."""

    policy: Literal["enforce", "observe", "off"] = Field(
        default="enforce",
        description='"enforce" drops what matches and has no proof. "observe" counts it. "off" makes no rules.',
    )
    time_ms: Annotated[int, Duration("5s", "1d")] = Field(
        default=120_000, alias="time", description="A rule lapses after this long unless it still matches."
    )
    collateral: float = Field(
        default=0.001,
        ge=0.0,
        le=0.5,
        allow_inf_nan=False,
        description="The share of known-good packets that a rule may match at most.",
    )
