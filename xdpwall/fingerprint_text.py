# SPDX-License-Identifier: Apache-2.0
"""A fingerprint's pattern in words, for the command line, the journal and reports."""

from __future__ import annotations

from xdpwall import fingerprint as fp
from xdpwall.fingerprint import SIZE, Pattern
from xdpwall.lanes import Lane

_FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
_PROTOCOLS = {
    1: "icmp",
    2: "igmp",
    4: "ipip",
    6: "tcp",
    17: "udp",
    47: "gre",
    50: "esp",
    58: "icmpv6",
    132: "sctp",
}
_TCP_LANES = (Lane.SYN, Lane.TCP)
_HIDDEN_IF_USUAL = {fp.SERVICE: 0, fp.IP_HEADER: 0x45}


def describe(pattern: Pattern) -> str:
    """One line, what tells most first: ``udp from port 123, 468 bytes, payload d7 00 03 2a``."""
    parts = [_head(pattern)]
    parts += _network(pattern)
    if pattern.lane in _TCP_LANES:
        parts += _tcp(pattern)
    elif pattern.lane is Lane.ICMP:
        parts += _exact(pattern, fp.SOURCE_PORT, 1, "type {}")
        parts += _exact(pattern, fp.SOURCE_PORT + 1, 1, "code {}")
        parts += _exact(pattern, fp.SEQUENCE, 2, "id {}")
        parts += _exact(pattern, fp.SEQUENCE + 2, 2, "sequence {}")
    if pattern.lane not in _TCP_LANES:
        parts += _bytes(pattern, fp.TAIL, SIZE, "payload")
    return ", ".join(parts)


def _head(pattern: Pattern) -> str:
    protocol = _PROTOCOLS.get(pattern.value[fp.PROTOCOL], f"protocol {pattern.value[fp.PROTOCOL]}")
    if not pattern.mask[fp.PROTOCOL]:
        protocol = {Lane.SYN: "tcp", Lane.TCP: "tcp", Lane.UDP: "udp", Lane.ICMP: "icmp"}.get(
            pattern.lane, "ip"
        )
    text = f"{protocol} fragment" if pattern.lane is Lane.FRAGMENT else protocol
    if pattern.lane is Lane.ICMP:
        return text
    source, target = _number(pattern, fp.SOURCE_PORT, 2), _number(pattern, fp.TARGET_PORT, 2)
    if source is not None:
        text += f" from port {source}"
    elif pattern.source_port is not None:
        text += f" from ports {_span(pattern.source_port)}"
    return text if target is None else f"{text} to port {target}"


def _network(pattern: Pattern) -> list[str]:
    parts = _exact(pattern, fp.LENGTH, 2, "{} bytes")
    if pattern.length is not None:
        parts.append(f"{_span(pattern.length)} bytes")
    parts += _exact(pattern, fp.TTL, 1, "ttl {}")
    if pattern.ttl is not None:
        parts.append(f"ttl {_span(pattern.ttl)}")
    parts += _exact(pattern, fp.ID, 2, "ip id {}")
    mask, value = (
        int.from_bytes(part[fp.FRAGMENT : fp.FRAGMENT + 2], "big") for part in (pattern.mask, pattern.value)
    )
    if mask & 0x4000:
        parts.append("df" if value & 0x4000 else "no df")
    if mask & 0x1FFF and value & 0x3FFF:
        parts.append(
            f"fragment offset {(value & 0x1FFF) * 8 if pattern.value[fp.VERSION] != 6 else value & 0xFFF8}"
        )
    for at, form in ((fp.SERVICE, "tos {:#04x}"), (fp.IP_HEADER, "ip header {:#04x}")):
        if pattern.mask[at] and pattern.value[at] not in (_HIDDEN_IF_USUAL[at], 0x60):
            parts.append(form.format(pattern.value[at]))
    return parts


def _tcp(pattern: Pattern) -> list[str]:
    parts: list[str] = []
    if pattern.mask[fp.FLAGS]:
        flags = pattern.value[fp.FLAGS]
        parts.append(
            "flags " + ("|".join(name for bit, name in enumerate(_FLAG_NAMES) if flags >> bit & 1) or "none")
        )
    parts += _exact(pattern, fp.WINDOW, 2, "window {}")
    for at, name in ((fp.SEQUENCE, "sequence"), (fp.ACKNOWLEDGEMENT, "acknowledgement")):
        mask, value = (int.from_bytes(part[at : at + 4], "big") for part in (pattern.mask, pattern.value))
        if mask and not (name == "acknowledgement" and value == 0 and pattern.lane is Lane.SYN):
            parts.append(f"{name} {value:#x}" + ("" if mask == 0xFFFFFFFF else f"/{mask:#010x}"))
    header = pattern.value[fp.DATA_OFFSET] >> 4
    if pattern.mask[fp.DATA_OFFSET] and header == 5:
        parts.append("no options")
    else:
        end = fp.TAIL + min(24, header * 4 - 20) if pattern.mask[fp.DATA_OFFSET] else fp.DATA
        parts += _bytes(pattern, fp.TAIL, end, "options")
    if any(pattern.value[fp.DATA :]):
        parts += _bytes(pattern, fp.DATA, SIZE, "payload")
    return parts


def _bytes(pattern: Pattern, start: int, end: int, name: str) -> list[str]:
    """Hex, with dots for bytes that may be any; zeros at the end, which may be none at all, are left out."""
    shown = [f"{pattern.value[at]:02x}" if pattern.mask[at] else ".." for at in range(start, end)]
    while shown and shown[-1] in ("..", "00"):
        shown.pop()
    return [f"{name} {' '.join(shown)}"] if shown else []


def _number(pattern: Pattern, at: int, size: int) -> int | None:
    if any(byte != 0xFF for byte in pattern.mask[at : at + size]):
        return None
    return int.from_bytes(pattern.value[at : at + size], "big")


def _exact(pattern: Pattern, at: int, size: int, form: str) -> list[str]:
    number = _number(pattern, at, size)
    return [] if number is None else [form.format(number)]


def _span(limits: tuple[int, int]) -> str:
    return f"{limits[0]}-{limits[1]}"
