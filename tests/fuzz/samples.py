# SPDX-License-Identifier: Apache-2.0
"""Each reader of ``readers.py``: good input, and how it is made to read."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

import numpy as np

from tests.bpf.packets import packed
from tests.fuzz.seeds import CORPUS, read_hex
from tests.unit.incident import hostile
from tests.unit.incident.sample import incident
from xdpwall.config import Config
from xdpwall.config_text import reference
from xdpwall.control import protocol
from xdpwall.dataplane import frames, loaded, netlink, samples, sockets
from xdpwall.errors import InputError, XdpwallError
from xdpwall.fingerprint import SIZE, features
from xdpwall.incident import render
from xdpwall.incident.model import Incident
from xdpwall.incident.origin_mmdb import MmdbLookup
from xdpwall.incident.origin_mmdb import read as read_mmdb
from xdpwall.incident.origin_table import OriginTable, Part, Ranges, write_table
from xdpwall.interface.cli.incident_screen import draw_incident
from xdpwall.interface.cli.prefixes import parse_lines
from xdpwall.lab.botnet import Target
from xdpwall.lab.capture import read as read_for_lab
from xdpwall.lanes import Lane
from xdpwall.model import Prefix, parse_duration_ms
from xdpwall.pcap import Reader as CaptureReader

Entry = tuple[Callable[[], Iterable[bytes]], Callable[[bytes, Path], object]]


# --- texts -----------------------------------------------------------------------------------------------------------


def _configs() -> Iterator[bytes]:
    yield reference().encode()
    yield b'interfaces = ["eth0"]\npolicy = "observe"\n[limits.source]\npps = 5000\n[bans]\ntime = "10m"\n'
    yield b'[lanes.syn]\npps = 1\n[[lanes.ports]]\nport = "udp/53"\npps = 5\n[allow]\nprefixes = ["192.0.2.0/24"]\n'


def _read_config(data: bytes, _: Path) -> None:
    config = Config.parse(data)
    config.dataplane_digest()
    Config.from_mapping(config.model_dump(mode="json", by_alias=True))


def _lists() -> Iterator[bytes]:
    yield b"192.0.2.1\n192.0.2.0/24 # a comment\n\n2001:db8::/32\n2001:db8::1\n"
    yield b"\xef\xbb\xbf10.0.0.1\r\n::ffff:1.2.3.4\r\n"


def _read_list(data: bytes, _: Path) -> None:
    for reader in (Prefix.parse, Prefix.parse_source):
        good, bad = parse_lines(data.decode("utf-8", "replace").splitlines(), reader)
        for prefix in good.values():
            if Prefix.parse(str(prefix)) != prefix:
                raise AssertionError(f"{prefix} is not read back")
        if any(not line.message for line in bad):
            raise AssertionError("a line is bad for no reason")


def _read_duration(data: bytes, _: Path) -> None:
    with contextlib.suppress(UnicodeDecodeError):
        parse_duration_ms(data.decode())


# --- the control socket ----------------------------------------------------------------------------------------------


def _requests() -> Iterator[bytes]:
    yield protocol.encode_request("ping", {})
    yield protocol.encode_request("ban.add", {"items": [{"prefix": "192.0.2.1", "for_ms": 5}], "reason": "x"})
    yield protocol.encode_request("sources", {"limit": 5, "sort": "pps"})
    yield protocol.encode_request("incident.show", {"id": 3})
    yield protocol.encode_request("ban.del", {"prefixes": ["192.0.2.0/24"]})


def _read_request(data: bytes, _: Path) -> None:
    op, args = protocol.decode_request(data)
    protocol.encode_result({"op": op, **args})


def _answers() -> Iterator[bytes]:
    yield protocol.encode_result({"bans": [], "n": 1})
    yield protocol.encode_error(InputError("no", hint="never"))
    error = {
        "message": "no",
        "hint": None,
        "exit_code": 2,
        "config": {"path": "x", "problems": [{"key": "a", "line": 1, "message": "m"}]},
    }
    yield json.dumps({"schema": 1, "ok": False, "error": error}).encode()


def _read_answer(data: bytes, _: Path) -> None:
    with contextlib.suppress(XdpwallError):  # its words are the controller's, or none
        protocol.decode_answer(data)


# --- captures --------------------------------------------------------------------------------------------------------


def _captures() -> Iterator[bytes]:
    packets = read_hex(CORPUS / "captures.hex")[::8]
    for order in "<>":
        for link in (1, 101, 113, 276, 0):
            head = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link)
            yield head + b"".join(
                struct.pack(order + "IIII", 1_600_000_000 + n, n, len(p), len(p) + n % 2) + p
                for n, p in enumerate(packets)
            )
        section = _block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
        option = struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0)
        interface = _block(order, 1, struct.pack(order + "HHI", 1, 0, 65_535) + option)
        yield (
            section
            + interface
            + b"".join(
                _block(order, 6, struct.pack(order + "IIIII", 0, 5, n, len(p), len(p)) + p)
                + _block(order, 3, struct.pack(order + "I", len(p)) + p)
                for n, p in enumerate(packets)
            )
        )


def _block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def _read_capture(data: bytes, folder: Path) -> None:
    path = folder / "capture"
    path.write_bytes(data)
    for packet in CaptureReader(path):
        seen = frames.read(packet.frame)
        if packet.length < len(packet.frame) or not seen.what:
            raise AssertionError(f"{packet}")


_TARGET = Target(bytes.fromhex("027877000001"), packed("198.51.100.1"), packed("2001:db8:1::1"), 443)


def _read_replay(data: bytes, folder: Path) -> None:
    path = folder / "capture"
    path.write_bytes(data)
    capture = read_for_lab(path, _TARGET)
    capture.describe()
    if not capture.frames:
        raise AssertionError("nothing to send, and no error")


# --- databases -------------------------------------------------------------------------------------------------------


def _tables() -> Iterator[bytes]:
    part = Part("test", "2026-01-01", "CC0-1.0", "nobody")
    ranges = {
        ("country", 4): Ranges(np.array([0, 10, 20], np.uint32), np.array([0, 21077, 0], np.uint16)),
        ("country", 6): Ranges(np.array([0, 1 << 60], np.uint64), np.array([0, 17477], np.uint16)),
        ("network", 4): Ranges(np.array([0, 10, 20], np.uint32), np.array([0, 64500, 0], np.uint32)),
        ("network", 6): Ranges(np.array([0, 1 << 60], np.uint64), np.array([0, 64501], np.uint32)),
    }
    yield write_table({"country": part, "network": part}, ranges, {64500: "One", 64501: "Two"})  # type: ignore[arg-type]
    yield write_table({"country": part, "network": part}, ranges, {})  # type: ignore[arg-type]


def _read_table(data: bytes, folder: Path) -> None:
    path = folder / "table"
    path.write_bytes(data)
    table = OriginTable.open(path)
    table.rows()
    for part in table.parts.values():
        date.fromisoformat(part.date)
    for call in (
        lambda: table.ranges("country", 4).find(np.array([5, 15, 1 << 31], np.uint64)),
        lambda: table.ranges("network", 6).find(np.array([5, 1 << 61], np.uint64)),
        lambda: table.names([64500, 7]),
        table.all_names,
    ):
        with contextlib.suppress(InputError):
            call()


def _mmdbs() -> Iterator[bytes]:
    import tempfile

    from mmdb_writer import MMDBWriter
    from netaddr import IPSet

    for number, record in enumerate(
        (
            {"country": {"iso_code": "NL"}},
            {"autonomous_system_number": 64500, "autonomous_system_organization": "One"},
            {"country_code": "DE", "asn": "AS64501"},
        )
    ):
        writer = MMDBWriter(
            ip_version=6, ipv4_compatible=True, database_type="test", description="of the tests"
        )
        writer.insert_network(IPSet([f"192.0.{number}.0/24", "2001:db8::/32"]), record)
        with tempfile.NamedTemporaryFile() as file:
            writer.to_db_file(file.name)
            yield Path(file.name).read_bytes()


def _read_mmdb(data: bytes, folder: Path) -> None:
    path = folder / "table.mmdb"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        read_mmdb(path)
    lookup = MmdbLookup.open(path)
    try:
        lookup.find(np.array([0xC0000001, 0xC0000101, 5], np.uint64), 4)
        lookup.find(np.array([0x20010DB800000000], np.uint64), 6)
        lookup.names()
    finally:
        lookup.close()


# --- records ---------------------------------------------------------------------------------------------------------


def _records() -> Iterator[bytes]:
    yield json.dumps(incident().to_json()).encode()
    yield json.dumps(Incident(id=1, key="x", state="open", opened_ms=1).to_json()).encode()


def _read_record(data: bytes, _: Path) -> None:
    """As from the database: what is no record is an error that the archive knows, what is one can be reported."""
    try:
        found = Incident.from_json(json.loads(data))
    except (ValueError, RecursionError):
        return
    for form in ("json", "md", "html", "ncsc"):
        render.render(found, form)


def _read_loaded(data: bytes, folder: Path) -> None:
    (folder / "loaded.json").write_bytes(data)
    paths = mock.Mock(runtime=folder)
    loaded.read(paths, mock.Mock(loaded_ms=5, config_digest=7))
    loaded.programs(paths, 5)


def _loadeds() -> Iterator[bytes]:
    config = Config().model_dump(mode="json", by_alias=True)
    yield json.dumps(
        {"schema": 1, "loaded_ms": 5, "config": config, "programs": {"eth0": {"tag": "x", "mtu": 1}}}
    ).encode()


# --- names in reports ------------------------------------------------------------------------------------------------

_HARMLESS = frozenset("\n\t")


def _names() -> Iterator[bytes]:
    """Of networks, interfaces and rules, as a database of origins or a packet may give them."""
    yield hostile.TEXT.encode()
    yield "=HYPERLINK(\"x\")\t+cmd|' /C calc'!A0 \x9b31m\u2028\u200f\ufeff\U000e0001 \x1b]0;x\x07".encode()
    yield b"<svg onload=x>]]>--> ${7*7} %s %n \\u0000 | a | b | ```\n# head\n- list\n[x]: y \xff\xfe"


def _tags(page: str) -> set[tuple[str, str | None]]:
    """Each tag of a page with each of its attributes."""
    found: set[tuple[str, str | None]] = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.update([(tag, None), *((tag, name) for name, _ in attrs)])

    Tags().feed(page)
    return found


def _read_names(data: bytes, _: Path) -> None:
    """Whatever a name is: no report and no screen gives a terminal or a browser anything to obey."""
    name = data[:400].decode("utf-8", "replace")
    with mock.patch.object(hostile, "TEXT", name):
        found = hostile.hostile(incident())
    written = {form: render.render(found, form) for form in ("md", "html", "ncsc", "json", "stix")}
    with contextlib.redirect_stdout(io.StringIO()) as screen:
        draw_incident(found)
    written["screen"] = screen.getvalue()
    for form, text in written.items():
        for char in (
            set(text) - _HARMLESS - ({"\u2060"} if form == "md" else set())
        ):  # it keeps words from being links
            if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
                raise AssertionError(f"{form} holds U+{ord(char):04X}")
    json.loads(written["json"])
    json.loads(written["stix"])
    if not _tags(written["html"]) <= _tags(render.render(incident(), "html")):
        raise AssertionError("a name became a tag")
    if Incident.from_json(json.loads(written["json"])) != found:
        raise AssertionError("the record does not come back")


# --- what the kernel says --------------------------------------------------------------------------------------------


def _dumps() -> Iterator[bytes]:
    body = (
        struct.pack("=BBBB", 2, 1, 0, 0) + struct.pack(">HH", 443, 40_000) + bytes(16) + bytes(16) + bytes(40)
    )
    listen = struct.pack("=BBBB", 2, 10, 0, 0) + struct.pack(">HH", 443, 0) + bytes(64)
    message = netlink.HEADER.pack(16 + len(body), 20, 2, 1, 0) + body
    other = netlink.HEADER.pack(16 + len(listen), 20, 2, 1, 0) + listen
    done = netlink.HEADER.pack(20, netlink.DONE, 2, 1, 0) + bytes(4)
    yield message + other + done
    yield netlink.HEADER.pack(36, netlink.ERROR, 0, 1, 0) + struct.pack("=i", -2) + bytes(16)


class _Link:
    """A netlink socket whose kernel says these bytes, then nothing."""

    def __init__(self, data: bytes) -> None:
        self._data = [data]

    def __enter__(self) -> _Link:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def settimeout(self, _: float) -> None:
        return

    def send(self, _: bytes) -> None:
        return

    def recv_into(self, buffer: memoryview) -> int:
        if not self._data:
            raise TimeoutError("nothing more")
        data = self._data.pop()
        size = min(len(data), len(buffer))
        buffer[:size] = data[:size]
        return size


def _read_dump(data: bytes, _: Path) -> None:
    with mock.patch("xdpwall.dataplane.netlink.socket.socket", lambda *_: _Link(data)):
        sockets.read_sockets()
    list(netlink.attributes(data))


def _samples() -> Iterator[bytes]:
    yield samples.SAMPLE.pack(
        5, 60, 60, 0, 2, 0, 0, 17, 0, 14, 34, bytes.fromhex("027877000001") + bytes(154)
    )


def _read_sample(data: bytes, _: Path) -> None:
    """Of any packet, but with members that the kernel's program bounds."""
    fields = list(samples.SAMPLE.unpack(data[: samples.SAMPLE.size].ljust(samples.SAMPLE.size, b"\0")))
    fields[2] = min(fields[2], len(fields[-1]), fields[1])
    fields[4] %= len(Lane)
    fields[8] %= 3
    fields[9] = (14, 18, 22)[fields[9] % 3]
    if len(features(samples.decode(tuple(fields)))) != SIZE:
        raise AssertionError("features have another length")


def _frames() -> Iterator[bytes]:
    yield from read_hex(CORPUS / "captures.hex")[::4]


def _read_frame(data: bytes, _: Path) -> None:
    seen = frames.read(data)
    if seen.source is not None:
        socket.inet_ntop(socket.AF_INET if len(seen.source) == 4 else socket.AF_INET6, seen.source)


READERS: dict[str, Entry] = {
    "config": (_configs, _read_config),
    "ban-list": (_lists, _read_list),
    "duration": (lambda: (b"90s", b"1h30m", b"perm", b"500ms"), _read_duration),
    "request": (_requests, _read_request),
    "answer": (_answers, _read_answer),
    "capture": (_captures, _read_capture),
    "replay": (_captures, _read_replay),
    "origins": (_tables, _read_table),
    "mmdb": (_mmdbs, _read_mmdb),
    "incident": (_records, _read_record),
    "names": (_names, _read_names),
    "loaded": (_loadeds, _read_loaded),
    "sock-diag": (_dumps, _read_dump),
    "sample": (_samples, _read_sample),
    "frame": (_frames, _read_frame),
}
