# SPDX-License-Identifier: Apache-2.0
"""Prefixes and durations: what is read, what is refused, and that both survive the way to text and back."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from xdpwall.errors import AddressError
from xdpwall.model import Ban, Prefix, format_duration_ms, parse_duration_ms

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    """Any prefix of either family."""
    size = draw(st.sampled_from([4, 16]))
    packed = draw(st.binary(min_size=size, max_size=size))
    return Prefix.covering(packed, draw(st.integers(0, size * 8)))


def network(prefix: Prefix) -> Network:
    """The same as the standard library has it."""
    return ipaddress.ip_network((prefix.packed, prefix.length))


MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


@given(prefixes())
def test_text_and_back(prefix: Prefix) -> None:
    around = network(prefix)
    assume(not (isinstance(around, ipaddress.IPv6Network) and around.subnet_of(MAPPED)))
    assert Prefix.parse(str(prefix)) == prefix


@given(prefixes())
def test_text_is_what_the_standard_library_writes(prefix: Prefix) -> None:
    """Except where it writes the same address in another way: a lone address has no length behind it."""
    written = ipaddress.ip_network(str(prefix))
    assert (written.network_address.packed, written.prefixlen) == (prefix.packed, prefix.length)
    assert ("/" in str(prefix)) == (prefix.length != len(prefix.packed) * 8)


@given(prefixes(), prefixes())
def test_contains_and_overlaps(one: Prefix, other: Prefix) -> None:
    a, b = network(one), network(other)
    same = a.version == b.version
    assert one.contains(other) == (same and b.subnet_of(a))  # type: ignore[arg-type]
    assert one.overlaps(other) == (same and a.overlaps(b))
    assert one.overlaps(other) == other.overlaps(one)


@given(prefixes(), st.data())
def test_covering(prefix: Prefix, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(prefix.packed) * 8))
    around = Prefix.covering(prefix.packed, length)
    assert around.length == length
    assert network(around) == ipaddress.ip_network((prefix.packed, length), strict=False)
    assert around.contains(prefix) == (length <= prefix.length)
    assert Prefix.covering(around.packed, length) == around


@given(prefixes())
def test_supernets(prefix: Prefix) -> None:
    """Every shorter length once, longest first, each around the next."""
    around = list(prefix.supernets())
    assert [p.length for p in around] == list(range(prefix.length - 1, -1, -1))
    for inner, outer in zip([prefix, *around], around, strict=False):
        assert outer.contains(inner)
        assert not inner.contains(outer)


@given(prefixes())
def test_versions_and_sources(prefix: Prefix) -> None:
    assert prefix.version == network(prefix).version
    assert prefix.is_source == ((prefix.version, prefix.length) in ((4, 32), (6, 64)))


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_the_ipv4_address(address: ipaddress.IPv4Address) -> None:
    for text in (f"::ffff:{address}", f"::FFFF:{address}/128"):
        assert Prefix.parse(text) == Prefix(address.packed, 32)
    assert Prefix.parse("::ffff:10.0.0.0/104") == Prefix.parse("10.0.0.0/8")
    assert Prefix.parse("::ffff:0:0/96") == Prefix.parse("0.0.0.0/0")
    assert Prefix.parse("::/95").version == 6


@given(st.ip_addresses())
def test_a_lone_address_is_its_source(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assume(address.version == 4 or address not in MAPPED)
    source = Prefix.parse_source(str(address))
    assert source.is_source
    assert source.contains(Prefix.parse(str(address)))
    spelled = f"{address}/{address.max_prefixlen}"
    assert Prefix.parse_source(spelled) == Prefix.parse(spelled), "a length that was given is kept"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.0/24 ", "192.0.2.0/24"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:db8:0:0:0:0:0:1", "2001:db8::1"),
        ("::", "::"),
        ("::/0", "::/0"),
        ("::192.0.2.7", "::192.0.2.7"),
        ("192.0.2.0/024", "192.0.2.0/24"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert str(Prefix.parse(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "/", "/24", "192.0.2", "192.0.2.256", "192.0.2.7.8", "192.0.2.07", "0x7f.1", "2130706433",
        "localhost", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/+8", "192.0.2.0/2 4", "192.0.2.0/24/24",
        "192.0.2.0/1e1", "192.0.2.0/255.255.255.0", "192.0.2.0/²", "192.0.2.0/٢٤", "٣.0.2.1", "2001:db8::/129",
        "2001:db8:::1",
        "2001:db8", "fe80::1%eth0", "[2001:db8::1]", "2001:db8::g", "1:2:3:4:5:6:7:8:9", "192.0.2.7:80",
        "192.0.2.0\0/24", "\ud800",
    ],
)  # fmt: skip
def test_what_is_no_prefix(text: str) -> None:
    """The error quotes what was given, and says how it should look."""
    with pytest.raises(AddressError) as caught:
        Prefix.parse(text)
    assert repr(text) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


@given(prefixes(), st.data())
def test_host_bits_are_refused_with_the_right_prefix_as_hint(prefix: Prefix, data: st.DataObject) -> None:
    bits = len(prefix.packed) * 8
    assume(prefix.length < bits)
    host = data.draw(st.integers(1, (1 << (bits - prefix.length)) - 1))
    address = (int.from_bytes(prefix.packed, "big") + host).to_bytes(len(prefix.packed), "big")
    text = f"{ipaddress.ip_address(address)}/{prefix.length}"
    assume(not text.lower().startswith("::ffff:"))
    with pytest.raises(AddressError) as caught:
        Prefix.parse(text)
    assert str(prefix) in (caught.value.hint or "")


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    try:
        prefix = Prefix.parse(text)
    except AddressError:
        return
    assert Prefix.parse(str(prefix)) == prefix


# --- durations -------------------------------------------------------------------------------------------------------

TEN_YEARS = 10 * 365 * 86_400_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90_000),
        ("10m", 600_000),
        ("1h30m", 5_400_000),
        ("7d", 604_800_000),
        ("250ms", 250),
        ("1m1ms", 60_001),
        ("1d2h3m4s5ms", 93_784_005),
        (" 10M ", 600_000),
        ("90m", 5_400_000),
        ("0h1s", 1_000),
        ("3650d", TEN_YEARS),
        ("perm", None),
        ("PERM", None),
    ],
)
def test_durations(text: str, ms: int | None) -> None:
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    ["", "0", "0s", "10", "s", "-1s", "+1s", "1.5h", "1 h", "1s1m", "1h1h", "1w", "3651d", "9" * 40 + "d", "ever",
     "1e3s", "permanent", "1h30", "٣s"],
)  # fmt: skip
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_duration_ms(text)
    assert repr(text) in caught.value.message
    assert caught.value.hint


@given(st.integers(1, TEN_YEARS))
@example(999)
@example(1_000)
@example(59_999)
@example(86_399_999)
def test_formatting_rounds_down_to_two_units(ms: int) -> None:
    """What is written is never longer than what is meant, off by less than its smaller unit, and stays itself."""
    text = format_duration_ms(ms)
    again = parse_duration_ms(text)
    assert again is not None
    assert again <= ms
    units = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000}
    if ms < 1_000:
        assert again == ms
    else:
        assert len([c for c in text if c in units]) <= 2
        largest = next(units[c] for c in text if c in units)
        assert ms - again < largest
    assert format_duration_ms(again) == text


def test_for_ever_and_back() -> None:
    assert format_duration_ms(None) == "perm"
    assert parse_duration_ms(format_duration_ms(None)) is None


def test_no_time_at_all_is_written_too() -> None:
    """A ban that has just lapsed has 0 ms left."""
    assert format_duration_ms(0) == "0ms"


@given(st.integers(0, 2**45), st.integers(0, 2**45))
def test_what_is_left_of_a_ban(expires: int, now: int) -> None:
    ban = Ban(Prefix.parse("192.0.2.7"), 0, expires)
    left = ban.remaining_ms(now)
    assert left == max(0, expires - now)
    assert ban.is_over(now) == (left == 0)
    forever = Ban(Prefix.parse("192.0.2.7"), 0, None)
    assert forever.remaining_ms(now) is None
    assert not forever.is_over(now)


@pytest.mark.parametrize(
    ("wide", "hole", "expected"),
    [
        ("10.0.0.0/29", "10.0.0.5", ["10.0.0.0/30", "10.0.0.6/31", "10.0.0.4"]),
        ("10.0.0.0/24", "10.0.1.0/24", ["10.0.0.0/24"]),
        ("10.0.0.0/24", "10.0.0.0/8", []),
        ("10.0.0.1", "10.0.0.1", []),
        ("10.0.0.0/24", "2001:db8::/64", ["10.0.0.0/24"]),
        ("2001:db8::/62", "2001:db8:0:1::/64", ["2001:db8:0:2::/63", "2001:db8::/64"]),
        ("0.0.0.0/0", "128.0.0.0/1", ["0.0.0.0/1"]),
    ],
)
def test_what_is_left_around_a_hole(wide: str, hole: str, expected: list[str]) -> None:
    assert [str(part) for part in Prefix.parse(wide).without(Prefix.parse(hole))] == expected
