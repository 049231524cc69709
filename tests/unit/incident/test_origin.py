# SPDX-License-Identifier: Apache-2.0
"""Countries and networks of sources: the table's form, the shipped data, reserved ranges, sums, a user's own file."""

from __future__ import annotations

import ipaddress
import random
import time
from pathlib import Path
from typing import Any

import mmdb_writer
import netaddr
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpwall.dataplane.keys import source_keys
from xdpwall.errors import InputError, StoreError
from xdpwall.incident import origin_open, origin_table
from xdpwall.incident.countries import NAMES, RESERVED, UNKNOWN
from xdpwall.incident.faces import SourceTable
from xdpwall.incident.origin import believable
from xdpwall.incident.origin_open import Origins, in_use, open_book, shipped_path, update
from xdpwall.incident.origin_reserved import is_reserved
from xdpwall.incident.origin_table import (
    OriginTable,
    Part,
    Ranges,
    ReplacedError,
    merge_ranges,
    pack_country,
    unpack_country,
    write_table,
)
from xdpwall.paths import Paths

SHIPPED = OriginTable.open(shipped_path())


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """An instance whose state lies in a folder of the test's own."""
    monkeypatch.setattr(Paths, "state", property(lambda self: tmp_path / "state"))
    return Paths("geo-test")


def sources(*rows: tuple[str, int], proven: tuple[str, ...] = (), bytes_each: int = 100) -> SourceTable:
    """A table from addresses and packets."""
    keys = [source_keys([ipaddress.ip_address(address).packed])[0] for address, _ in rows]
    packets = np.array([count for _, count in rows], dtype=np.uint64)
    return SourceTable(
        np.array(keys, dtype=np.uint64),
        packets,
        packets * np.uint64(bytes_each),
        np.array([address in proven for address, _ in rows], dtype=np.bool_),
    )


