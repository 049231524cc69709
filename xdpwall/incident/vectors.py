# SPDX-License-Identifier: Apache-2.0
"""Names for kinds of attack traffic, each with what it was told from and how sure that is.

The table says which source port belongs to which service that others abuse to reflect and amplify, and how an answer
of it begins. A port alone is weak evidence (anybody may send from it), the port with the service's own payload is
strong. Sources: the services' RFCs and documents, and the list of amplifying protocols in US-CERT alert TA14-017A.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdpwall.incident.facts import ACK, FIN, ICMP, ICMP6, PSH, RST, SYN, TCP, UDP, Facts, protocol_name
from xdpwall.lanes import Lane

Check = Callable[[bytes], bool]
_PORT_ONLY = 0.6
_PORT_AND_PAYLOAD = 0.95


@dataclass(frozen=True, slots=True)
class Name:
    """A vector's name with its reasons. ``local_port`` and ``remote_port`` where one port is part of the kind."""

    name: str
    lane: Lane
    protocol: str
    confidence: float
    why: str
    local_port: int | None = None
    remote_port: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A UDP service that answers more than it is asked. ``answer``: whether a payload looks like its answer."""

    name: str
    answer: Check | None = None


def _starts(*beginnings: bytes) -> Check:
    return lambda payload: payload.startswith(beginnings)


def _dns_answer(payload: bytes) -> bool:
    return len(payload) >= 4 and bool(payload[2] & 0x80)


def _ntp_answer(payload: bytes) -> bool:
    """Modes 4 (server), 6 and 7 with the response bit: RFC 5905, and RFC 9327 for control messages."""
    if len(payload) < 2:
        return False
    mode = payload[0] & 7
    return mode == 4 or (mode == 6 and bool(payload[1] & 0x80)) or (mode == 7 and bool(payload[0] & 0x80))


def _memcached_answer(payload: bytes) -> bool:
    return payload[8:].startswith((b"VALUE ", b"STAT ", b"END", b"ERROR", b"VERSION", b"\x81"))


def _ber_sequence(payload: bytes) -> bool:
    return payload[:1] == b"\x30"


def _printable(payload: bytes) -> bool:
    return len(payload) >= 8 and all(32 <= byte < 127 or byte in b"\r\n\t" for byte in payload[:32])


def _rpc_answer(payload: bytes) -> bool:
    return payload[4:8] == b"\x00\x00\x00\x01"


def _stun_answer(payload: bytes) -> bool:
    return payload[:1] in (b"\x01",) and payload[4:8] == b"\x21\x12\xa4\x42"


REFLECTORS: dict[int, Service] = {
    17: Service("QOTD", _printable),
    19: Service("chargen", _printable),
    53: Service("DNS", _dns_answer),
    69: Service("TFTP", _starts(b"\x00\x03", b"\x00\x05", b"\x00\x06")),
    111: Service("portmap", _rpc_answer),
    123: Service("NTP", _ntp_answer),
    137: Service("NetBIOS", _dns_answer),
    161: Service("SNMP", _ber_sequence),
    389: Service("CLDAP", _ber_sequence),
    427: Service("SLP", _starts(b"\x01", b"\x02")),
    500: Service("IKE"),
    520: Service("RIP", _starts(b"\x02")),
    1194: Service("OpenVPN", _starts(b"\x40")),
    1434: Service("MS SQL browser", _starts(b"\x05")),
    1604: Service("Citrix browser"),
    1701: Service("L2TP"),
    1900: Service("SSDP", _starts(b"HTTP/1.", b"NOTIFY ")),
    3283: Service("Apple remote desktop"),
    3389: Service("RDP over UDP"),
    3478: Service("STUN", _stun_answer),
    3702: Service("WS-Discovery", _starts(b"<")),
    4500: Service("IKE"),
    5060: Service("SIP", _starts(b"SIP/2.0 ")),
    5093: Service("Sentinel licence server"),
    5351: Service("NAT-PMP"),
    5353: Service("mDNS", _dns_answer),
    5683: Service("CoAP", _starts(*(bytes([head]) for head in range(0x40, 0x80)))),
    10001: Service("Ubiquiti discovery", _starts(b"\x01\x00", b"\x02\x06")),
    10074: Service("TP-240"),
    11211: Service("memcached", _memcached_answer),
    17185: Service("VxWorks debug agent"),
    20800: Service("game server", _starts(b"\xff\xff\xff\xff")),
    27015: Service("game server", _starts(b"\xff\xff\xff\xff")),
    27960: Service("game server", _starts(b"\xff\xff\xff\xff")),
    30718: Service("Lantronix"),
    32414: Service("Plex discovery", _starts(b"HTTP/1.")),
    37810: Service("DVR discovery", _starts(b"\x20\x00\x00\x00", b"\xff")),
}
"""UDP source ports of services that are abused as reflectors."""

_LANE_NAMES = {
    Lane.SYN: ("SYN flood", "tcp"),
    Lane.TCP: ("TCP flood", "tcp"),
    Lane.UDP: ("UDP flood", "udp"),
    Lane.ICMP: ("ICMP flood", "icmp"),
    Lane.FRAGMENT: ("Fragment flood", "other"),
    Lane.OTHER: ("Flood of other protocols", "other"),
    Lane.CLOSED: ("Flood on closed ports", "other"),
}
_IP_PROTOCOLS = {2: "IGMP", 4: "IP-in-IP", 41: "6in4", 47: "GRE", 50: "ESP", 51: "AH", 132: "SCTP"}
_ICMP4 = {
    0: "ICMP echo reply reflection",
    3: "ICMP unreachable backscatter",
    8: "Ping flood",
    11: "ICMP backscatter",
}
_ICMP6 = {
    1: "ICMP unreachable backscatter",
    3: "ICMP backscatter",
    128: "Ping flood",
    129: "ICMP echo reply reflection",
}


def of_lane(lane: Lane) -> Name:
    """The name while not one sample was seen: only the lane is known."""
    name, protocol = _LANE_NAMES[lane]
    return Name(name, lane, protocol, 0.5, "told by its lane alone: no packet of it was sampled")


def of_packet(facts: Facts) -> Name:
    """The name of one sampled packet's kind."""
    if facts.later_fragment:
        return Name(
            "Fragment flood",
            Lane.FRAGMENT,
            protocol_name(facts.protocol),
            0.9,
            f"later fragments of {protocol_name(facts.protocol).upper()}: they carry no ports",
        )
    if facts.protocol == TCP:
        return _of_tcp(facts)
    if facts.protocol == UDP:
        return _of_udp(facts)
    if facts.protocol in (ICMP, ICMP6):
        names = _ICMP4 if facts.protocol == ICMP else _ICMP6
        known = None if facts.kind is None else names.get(facts.kind)
        why = f"ICMP type {facts.kind}" if facts.kind is not None else "ICMP, cut off"
        return Name(known or "ICMP flood", Lane.ICMP, "icmp", 0.9 if known else 0.7, why)
    known = _IP_PROTOCOLS.get(facts.protocol)
    name = f"{known} flood" if known else f"Flood of IP protocol {facts.protocol}"
    return Name(name, Lane.OTHER, "other", 0.9, f"IP protocol {facts.protocol}")


