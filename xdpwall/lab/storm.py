# SPDX-License-Identifier: Apache-2.0
"""Makes templates for ``bpf/lab/storm.c`` out of a scenario's streams: pure functions over bytes.

A template is a whole frame. What is the same in each packet is summed up here; the program adds what it changes.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from xdpwall.lab import marks, origins, sums
from xdpwall.lab.botnet import Target
from xdpwall.lab.flood import Program
from xdpwall.lab.origins import Place
from xdpwall.lab.scenario import Storm, Stream
from xdpwall.lab.shapes.datagram import ICMP, KINDS, UDP, Datagram, Vary

MTU = 1_500
ROOM = 2_040
PICKS = 4_096
_EDITS = 10
_SHORTEST = 60
_ETHERNET = 14
_HEADER = {4: 20, 6: 40}
_FRAGMENT_HEADER = 8
_FRAGMENT = 44
_DONT_FRAGMENT, _MORE = 0x4000, 0x2000
_PSEUDO, _NEVER_ZERO = 1, 2
_SUM_HEAD, _SUM_UPPER = 1, 2
_HOPS_LOW, _HOPS = 38, 26
"""TTL of arriving packets: what is left of 64 after some ten to twenty routers."""


@dataclass(frozen=True, slots=True)
class _Edit:
    at: int
    vary: Vary
    sums: int


@dataclass(frozen=True, slots=True)
class Template:
    """One frame, as ``struct template`` has it. ``edits`` are offsets in the frame."""

    frame: bytes
    version: int
    head_sum: int
    upper_sum: int
    sum_at: int
    traits: int
    kind: int
    followed: bool
    edits: tuple[_Edit, ...]


def program(storm: Storm, target: Target, seed: int) -> Program:
    """The packet program of a storm, with the content of its maps."""
    chosen = random.Random(seed)
    rows: list[bytes] = []
    places: list[Place] = []
    lots: list[tuple[int, float]] = []
    longest = _SHORTEST
    for number, stream in enumerate(storm.streams):
        sources = len(places)
        places += origins.places(stream, seed + number)
        targets = len(places)
        places += _targets(storm, stream, target)
        pools = (sources, targets - sources, targets, len(places) - targets)
        parts = [templates(datagram, stream.version, target, number) for datagram in stream.shape]
        for datagram, chain in zip(stream.shape, parts, strict=True):
            # The share is of packets: a datagram of three fragments comes a third as often.
            packets = sum(d.weight * len(c) for d, c in zip(stream.shape, parts, strict=True))
            lots.append((len(rows), stream.share * datagram.weight / packets))
            for template in chain:
                rows.append(_row(template, number, pools, len(rows)))
                longest = max(longest, len(template.frame))
    slot = -(-longest // 8) * 8
    return Program(
        name="storm",
        defines={"TEMPLATES": len(rows), "PLACES": len(places), "SLOT": slot},
        maps={
            "templates": b"".join(rows),
            "places": b"".join(place.packed() for place in places),
            "picks": picks(lots),
            "plan": struct.pack("<QQQQII", 0, 0, chosen.getrandbits(64), 0, 0, 0),
        },
        frame=slot,
        tallies=len(storm.streams),
    )


def templates(datagram: Datagram, version: int, target: Target, number: int) -> list[Template]:
    """The frames of one datagram, in the order that they are sent: one, or its fragments.

    Args:
        datagram: what.
        version: of IP, 4 or 6.
        target: only its MAC is used.
        number: of the stream, for the mark.
    """
    ethernet = target.mac + marks.source_mac(number) + (b"\x08\x00" if version == 4 else b"\x86\xdd")
    if datagram.scrap is not None:
        return [_fragment(ethernet, datagram, version, datagram.body, datagram.scrap, followed=False)]
    if len(datagram.body) <= MTU - _HEADER[version]:
        return [_whole(ethernet, datagram, version)]
    room = MTU - _HEADER[version] - (0 if version == 4 else _FRAGMENT_HEADER)
    room -= room % 8
    found = []
    for at in range(0, len(datagram.body), room):
        last = at + room >= len(datagram.body)
        place = Vary(6, low=at // 8 | (0 if last else _MORE), span=1)
        part = datagram.body[at : at + room]
        found.append(_fragment(ethernet, datagram, version, part, place, followed=not last))
    return found


def picks(lots: list[tuple[int, float]]) -> bytes:
    """Content of the map ``picks``: each template as often as its share says, and at least once."""
    whole = sum(share for _, share in lots)
    entries: list[int] = []
    run = 0.0
    for index, share in lots:
        run += share
        count = max(1, round(run / whole * PICKS) - len(entries))
        entries += [index] * count
    return b"".join(struct.pack("<II", entry, 0) for entry in entries[:PICKS])


def _targets(storm: Storm, stream: Stream, target: Target) -> list[Place]:
    if storm.carpet and stream.version == 4:
        return [Place(address, bytes(4)) for address in origins.carpet()]
    return [Place(target.v4, bytes(4)) if stream.version == 4 else Place(target.v6, bytes(16))]


def _whole(ethernet: bytes, datagram: Datagram, version: int) -> Template:
    fragment = _DONT_FRAGMENT if datagram.dont_fragment else 0
    head, edits = _header(version, datagram.protocol, len(datagram.body), fragment)
    start = _ETHERNET + len(head)
    edits += [_upper(start, vary, datagram) for vary in datagram.vary]
    return Template(
        frame=(ethernet + head + datagram.body).ljust(_SHORTEST, b"\0"),
        version=version,
        head_sum=_words_but(head, edits, _ETHERNET),
        upper_sum=_upper_sum(datagram),
        sum_at=0 if datagram.sum_at is None else start + datagram.sum_at,
        traits=_traits(datagram),
        kind=KINDS.index(datagram.kind),
        followed=False,
        edits=tuple(edits),
    )


def _fragment(
    ethernet: bytes, datagram: Datagram, version: int, part: bytes, place: Vary, *, followed: bool
) -> Template:
    """One fragment. ``place``: IPv4's word of flags and offset. The first one has the words that differ, and the sum.

    All have the same edits before: so the same random numbers give the same identification.
    """
    if version == 4:
        head, edits = _header(4, datagram.protocol, len(part), 0)
        start = _ETHERNET + len(head)
        edits.append(_Edit(_ETHERNET + 6, place, _SUM_HEAD))
    else:
        extension = struct.pack(">BBHI", datagram.protocol, 0, 0, 0)
        head, edits = _header(6, _FRAGMENT, len(extension) + len(part), 0)
        at = _ETHERNET + len(head)
        head += extension
        start = _ETHERNET + len(head)
        edits += [_Edit(at + 4, Vary(0), 0), _Edit(at + 6, Vary(0), 0), _Edit(at + 2, _six(place), 0)]
    first = datagram.scrap is None and place.low & 0x1FFF == 0
    if first:
        edits += [_upper(start, vary, datagram) for vary in datagram.vary]
    return Template(
        frame=(ethernet + head + part).ljust(_SHORTEST, b"\0"),
        version=version,
        head_sum=_words_but(head, edits, _ETHERNET),
        upper_sum=_upper_sum(datagram) if first else 0,
        sum_at=start + datagram.sum_at if first and datagram.sum_at is not None else 0,
        traits=_traits(datagram),
        kind=KINDS.index("fragment"),
        followed=followed,
        edits=tuple(edits),
    )


def _header(version: int, protocol: int, length: int, fragment: int) -> tuple[bytes, list[_Edit]]:
    """An IP header without addresses, and what differs in it: identification or flow label, TTL."""
    if version == 4:
        head = struct.pack(">BBHHHBBH8s", 0x45, 0, 20 + length, 0, fragment, 0, protocol, 0, bytes(8))
        hops = Vary(0, low=_HOPS_LOW << 8 | protocol, span=_HOPS, step=256)
        return head, [_Edit(_ETHERNET + 4, Vary(0), _SUM_HEAD), _Edit(_ETHERNET + 8, hops, _SUM_HEAD)]
    head = struct.pack(">IHBB32s", 0x60000000, length, protocol, 0, bytes(32))
    hops = Vary(0, low=protocol << 8 | _HOPS_LOW, span=_HOPS)
    return head, [_Edit(_ETHERNET + 2, Vary(0), 0), _Edit(_ETHERNET + 6, hops, 0)]


def _upper(start: int, vary: Vary, datagram: Datagram) -> _Edit:
    return _Edit(start + vary.at, vary, _SUM_UPPER if datagram.sum_at is not None else 0)


def _six(place: Vary) -> Vary:
    """IPv4's word of flags and offset as IPv6's: the offset three bits up, the flag at the end."""
    more = 1 if place.low & _MORE else 0
    return Vary(0, low=(place.low & 0x1FFF) << 3 | more, span=place.span, step=place.step << 3)


def _words_but(head: bytes, edits: list[_Edit], start: int) -> int:
    """Sum of an IPv4 header without its edited words; of IPv6, which has none, a number that nobody uses."""
    cleared = bytearray(head)
    for edit in edits:
        if start <= edit.at < start + len(head):
            cleared[edit.at - start : edit.at - start + 2] = bytes(2)
    return sums.words(bytes(cleared))


def _upper_sum(datagram: Datagram) -> int:
    """Sum of the whole datagram without its edited words, and of the pseudo header without the addresses."""
    cleared = bytearray(datagram.body)
    for vary in datagram.vary:
        cleared[vary.at : vary.at + 2] = bytes(2)
    total = sums.words(bytes(cleared))
    if datagram.protocol != ICMP:
        total += sums.words(struct.pack(">II", len(datagram.body), datagram.protocol))
    return total


def _traits(datagram: Datagram) -> int:
    return (0 if datagram.protocol == ICMP else _PSEUDO) | (_NEVER_ZERO if datagram.protocol == UDP else 0)


def _row(template: Template, number: int, pools: tuple[int, int, int, int], index: int) -> bytes:
    """``struct template``."""
    assert len(template.edits) <= _EDITS and len(template.frame) <= ROOM, (
        "a shape that the program cannot hold"
    )
    row = struct.pack(
        "<13I",
        len(template.frame),
        template.version,
        template.head_sum,
        template.upper_sum,
        template.sum_at,
        template.traits,
        index + 2 if template.followed else 0,
        number,
        template.kind,
        *pools,
    )
    for edit in template.edits:
        row += struct.pack("<IHHHH", edit.vary.span, edit.at, edit.vary.low, edit.vary.step, edit.sums)
    row += bytes(12) * (_EDITS - len(template.edits))
    return row + bytes(6) + template.frame.ljust(2_054, b"\0")