def mmdb(path: Path, kind: str, rows: dict[str, dict[str, Any]]) -> Path:
    """A small MMDB file."""
    writer = mmdb_writer.MMDBWriter(
        ip_version=6, ipv4_compatible=True, database_type=kind, description="a test"
    )
    for network, record in rows.items():
        writer.insert_network(netaddr.IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


def test_well_known_addresses_are_placed_right() -> None:
    places = open_book(Paths("no-such-instance")).places(
        ["77.88.8.8", "200.160.2.3", "8.8.8.8", "2a02:6b8::/64", "2001:12ff::/64"]
    )
    assert [place.country for place in places] == ["RU", "BR", "US", "RU", "BR"]
    assert [place.asn for place in places] == [13238, 22548, 15169, 13238, 22548]
    assert places[2].as_name == "Google LLC"


def test_the_shipped_table_says_where_it_is_from() -> None:
    for part in SHIPPED.parts.values():
        assert part.name
        assert part.attribution
        assert part.licence == "CC BY 4.0"
        assert len(part.date) == 10
    assert min(SHIPPED.rows().values()) > 100_000
    assert (shipped_path().parent / "README.md").read_text().count(SHIPPED.parts["country"].date)


def test_every_country_of_the_table_has_a_name() -> None:
    found = {
        unpack_country(code)
        for family in (4, 6)
        for code in np.unique(SHIPPED.ranges("country", family).values)
    }
    # Two codes that ISO has withdrawn, which registries still use.
    assert {code for code in found if code and code not in NAMES} <= {"AN", "AP"}


def test_the_lab_and_the_table_agree() -> None:
    """What a scenario says of its bots is what a report will say of them."""
    lines = (Path(__file__).parents[3] / "xdpwall/lab/data/prefixes.txt").read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    inside = [str(ipaddress.ip_network(prefix)[random.Random(7).randrange(1, 250)]) for _, prefix in rows]
    found = open_book(Paths("no-such-instance")).places(inside)
    wrong = [row for row, place in zip(rows, found, strict=True) if place.country != row[0]]
    assert len(wrong) <= len(rows) / 100


def test_a_hundred_thousand_sources_are_cheap() -> None:
    """Not a bar on time (machines differ), but on doing it in one go: a walk address by address takes minutes."""
    random_ = np.random.default_rng(5)
    v4 = [int(n).to_bytes(4, "big") for n in random_.integers(1 << 24, 223 << 24, 80_000)]
    v6 = [(0x2A00_0000 + int(n)).to_bytes(4, "big") + bytes(12) for n in random_.integers(0, 1 << 24, 20_000)]
    keys = np.concatenate([source_keys(v4), source_keys(v6)])
    one = np.ones(len(keys), dtype=np.uint64)
    begin = time.process_time()
    origin = Origins(Paths("no-such-instance")).origin(
        SourceTable(keys, one, one, np.zeros(len(keys), dtype=np.bool_))
    )
    assert time.process_time() - begin < 20
    assert sum(share.sources for share in origin.by_country) == 100_000
    assert sum(share.packets for share in origin.by_country) == 100_000


def test_sums_are_exact_and_sorted() -> None:
    big = 1 << 60  # more than a float can count
    table = sources(
        ("77.88.8.8", big), ("77.88.8.9", 1), ("8.8.8.8", 5), ("10.0.0.1", 3), proven=("8.8.8.8",)
    )
    origin = open_book(Paths("no-such-instance")).origin(
        SourceTable(table.keys, table.packets, np.ones(4, dtype=np.uint64), table.proven)
    )
    russia, america, nowhere = origin.by_country
    assert (russia.code, russia.packets, russia.sources, russia.bytes) == ("RU", big + 1, 2, 2)
    assert (america.code, america.packets, america.handshake_packets, america.spoofable_packets) == (
        "US",
        5,
        5,
        0,
    )
    assert (nowhere.code, nowhere.packets) == (RESERVED, 3)
    assert russia.share_sources == 0.5
    assert [share.code for share in origin.by_as] == ["AS13238", "AS15169", ""]
    assert origin.by_as[0].name == "YANDEX LLC"
    assert origin.database is not None
    assert origin.database.date == "2026-06-17"
    assert "CC BY 4.0" in origin.database.licence


def test_no_source_at_all() -> None:
    origin = open_book(Paths("no-such-instance")).origin(sources())
    assert origin.by_country == origin.by_as == ()
    assert "nothing can be said" in origin.note


def test_what_cannot_be_read_is_nowhere() -> None:
    first, second = open_book(Paths("no-such-instance")).places(["not an address", "<b>"])
    assert (first.country, second.country, first.asn) == (None, None, None)


def test_six_to_four_is_placed_by_its_ipv4() -> None:
    (place,) = open_book(Paths("no-such-instance")).places(["2002:4d58:808::/64"])
    assert (place.country, place.asn) == ("RU", 13238)


@pytest.mark.parametrize(
    ("proven", "words"),
    [(0, "may be forged"), (1000, "the addresses are real"), (250, "25.0 %"), (1, "0.1 %")],
)
def test_belief_in_words(proven: int, words: str) -> None:
    assert words in believable(1000, proven)
    assert "registered" in believable(1000, proven)


@given(st.integers(0, (1 << 32) - 1))
def test_reserved_ranges_of_ipv4_are_those_of_the_standard_library(number: int) -> None:
    address = ipaddress.IPv4Address(number)
    mine = bool(is_reserved(np.array([number], dtype=np.uint64), 4)[0])
    if address in ipaddress.IPv4Network("192.0.0.0/24") or address in ipaddress.IPv4Network("192.88.99.0/24"):
        return  # versions of Python differ here
    assert mine == (not address.is_global or address.is_multicast)


@pytest.mark.parametrize(
    ("address", "reserved"),
    [
        ("10.1.2.3", True), ("100.64.0.1", True), ("100.128.0.1", False), ("172.31.255.255", True),
        ("172.32.0.0", False),
        ("198.19.0.1", True), ("223.255.255.255", False), ("224.0.0.1", True), ("255.255.255.255", True),
        ("0.0.0.0", True), ("1.0.0.0", False), ("2001:db8::1", True), ("2001:db7::1", False), ("fe80::1", True),
        ("fc00::1", True), ("ff02::1", True), ("::1", True), ("2000::1", False), ("3fff::1", True), ("4000::1", True),
        ("2a02:6b8::1", False),
    ],
)  # fmt: skip
def test_reserved(address: str, reserved: bool) -> None:
    packed = ipaddress.ip_address(address).packed
    number = int.from_bytes(packed[:8] if len(packed) == 16 else packed, "big")
    assert (
        bool(is_reserved(np.array([number], dtype=np.uint64), 6 if len(packed) == 16 else 4)[0]) is reserved
    )


rows = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 300), st.integers(1, 3)), max_size=30)


