# SPDX-License-Identifier: Apache-2.0
"""What would become of a source's packets, and why: asked of a twin of the wall, which no packet meets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xdpwall.dataplane import buckets, frames
from xdpwall.dataplane.keys import meter_key, source_key
from xdpwall.dataplane.twin import XDP_DROP, XDP_TX, Judged, Twin
from xdpwall.errors import InputError
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

if TYPE_CHECKING:
    from xdpwall.snapshot import MeterSnapshot

PROTOCOLS = ("tcp", "udp", "icmp")
_LIKELY = {"tcp": (443, 80, 22, 25), "udp": (53, 443, 123)}
_UNLIKELY = (9, 81, 7, 19, 4_444)
_MALFORMED = range(Reason.TRUNCATED, Reason.ICMP_HEADER + 1)
_STAGES: dict[Reason, str] = {
    Reason.PASS_NOT_IP: "parser",
    Reason.PASS_LINK: "link",
    Reason.SOURCE_OWN: "own addresses",
    Reason.PASS_ALLOWED: "allowlist",
    Reason.BANNED_SOURCE: "banned sources",
    Reason.BANNED_PREFIX: "banned prefixes",
    Reason.PASS: "none",
    Reason.PASS_FLOW: "known flows",
    Reason.PASS_SOLICITED: "solicited packets",
    Reason.PASS_PROVEN: "proven sources",
    Reason.PASS_HANDSHAKE: "handshakes",
    Reason.COOKIE_SENT: "SYN cookies",
    Reason.FINGERPRINT: "fingerprint rules",
}


def stage_of(reason: Reason) -> str:
    """The stage of the wall that gives this reason, in the words of the guide."""
    if reason in _STAGES:
        return _STAGES[reason]
    if reason in _MALFORMED:
        return "malformed packets"
    if reason.name.startswith("SOURCE_"):
        return "limits of a source"
    if reason.name.startswith("PREFIX_"):
        return "limits of a prefix"
    return "lane budgets"


def verdict_of(judged: Judged) -> str:
    """``pass``, ``drop`` or ``answer`` (the wall sends an answer itself)."""
    return {XDP_DROP: "drop", XDP_TX: "answer"}.get(judged.verdict, "pass")


def as_object(judged: Judged) -> dict[str, Any]:
    """A verdict with its reason, for JSON. ``would_drop``: only ``policy = "observe"`` let it pass."""
    verdict = verdict_of(judged)
    found: dict[str, Any] = {
        "verdict": verdict,
        "reason": judged.reason.label,
        "stage": stage_of(judged.reason),
        "meaning": judged.reason.meaning,
    }
    if verdict == "pass" and judged.reason.drops:
        found["would_drop"] = True
    return found


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask about.

    Args:
        source: the address, packed.
        target: the address of this host that it sends to, packed, of the same family.
        protocol: one of :data:`PROTOCOLS`, None for all.
        port: the local port, None for one where somebody listens and one where nobody does.
        source_port: the port it sends from.
    """

    source: bytes
    target: bytes
    protocol: str | None = None
    port: int | None = None
    source_port: int = 40_000


def ask(twin: Twin, question: Question) -> list[dict[str, Any]]:
    """What becomes of one packet of each kind: now, and while every lane is over its budget.

    Args:
        twin: is left with its budgets spent.
        question: whose packets.
    """
    packets = _packets(question, *twin.open_ports())
    now = [twin.run(frame) for _, frame in packets]
    twin.spend_budgets()
    later = [twin.run(frame) for _, frame in packets]
    return [
        {"packet": what, **as_object(first), "over_budget": as_object(second)}
        for (what, _), first, second in zip(packets, now, later, strict=True)
    ]


def _packets(question: Question, tcp: Collection[int], udp: Collection[int]) -> list[tuple[str, bytes]]:
    source, target = question.source, question.target
    version = 4 if len(source) == 4 else 6
    found: list[tuple[str, bytes]] = []

    def add(what: str, protocol: int, payload: bytes, *, later_fragment: bool = False) -> None:
        found.append((what, frames.frame(source, target, protocol, payload, later_fragment=later_fragment)))

    if question.protocol in (None, "tcp"):
        for port, state in _ports(question.port, tcp, "tcp"):
            for name, flags in (("SYN", frames.SYN), ("ACK", frames.ACK)):
                payload = frames.tcp(flags, port, source_port=question.source_port)
                add(f"TCP {name} to port {port} ({state})", frames.TCP, payload)
    if question.protocol in (None, "udp"):
        for port, state in _ports(question.port, udp, "udp"):
            payload = frames.udp(port, source_port=question.source_port)
            add(f"UDP to port {port} ({state})", frames.UDP, payload)
    if question.protocol in (None, "icmp") and question.port is None:
        add("ICMP echo request (ping)", frames.ICMP if version == 4 else frames.ICMPV6, frames.echo(version))
    if question.protocol is None and question.port is None:
        add("a later fragment of UDP", frames.UDP, bytes(64), later_fragment=True)
    return found