def _of_tcp(facts: Facts) -> Name:
    flags = facts.flags
    local, remote = facts.target_port, facts.source_port
    if flags & SYN and not flags & ACK:
        return Name("SYN flood", Lane.SYN, "tcp", 0.9, "SYN without ACK", local_port=local)
    if flags & SYN:
        known = remote is not None and remote < 1024
        why = "SYN and ACK, and nobody here had asked" + (f"; from service port {remote}" if known else "")
        return Name("SYN-ACK reflection", Lane.TCP, "tcp", 0.9 if known else 0.75, why)
    for flag, name in ((RST, "RST flood"), (FIN, "FIN flood")):
        if flags & flag:
            return Name(name, Lane.TCP, "tcp", 0.85, f"{name[:3]} of no known connection", local_port=local)
    if flags & ACK:
        name = "PSH-ACK flood" if flags & PSH else "ACK flood"
        return Name(name, Lane.TCP, "tcp", 0.85, "ACK of no known connection", local_port=local)
    return Name("TCP flag flood", Lane.TCP, "tcp", 0.8, f"TCP flags 0x{flags:02x}", local_port=local)


def _of_udp(facts: Facts) -> Name:
    remote, local = facts.source_port, facts.target_port
    service = None if remote is None else REFLECTORS.get(remote)
    if service is not None and remote is not None:
        if service.answer is not None and service.answer(facts.payload):
            why = f"from UDP port {remote}, and the payload is an answer of {service.name}"
            return Name(
                f"{service.name} reflection", Lane.UDP, "udp", _PORT_AND_PAYLOAD, why, remote_port=remote
            )
        if service.answer is None or not facts.payload:
            why = f"from UDP port {remote}; the payload was not looked at"
            return Name(f"{service.name} reflection", Lane.UDP, "udp", _PORT_ONLY, why, remote_port=remote)
    if local == 53 and len(facts.payload) >= 4 and not facts.payload[2] & 0x80:
        return Name("DNS query flood", Lane.UDP, "udp", 0.8, "DNS questions to port 53", local_port=53)
    why = "UDP that nobody here had asked for"
    if service is not None:
        why += f"; from port {remote} of {service.name}, but the payload is none of its answers"
    return Name("UDP flood", Lane.UDP, "udp", 0.8, why)
