# SPDX-License-Identifier: Apache-2.0
"""How usual a field's value is in traffic that nobody would call an attack, before anything of this host's is known.

With few known-good packets a rule can look harmless only because nobody was there to be harmed. So each field has a
rough guess of the share of ordinary packets, of one lane, that carry the value; a rule is judged by these guesses until
enough good packets were seen to judge by those (:mod:`xdpwall.detection.fingerprint_search`).

The guesses err on the side of "usual". What a service's own protocol makes constant (its port, lengths, the zeros and
small numbers of a header) must weigh little; what only a tool makes constant (a source port shared by many sources, an
identification, a sequence number) or what no stack sends (a SYN without options) weighs much. They are orders of
magnitude, not measurements; only their product matters, against the share of good packets that a rule may hit.
"""

from __future__ import annotations

import math

from xdpwall.detection.fingerprint_fields import BY_NAME, DATA, TAIL, Span, Terms
from xdpwall.lanes import Lane

_TCP_LANES = (Lane.SYN, Lane.TCP)
_RST = 0x04
_USUAL_FLAGS = {Lane.SYN: (0x02, 0xC2), Lane.TCP: (0x10, 0x11, 0x18, 0x19)}
"""SYN, with and without the bits of ECN; ACK, and what goes with it in a connection."""
_CONTENT_BITS = {Lane.ICMP: 2.0}
"""No content tells more than 16 bits; that of pings next to nothing, for each system fills all of its pings alike."""

_TTL_MASS = (
    (1, 35, 0.02),
    (36, 64, 0.55),
    (65, 95, 0.01),
    (96, 128, 0.36),
    (129, 199, 0.01),
    (200, 255, 0.05),
)
"""Stacks begin at 64, 128 or 255, and few paths are longer than 30 hops."""
_LENGTH_MASS = (
    (0, 63, 0.3),
    (64, 127, 0.3),
    (128, 511, 0.2),
    (512, 1199, 0.05),
    (1200, 1500, 0.14),
    (1501, 65535, 0.01),
)
_PORT_MASS = ((0, 1023, 0.01), (1024, 32767, 0.24), (32768, 65535, 0.75))


def usual(terms: Terms, lane: Lane) -> float:
    """The guessed share of ordinary packets of the lane that match all terms, from 0 to 1.

    Fields that come from the same hand are not independent, so of each group only the least usual one counts: the
    sender's stack, the content. Groups, and the numbers that a stack draws at random, are multiplied.
    """
    stack, content, product = 1.0, 1.0, 1.0
    payload_bits = options_bits = 0.0
    payload_end = _payload_end(terms, lane)
    for column, value in terms.values.items():
        if column in TAIL:
            if value == 0 and column >= payload_end:
                continue  # no byte at all, as far as we know
            if lane in _TCP_LANES and column not in DATA:
                options_bits += _byte_bits(value)
            else:
                payload_bits += _byte_bits(value)
        elif column in _DRAWN:
            product *= _drawn(column, value, lane)
        elif column == _LENGTH:
            content = min(content, 0.5 if lane in _TCP_LANES else 0.1)
        elif column == _TARGET_PORT and lane in (Lane.UDP, Lane.FRAGMENT, *_TCP_LANES):
            continue  # the service itself
        elif column == _SOURCE_PORT:
            product *= _port(value, terms.values.get(_TARGET_PORT), lane)
        else:
            stack = min(stack, _stack(column, value, lane))
    for column, span in terms.spans.items():
        if column == _TTL:
            stack = min(stack, _mass(_TTL_MASS, span))
        elif column == _LENGTH:
            content = min(content, max(0.1, _mass(_LENGTH_MASS, span)))
        else:
            product *= _mass(_PORT_MASS, span)
    content = min(content, math.exp2(-min(payload_bits, _CONTENT_BITS.get(lane, 16.0))))
    # Stacks are few, and each sends the same options in all its SYNs: alone they hardly tell anything.
    stack = min(stack, 0.3 if options_bits else 1.0)
    return stack * content * product


def _payload_end(terms: Terms, lane: Lane) -> int:
    """The first column of the tail that is beyond the end of every packet that matches."""
    if lane in _TCP_LANES or _LENGTH not in terms.values:
        return TAIL[0]
    return TAIL[0] + max(0, terms.values[_LENGTH] - (48 if terms.values.get(_VERSION) == 6 else 28))