def _ports(wanted: int | None, open_: Collection[int], protocol: str) -> list[tuple[int, str]]:
    """Ports to try, each with a word about it."""
    if wanted is not None:
        return [(wanted, "somebody listens" if wanted in open_ else "nobody listens")]
    found = []
    listening = next((port for port in _LIKELY[protocol] if port in open_), min(open_, default=None))
    if listening is not None:
        found.append((listening, "somebody listens"))
    closed = next((port for port in _UNLIKELY if port not in open_), None)
    if closed is not None:
        found.append((closed, "nobody listens"))
    return found


def meters(twin: Twin, source: Prefix) -> dict[str, Any]:
    """What the twin has counted of the source and of its prefix, with the limits. None where it was never metered."""
    limits = buckets.of_config(twin.config)
    wide = Prefix.covering(source.packed, 24 if source.version == 4 else 48)
    wall, kept = twin.wall, twin.config.lanes.enabled
    return {
        "source": _meter(wall.sources(), source_key(source), str(source), limits[0], reserve=kept),
        "prefix": _meter(wall.prefixes(), meter_key(wide), str(wide), limits[1], reserve=kept),
        "limits": {
            "source": _limits(twin.config.limits.source),
            "prefix": _limits(twin.config.limits.prefix),
        },
    }


def lanes(twin: Twin) -> list[dict[str, Any]]:
    """Each lane's budget, what is left of it at this moment, and its totals since load."""
    counts = twin.wall.lanes()
    found = []
    for state in twin.lane_states():
        count = counts.get(state.lane)
        row: dict[str, Any] = {
            "lane": state.lane.label,
            "budget_pps": state.pps,
            "budget_bps": state.bps,
            "left_percent": state.left_percent,
        }
        if count is not None:
            row |= {
                "packets": count.seen.packets,
                "over_packets": count.over.packets,
                "dropped_packets": count.dropped.packets,
            }
        found.append(row)
    return found


def busiest_cpu(twin: Twin, source: Prefix) -> int | None:
    """The CPU that met most packets of a source; None when none is on record."""
    snapshot = twin.wall.sources()
    rows = (snapshot.slots["key"] == source_key(source)).nonzero()[0]
    if not len(rows):
        return None
    most = max(rows.tolist(), key=lambda row: int(snapshot.slots["packets"][row]))
    return int(most) // (len(snapshot.slots) // twin.wall.info.cpus)


def _limits(section: Any) -> dict[str, int]:
    return {name: getattr(section, name) for name in ("pps", "bps", "syn", "udp", "icmp")}


def _meter(
    snapshot: MeterSnapshot, key: int, name: str, limits: buckets.Buckets, *, reserve: bool
) -> dict[str, Any] | None:
    rows = snapshot.slots[snapshot.slots["key"] == key]
    if not len(rows):
        return None
    found: dict[str, Any] = {"prefix": name}
    for column in ("packets", "bytes", "syn", "udp", "icmp", "fragments", "drops"):
        found[column] = int(rows[column].sum())
    ages = [(snapshot.now_tick - int(row)) & 0xFFFFFFFF for row in (*rows["first"], *rows["last"])]
    found["first_seen_ms"] = max(ages) * 1000 // snapshot.tick_hz
    found["last_seen_ms"] = min(ages) * 1000 // snapshot.tick_hz
    # Each CPU has buckets of its own; the emptiest says what the next packet may meet. They fill with the next packet.
    # What is kept for known flows lies below (bpf/reserve.h), and is nothing to a packet that is of none.
    quiet = [(snapshot.now_tick - int(last)) & 0xFFFFFFFF for last in rows["last"]]
    found["left_percent"] = {
        name: min(
            max(
                0, min(100, (int(tokens) + ticks * bucket.rate(snapshot.tick_hz) - below) * 100 // bucket.cap)
            )
            for tokens, ticks in zip(rows[column], quiet, strict=True)
        )
        for name, column, bucket, below in (
            ("pps", "packet_tokens", limits.pps, limits.pps.cap // 4 if reserve else 0),
            ("bps", "byte_tokens", limits.bps, limits.bps.cap // 4 if reserve else 0),
            ("syn", "syn_tokens", limits.syn, 0),
        )
        if bucket.cap
    }
    return found


def own_address(version: int, given: str | None, own: Collection[bytes]) -> bytes:
    """The address of this host that packets are made out to.

    Args:
        version: 4 or 6.
        given: what the user said, None for any of the host's.
        own: the host's addresses, packed.

    Raises:
        InputError: what was given is no single address of this family.
    """
    if given is not None:
        prefix = Prefix.parse(given)
        if prefix.version != version or prefix.length != len(prefix.packed) * 8:
            raise InputError(f"--to: {given!r} is no single IPv{version} address")
        return prefix.packed
    # No broadcast address, as far as one can see.
    usable = [packed for packed in own if len(packed) == (4 if version == 4 else 16) and packed[-1] != 255]
    if usable:
        return min(usable)
    return bytes([192, 0, 2, 1]) if version == 4 else Prefix.parse("2001:db8::1").packed
