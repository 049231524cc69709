# SPDX-License-Identifier: Apache-2.0
"""Payloads that servers send when somebody asks them in our name. Deterministic."""

from __future__ import annotations

import random
import struct

NAME = "example.com"


def dns(records: int) -> bytes:
    """A DNS answer to ANY with so many RRSIG records of RSA-2048 (RFC 4034), some 300 bytes each; id 0."""
    chosen = random.Random(records)
    question = _dns_name(NAME) + struct.pack(">HH", 255, 1)
    signer = _dns_name(NAME)
    body = b""
    for number in range(records):
        covered = (1, 2, 6, 15, 16, 48, 50, 257)[number % 8]
        signature = chosen.randbytes(256)
        data = struct.pack(
            ">HBBIIIH", covered, 8, 2, 3600, 1_700_000_000, 1_690_000_000, chosen.randrange(65_536)
        )
        data += signer + signature
        body += b"\xc0\x0c" + struct.pack(">HHIH", 46, 1, 3600, len(data)) + data
    option = b"\0" + struct.pack(">HHIH", 41, 4096, 0x8000, 0)
    # QR, RD, RA; one question, the answers, one additional record (EDNS, RFC 6891).
    return struct.pack(">HHHHHH", 0, 0x8180, 1, records, 0, 1) + question + body + option


def ntp_monlist(number: int) -> bytes:
    """One packet of the answer to MON_GETLIST_1 (mode 7, implementation 3, request 42): six peers of 72 bytes."""
    chosen = random.Random(number)
    more = 0x40
    # Response, more follow, version 2, mode 7; sequence; 6 items of 72 bytes.
    head = struct.pack(">BBBBHH", 0x80 | more | 2 << 3 | 7, number, 3, 42, 6, 72)
    items = b""
    for _ in range(6):
        items += struct.pack(
            ">IIII", chosen.randrange(90_000), chosen.randrange(90_000), 0, chosen.randrange(1_000)
        )
        items += chosen.randbytes(4) + bytes(4) + struct.pack(">IHBB", 1, 123, 3, 4) + bytes(40)
    return head + items


def memcached(number: int) -> bytes:
    """One packet of a large value: the UDP frame header (id, number, how many, 0), then 1,392 bytes of the answer."""
    total = 700
    content = random.Random(number).randbytes(1_392)
    if number == 0:
        content = (b"VALUE payload 0 974400\r\n" + content)[:1_392]
    return struct.pack(">HHHH", 0, number, total, 0) + content


def cldap(length: int) -> bytes:
    """A search result (LDAP, RFC 4511) of about so many bytes, followed by its end."""
    attributes = b""
    names = ("supportedCapabilities", "namingContexts", "supportedControl", "ldapServiceName", "dnsHostName")
    number = 0
    while len(attributes) < length - 120:
        name = names[number % len(names)]
        values = b"".join(
            _ber(0x04, f"1.2.840.113556.1.4.{number * 7 + place}".encode()) for place in range(8)
        )
        attributes += _ber(0x30, _ber(0x04, name.encode()) + _ber(0x31, values))
        number += 1
    entry = _ber(0x64, _ber(0x04, b"") + _ber(0x30, attributes))
    done = _ber(0x65, _ber(0x0A, b"\0") + _ber(0x04, b"") + _ber(0x04, b""))
    return _ber(0x30, _ber(0x02, b"\x07") + entry) + _ber(0x30, _ber(0x02, b"\x07") + done)


SSDP = (
    "upnp:rootdevice",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:Layer3Forwarding:1",
)
"""Services that a home router answers for."""


def ssdp(number: int) -> bytes:
    """The answer to a search (UPnP device architecture 1.0, 1.2.3) for one service."""
    service = SSDP[number]
    return (
        "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n"
        f"ST: {service}\r\nUSN: uuid:5c7b2f10-9d1c-4d3e-8a42-0018e7000001::{service}\r\nEXT:\r\n"
        "SERVER: Linux/2.6 UPnP/1.0 miniupnpd/1.2\r\n"
        "LOCATION: http://192.168.0.1:49152/rootDesc.xml\r\n\r\n"
    ).encode()


def _dns_name(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def _ber(tag: int, content: bytes) -> bytes:
    """An element of BER (X.690) with the shortest length that LDAP servers send."""
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x82]) + size.to_bytes(2, "big")
    return bytes([tag]) + length + content
