# SPDX-License-Identifier: Apache-2.0
"""TCP: every set of flags, every header length, ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.bpf.packets import ACK, CWR, ECE, FIN, PSH, RST, SYN, TCP, URG, frame4, frame6, tcp
from tests.bpf.scene import DROP, PASS, Probe
from tests.bpf.table import Row, drops, passes, rows
from xdpwall.reasons import Reason

Frame = Callable[[bytes, int], bytes]
FAMILIES: dict[str, Frame] = {"ipv4": frame4, "ipv6": frame6}
NAMES = {FIN: "FIN", SYN: "SYN", RST: "RST", PSH: "PSH", ACK: "ACK", URG: "URG"}


def is_possible(flags: int) -> bool:
    """What a stack can send, from RFC 9293 section 3.10 and 3.5.

    A segment opens (SYN), closes (FIN), resets (RST) or just carries data: never two of these at once. Only an opening
    SYN and a reset may come without ACK. Urgent data go with data or a close, or in an opening SYN; a reset and the
    answer to a SYN carry none. PSH, ECE and CWR have no say.
    """
    opens, closes, resets = bool(flags & SYN), bool(flags & FIN), bool(flags & RST)
    acknowledges, urgent = bool(flags & ACK), bool(flags & URG)
    if opens + closes + resets > 1:
        return False
    if not acknowledges:
        return opens or (resets and not urgent)
    return not urgent or not (opens or resets)


def flags_name(flags: int) -> str:
    """For example ``SYN|ACK``."""
    return "|".join(name for bit, name in NAMES.items() if flags & bit) or "none"


@pytest.mark.parametrize("flags", range(64), ids=flags_name)
@pytest.mark.parametrize("family", FAMILIES)
def test_flags(probe: Probe, family: str, flags: int) -> None:
    """All 64 sets of the classic six, each with every state of the two for congestion."""
    expected = (PASS, Reason.PASS) if is_possible(flags) else (DROP, Reason.TCP_FLAGS)
    for congestion in (0, ECE, CWR, ECE | CWR):
        assert probe.run(FAMILIES[family](tcp(flags | congestion), TCP)) == expected


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("null scan", 0),
        ("fin scan", FIN),
        ("xmas scan", FIN | PSH | URG),
        ("all flags", 63),
        ("syn fin", SYN | FIN),
        ("syn rst", SYN | RST),
        ("psh alone", PSH),
        ("urg alone", URG),
    ],
)
def test_scans_that_people_know(probe: Probe, name: str, flags: int) -> None:
    assert probe.run(frame4(tcp(flags), TCP)) == (DROP, Reason.TCP_FLAGS)


@pytest.mark.parametrize(
    "flags", [SYN, SYN | ACK, ACK, PSH | ACK, FIN | ACK, FIN | PSH | ACK, RST, RST | ACK, PSH | ACK | URG]
)
def test_flags_of_every_day(probe: Probe, flags: int) -> None:
    assert probe.run(frame4(tcp(flags), TCP)) == (PASS, Reason.PASS)


def data_offset_table() -> Iterator[Row]:
    """Every value of the data offset over every length around it."""
    for family, build in FAMILIES.items():
        for words in range(16):
            for size in sorted({0, 20, 24, 40, 59, 60, 64, max(0, words * 4 - 1), words * 4}):
                segment = tcp(ACK, words=words)[:20].ljust(size, b"\0")[:size]
                frame = build(segment, TCP)
                name = f"{family}: offset {words * 4} of {size} bytes"
                if size < 20:
                    yield drops(name, frame, Reason.TRUNCATED)
                elif words < 5 or words * 4 > size:
                    yield drops(name, frame, Reason.TCP_HEADER)
                else:
                    yield passes(name, frame)


@rows(data_offset_table())
def test_data_offset(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def ports_table() -> Iterator[Row]:
    """A port of zero is nobody's (RFC 6335, section 6: reserved)."""
    for family, build in FAMILIES.items():
        yield drops(f"{family}: from 0", build(tcp(SYN, sport=0), TCP), Reason.TCP_HEADER)
        yield drops(f"{family}: to 0", build(tcp(SYN, dport=0), TCP), Reason.TCP_HEADER)
        yield drops(f"{family}: both 0", build(tcp(SYN, sport=0, dport=0), TCP), Reason.TCP_HEADER)
        for port in (1, 255, 256, 65535):
            yield passes(f"{family}: from {port}", build(tcp(SYN, sport=port), TCP))
            yield passes(f"{family}: to {port}", build(tcp(SYN, dport=port), TCP))


@rows(ports_table())
def test_ports(probe: Probe, row: Row) -> None:
    assert probe.run(row.packet) == (row.verdict, row.reason)


def test_header_faults_come_before_flags(probe: Probe) -> None:
    """One packet, one reason: the first that is met."""
    assert probe.run(frame4(tcp(0, words=4), TCP)).reason is Reason.TCP_HEADER
