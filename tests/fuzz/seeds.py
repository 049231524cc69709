# SPDX-License-Identifier: Apache-2.0
"""What the fuzzer begins with: the packets of the data path's own tests, those of real attacks, and what was found."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from tests.bpf.packets import ACK, IPV4, SYN, TCP, ethernet, frame4, frame6, icmp, ipv4, tcp, udp
from tests.bpf.table import Row
from tests.bpf.talk import OURS4, OURS6, STRANGER4, STRANGER6

CORPUS = Path(__file__).with_name("corpus")
_TABLES = (
    "test_ethernet",
    "test_extensions",
    "test_fragments",
    "test_ipv4",
    "test_link",
    "test_sources",
    "test_tcp",
    "test_udp_icmp",
)
_LONGEST = 600
"""Bytes of a seed: a longer one is mostly data that nobody reads."""


def read_hex(path: Path) -> list[bytes]:
    """Packets of a file of the corpus: one a line, in hexadecimal; ``#`` begins a comment."""
    lines = path.read_text(encoding="ascii").splitlines()
    return [bytes.fromhex(line) for line in lines if line and not line.startswith("#")]


def write_hex(path: Path, packets: list[bytes], comment: str = "") -> None:
    """The reverse of :func:`read_hex`."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    path.write_text(head + "".join(f"{packet.hex()}\n" for packet in packets), encoding="ascii")


def tables() -> Iterator[bytes]:
    """Every packet of the tables in ``tests/bpf``."""
    for name in _TABLES:
        module = importlib.import_module(f"tests.bpf.{name}")
        for function in vars(module).values():
            for mark in getattr(function, "pytestmark", ()):
                if mark.name == "parametrize" and mark.args[0] == "row":
                    yield from (row.packet for row in mark.args[1] if isinstance(row, Row))
    cuts = importlib.import_module("tests.bpf.test_truncation")
    yield from (base.frame for base in cuts.BASES)
    rules = importlib.import_module("tests.bpf.test_rules")
    yield from rules.FRAMES.values()


def talks() -> Iterator[bytes]:
    """What a stranger sends to the wall's host: requests, data, answers, errors that quote a packet of ours."""
    for flags in (SYN, ACK, SYN | ACK):
        segment = tcp(flags, options=bytes.fromhex("020405b40402080a010203040000000001030307"))
        yield frame4(segment, TCP, source=STRANGER4, target=OURS4)
        yield frame6(segment, TCP, source=STRANGER6, target=OURS6)
    for payload in (udp(b"?", dport=53), udp(b"!", sport=53, dport=40000)):
        yield frame4(payload, source=STRANGER4, target=OURS4)
        yield frame6(payload, source=STRANGER6, target=OURS6)
    for quoted in (tcp(ACK, sport=443, dport=40000), udp(b"?", sport=40000), icmp(8, b"ping", ident=7)):
        for number in (TCP, 17, 1):
            inner = ipv4(quoted, number, source=OURS4, target=STRANGER4)
            error = icmp(3, inner, code=4)
            yield ethernet(ipv4(error, 1, source="192.0.2.1", target=OURS4), IPV4)


def seeds() -> list[bytes]:
    """All of them, each once, the shortest first."""
    files = [packet for path in sorted(CORPUS.glob("*.hex")) for packet in read_hex(path)]
    found = {packet for packet in (*tables(), *talks(), *files) if 14 <= len(packet) <= _LONGEST}
    return sorted(found, key=lambda packet: (len(packet), packet))