def _byte_bits(value: int) -> float:
    """What a constant byte tells. Headers are full of zeros and small numbers, and protocols are made of text."""
    if value == 0 or 0x20 <= value < 0x7F:
        return 0.15
    if value <= 3 or value == 0xFF:
        return 0.5
    return 1.0 if value < 0x20 else 3.0


def _mass(table: tuple[tuple[int, int, float], ...], span: Span) -> float:
    low, high = span
    total = 0.0
    for start, end, weight in table:
        shared = min(high, end) - max(low, start) + 1
        if shared > 0:
            total += weight * shared / (end - start + 1)
    return min(1.0, total)


def _drawn(column: int, value: int, lane: Lane) -> float:
    """Numbers that a stack draws or counts, so that many sources never share one."""
    if column == _ID:
        return 1.0 if value == 0 else 1e-3
    if column in _ACKNOWLEDGEMENTS:
        # A SYN acknowledges nothing, and so does a RST that answers one.
        return 1.0 if value == 0 else 1e-3
    if lane is Lane.ICMP:
        return 0.3 if value in (0, 1) else 1e-2
    return 1e-2 if value == 0 else 1e-3


def _port(value: int, target: int | None, lane: Lane) -> float:
    if lane is Lane.ICMP:  # type and code
        return {0x0800: 1.0, 0x8000: 1.0, 0x0000: 0.1, 0x8100: 0.1}.get(value, 0.2)
    if lane not in (Lane.UDP, Lane.FRAGMENT, *_TCP_LANES) or value == 0:
        return 1.0  # later fragments have none
    # NTP, IKE, SIP, syslog: clients that send from the very port that they send to.
    return 0.3 if value == target else 1e-3


def _stack(column: int, value: int, lane: Lane) -> float:
    if column == _TTL:
        return max(0.02, _mass(_TTL_MASS, (value, value)))
    if column == _FLAGS:
        if value in _USUAL_FLAGS.get(lane, (value,)):
            return 1.0
        return 0.2 if value & _RST else 0.02
    if column == _DATA_OFFSET:
        # Every stack of the last thirty years sends at least its MSS with a SYN.
        return 1e-3 if lane is Lane.SYN and value >> 4 == 5 else 1.0
    if column == _WINDOW:
        return (0.01 if lane is Lane.SYN else 0.5) if value == 0 else 0.3
    if column == _PROTOCOL:
        return 0.2 if lane is Lane.OTHER else 1.0
    known = _ODDITY.get(column)
    return 1.0 if known is None or value in known[0] else known[1]


_PROTOCOL, _VERSION, _SERVICE, _TTL, _ID = (
    BY_NAME[name] for name in ("protocol", "version", "service", "ttl", "id")
)
_FLAGS4, _OFFSET, _FLAGS = (BY_NAME[name] for name in ("flags4", "offset", "flags"))
_DATA_OFFSET, _WINDOW, _URGENT = (BY_NAME[name] for name in ("data_offset", "window", "urgent"))
_LENGTH, _IP_HEADER = BY_NAME["length"], BY_NAME["ip_header"]
_ODDITY: dict[int, tuple[tuple[int, ...], float]] = {
    _SERVICE: ((0, 2), 0.1),
    _IP_HEADER: ((0x45, 0x60), 0.01),
    _FLAGS4: ((0, 0x4000), 0.01),
    _OFFSET: ((0,), 0.2),
    _URGENT: ((0,), 0.01),
}
"""Columns with a few usual values, and how usual all others are together."""
_SOURCE_PORT, _TARGET_PORT = BY_NAME["source_port"], BY_NAME["target_port"]
_ACKNOWLEDGEMENTS = (BY_NAME["acknowledgement"], BY_NAME["acknowledgement_low"])
_DRAWN = (_ID, BY_NAME["sequence"], BY_NAME["sequence_low"], *_ACKNOWLEDGEMENTS)


def bits(column: int, value: int, lane: Lane) -> float:
    """What a single field tells, in bits: 0 for what every packet of the lane has."""
    return -math.log2(max(usual(Terms({column: value}, {}), lane), 1e-9))