@given(rows)
def test_merged_ranges_say_what_the_rows_said(given_rows: list[tuple[int, int, int]]) -> None:
    ordered = sorted((first, first + length, value) for first, length, value in given_rows)
    merged = merge_ranges(ordered, 4, np.uint16)
    expected = np.zeros(2400, dtype=np.uint16)
    for first, last, value in ordered:
        part = expected[first : last + 1]
        part[part == 0] = value
    # Where rows overlap the earlier one wins; beyond its end the later one goes on.
    assert (merged.find(np.arange(2400, dtype=np.uint64)) == expected).all()
    assert (np.diff(merged.values.astype(int)) != 0).all()


def test_ranges_reach_the_last_address() -> None:
    for family, last in ((4, (1 << 32) - 1), (6, (1 << 64) - 1)):
        merged = merge_ranges([(last - 5, last, 7)], family, np.uint32)  # type: ignore[arg-type]
        assert merged.find(np.array([last - 6, last - 5, last], dtype=np.uint64)).tolist() == [0, 7, 7]


def small_table() -> bytes:
    """A table with one country and one network."""
    part = Part("made up", "2026-01-02", "none", "nobody")
    country = merge_ranges([(1 << 24, (1 << 24) + 255, pack_country("DE"))], 4, np.uint16)
    network = merge_ranges([(1 << 24, (1 << 24) + 255, 64500)], 4, np.uint32)
    no6 = merge_ranges([], 6, np.uint32)
    return write_table(
        {"country": part, "network": part},
        {("country", 4): country, ("country", 6): no6, ("network", 4): network, ("network", 6): no6},
        {64500: "Example\nNetwork", 64501: "Ünïted", 9: ""},
    )


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(small_table())
    table = OriginTable.open(path)
    assert table.parts["country"].name == "made up"
    assert table.ranges("country", 4).find(np.array([0, 1 << 24, (1 << 24) + 256])).tolist() == [
        0,
        pack_country("DE"),
        0,
    ]
    assert table.names([64500, 64501, 9, 5]) == {64500: "Example Network", 64501: "Ünïted", 9: ""}
    assert table.all_names() == {64500: "Example Network", 64501: "Ünïted", 9: ""}
    assert small_table() == path.read_bytes()


@pytest.mark.parametrize("at", ["head", "magic", "cut", "body", "empty", "more"])
def test_a_damaged_table_is_named(tmp_path: Path, at: str) -> None:
    data = bytearray(small_table())
    end = data.index(b"\n", len(origin_table.MAGIC))
    if at == "head":
        data[30] = 0
    elif at == "magic":
        data[0] = 0
    elif at == "cut":
        del data[-1]
    elif at == "body":
        for place in range(end + 1, len(data)):
            data[place] ^= 0x5A
    elif at == "more":
        data += b"x"
    else:
        data.clear()
    path = tmp_path / "broken.table"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"broken\.table"):
        OriginTable.open(path).ranges("country", 4)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A block that unpacks to more than its head says is refused."""
    path = tmp_path / "t"
    path.write_bytes(small_table().replace(b'"count": 3, "length"', b'"count": 2, "length"'))
    with pytest.raises(InputError, match="damaged"):
        OriginTable.open(path).ranges("country", 4)


def test_a_replaced_table_is_not_mixed_with_the_old_head(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(small_table())
    table = OriginTable.open(path)
    other = tmp_path / "u"
    other.write_bytes(small_table())
    other.replace(path)
    with pytest.raises(ReplacedError):
        table.ranges("country", 4)


def test_own_countries(tmp_path: Path, paths: Paths) -> None:
    """Both spellings of a country, and what the config names wins over what is shipped."""
    file = mmdb(
        tmp_path / "c.mmdb",
        "GeoLite2-Country",
        {
            "8.8.8.0/24": {"country": {"iso_code": "FR"}, "registered_country": {"iso_code": "US"}},
            "9.9.9.0/24": {"country_code": "CH"},
            "11.0.0.0/8": {"registered_country": {"iso_code": "US"}},
            "2a02:6b8::/32": {"country": {"iso_code": "FI"}},
        },
    )
    book = open_book(paths, country_file=file)
    places = book.places(["8.8.8.8", "9.9.9.9", "11.0.0.1", "2a02:6b8::/64", "77.88.8.8"])
    assert [place.country for place in places] == ["FR", "CH", "US", "FI", None]
    assert places[4].asn == 13238  # networks are still the shipped ones
    assert "MaxMind" in book.database.attribution
    assert book.origin(sources(("77.88.8.8", 1))).by_country[0].code == UNKNOWN
    book.close()
    assert [used.chosen_by for used in in_use(paths, file)] == ["config", "shipped"]


def test_update_by_halves(tmp_path: Path, paths: Paths) -> None:
    countries = mmdb(tmp_path / "c.mmdb", "mine", {"8.8.8.0/24": {"country_code": "FR"}})
    networks = mmdb(
        tmp_path / "n.mmdb",
        "GeoLite2-ASN",
        {
            "8.8.8.0/24": {"autonomous_system_number": 64500, "autonomous_system_organization": "Mine"},
            "2a02:6b8::/32": {"asn": "AS64501", "as_name": "Other"},
        },
    )
    origins = Origins(paths)
    assert origins.places(["8.8.8.8"])[0].country == "US"
    update(paths, countries, licence="my terms", attribution="me")
    assert [used.chosen_by for used in in_use(paths)] == ["update", "shipped"]
    place = origins.places(["8.8.8.8"])[0]
    assert (place.country, place.as_name) == ("FR", "Google LLC")
    update(paths, networks)
    assert [used.chosen_by for used in in_use(paths)] == ["update", "update"]
    assert in_use(paths)[0].part.licence == "my terms"
    place, other = origins.places(["8.8.8.8", "2a02:6b8::/64"])
    assert (place.country, place.asn, place.as_name) == ("FR", 64500, "Mine")
    assert (other.asn, other.as_name) == (64501, "Other")
    assert "MaxMind" in open_book(paths).database.attribution
    assert [p.name for p in paths.state.iterdir()] == ["origins.table"]
    assert origin_open.forget_update(paths)
    assert not origin_open.forget_update(paths)
    assert origins.places(["8.8.8.8"])[0].country == "US"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a database", "not a MaxMind DB"),
        (None, "No such file"),
        ({"8.8.8.0/24": {"city": "x"}}, "name neither"),
    ],
)
def test_what_cannot_be_used_is_refused_and_changes_nothing(
    tmp_path: Path, paths: Paths, content: Any, words: str
) -> None:
    file = tmp_path / "f.mmdb"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        mmdb(file, "x", content)
    with pytest.raises(InputError, match=words):
        update(paths, file)
    with pytest.raises(InputError, match=words):
        open_book(paths, country_file=file)
    assert not paths.state.exists()


def test_the_wrong_kind_of_database_is_named(tmp_path: Path, paths: Paths) -> None:
    file = mmdb(tmp_path / "n.mmdb", "x", {"8.8.8.0/24": {"autonomous_system_number": 7}})
    with pytest.raises(InputError, match=r"geo\.database wants a database of countries"):
        open_book(paths, country_file=file)


def test_a_place_that_cannot_be_written(tmp_path: Path, paths: Paths) -> None:
    (tmp_path / "state").write_text("a file, not a folder")
    file = mmdb(tmp_path / "c.mmdb", "mine", {"8.8.8.0/24": {"country_code": "FR"}})
    with pytest.raises(StoreError, match=r"origins\.table"):
        update(paths, file)


def test_starts_must_rise() -> None:
    bad = Ranges(np.array([0, 5, 5], dtype=np.uint32), np.array([0, 1, 2], dtype=np.uint16))
    part = Part("x", "2026-01-01", "", "")
    with pytest.raises(ValueError, match="rise"):
        write_table({"country": part, "network": part}, {("country", 4): bad}, {})
