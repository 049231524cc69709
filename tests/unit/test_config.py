# SPDX-License-Identifier: Apache-2.0
"""The config: its defaults, its faults, and that every fault is told at once, with key and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpwall import config as config_module
from xdpwall.config import CROSS_RULES, Config
from xdpwall.config_plain import DATAPLANE_KEYS
from xdpwall.config_problems import known_keys
from xdpwall.config_types import duration_text, round_up_to_power_of_two
from xdpwall.errors import ConfigError, InputError
from xdpwall.interface_name import interface_fault
from xdpwall.model import Prefix, parse_duration_ms

ADDRESS_HINT = "write it like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32; host names are not taken"
EVERYTHING_WRONG = """\
interfaces = ["eth0", "lo", 5,
  "waytoolongname000000"]
policy = "enforc"
pps = 5
[tick]
interval = 100
reconcil = "5s"
[limits]
source = { pps = -1, bps = "x", syn = true }
[limits.prefix]
icmp = 1.5
[bans]
time = "2d"
growth = nan
[allow]
prefixes = [
  "192.0.2.0/24",
  # not this: ]
  "192.0.2.1/24", "0.0.0.0/0",
  "x" ]
[mters]
a = 1
"""


def problems_of(text: str | bytes) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigError) as caught:
        Config.parse(text, "wall.toml")
    return [(p.line, p.key, p.message) for p in caught.value.problems]


def test_an_empty_file_is_every_default() -> None:
    assert Config.parse("") == Config()
    assert Config.parse("# nothing\n\n[bans]\n[limits.source]\n") == Config()


def test_the_defaults() -> None:
    config = Config()
    assert (config.interfaces, config.policy, config.mode) == ((), "enforce", "auto")
    assert (config.tick.interval_ms, config.tick.reconcile_ms) == (100, 5_000)
    source, prefix = config.limits.source, config.limits.prefix
    assert (source.pps, source.bps, source.syn, source.udp, source.icmp) == (
        100_000, 1_000_000_000, 100, 20_000, 200,
    )  # fmt: skip
    assert (prefix.pps, prefix.bps, prefix.syn, prefix.udp, prefix.icmp) == (
        400_000, 4_000_000_000, 1_000, 80_000, 1_000,
    )  # fmt: skip
    assert source.burst_ms == prefix.burst_ms == 1_000
    bans = config.bans
    assert (bans.time_ms, bans.growth, bans.time_max_ms, bans.forget_ms) == (
        600_000,
        2.0,
        86_400_000,
        86_400_000,
    )
    assert (bans.capacity, bans.prefix_capacity, bans.per_minute) == (131_072, 16_384, 30_000)
    assert (bans.collapse_sources, bans.min_prefix_v4, bans.min_prefix_v6) == (32, 8, 16)
    assert (config.meters.enabled, config.meters.sources, config.meters.prefixes) == (True, 131_072, 32_768)
    assert config.checks.malformed
    assert config.checks.own_source
    assert config.allow.prefixes == ()
    assert config.control.history_ms == 30 * 86_400_000


def test_a_file_is_read() -> None:
    config = Config.parse(
        'interfaces = ["eth0", "eth1"]\npolicy = "observe"\n[tick]\ninterval = "1s500ms"\n'
        '[bans]\ngrowth = 3\n[allow]\nprefixes = ["192.0.2.0/24", "2001:db8::1"]\n'
    )
    assert config.interfaces == ("eth0", "eth1")
    assert config.policy == "observe"
    assert config.tick.interval_ms == 1_500
    assert config.bans.growth == 3.0
    assert config.allow.prefixes == (Prefix.parse("192.0.2.0/24"), Prefix.parse("2001:db8::1"))


def test_every_fault_at_once_with_key_and_line() -> None:
    assert problems_of(EVERYTHING_WRONG) == [
        (1, "interfaces[1]", 'the wall cannot stand on "lo": every packet there comes from this host itself'),
        (1, "interfaces[2]", "must be a text in quotes, not the number 5"),
        (2, "interfaces[3]", '"waytoolongname000000" is too long for an interface; the kernel takes 15 bytes'),
        (3, "policy", 'must be "enforce" or "observe", not the text "enforc"'),
        (
            4,
            "pps",
            "unknown key here; it belongs to [limits.source] or [limits.prefix] or [lanes.syn] or 6 more tables",
        ),
        (6, "tick.interval", 'must be a duration in quotes, like "90s", "10m" or "1h30m", not the number 100'),
        (7, "tick.reconcil", "unknown key; did you mean reconcile?"),
        (9, "limits.source.pps", "must be 0 or more, not -1"),
        (9, "limits.source.bps", 'must be a whole number, not the text "x"'),
        (9, "limits.source.syn", "must be a whole number, not true"),
        (11, "limits.prefix.icmp", "must be a whole number, not the number 1.5"),
        (13, "bans.time", "a first ban (bans.time) may not be longer than the longest (bans.time_max)"),
        (14, "bans.growth", "must be a number, not nan"),
        (19, "allow.prefixes[1]", "'192.0.2.1/24': bits are set beyond the prefix length (did you mean 192.0.2.0/24?)"),
        (19, "allow.prefixes[2]", '"0.0.0.0/0" would let everything pass; to drop nothing, set policy = "observe"'),
        (
            20,
            "allow.prefixes[3]",
            f"'x' is not an IP address or prefix ({ADDRESS_HINT})",
        ),
        (21, "mters", "unknown table; did you mean [meters]?"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "key", "message"),
    [
        ('tick.interval = "5ms"', 1, "tick.interval", 'must be from "10ms" to "10s", and "5ms" is not'),
        ('[tick]\ninterval = "soon"', 2, "tick.interval", '"soon" is no duration'),
        ('[bans]\ntime = "perm"', 2, "bans.time", '"perm" is not taken here; the longest is "365d"'),
        ("[bans]\ntime = 600", 2, "bans.time", "must be a duration in quotes"),
        ("[bans]\ntime = 2024-01-01", 2, "bans.time", "not the date or time 2024-01-01"),
        ("[bans]\ncapacity = 12", 2, "bans.capacity", "must be 1024 or more, not 12"),
        ("[bans]\ncapacity = 99999999", 2, "bans.capacity", "must be 4194304 or less"),
        ("[bans]\ncapacity = 1e6", 2, "bans.capacity", "must be a whole number"),
        ("[bans]\ngrowth = 0.5", 2, "bans.growth", "must be 1.0 or more, not 0.5"),
        ('[bans]\ngrowth = "2"', 2, "bans.growth", "must be a number, not the text"),
        ("[bans]\ncollapse_sources = 1", 2, "bans.collapse_sources", "a single source"),
        ("[bans]\nmin_prefix_v4 = 0", 2, "bans.min_prefix_v4", "must be 1 or more"),
        ("[bans]\nmin_prefix_v6 = 65", 2, "bans.min_prefix_v6", "must be 64 or less"),
        ("[checks]\nmalformed = 1", 2, "checks.malformed", "must be true or false, not the number 1"),
        ("bans = 5", 1, "bans", "must be a table, not the number 5"),
        ("[[bans]]\ntime = '1m'", 1, "bans", "must be a table, not a list"),
        ('interfaces = "eth0"', 1, "interfaces", 'must be a list in square brackets, not the text "eth0"'),
        ('interfaces = ["a/b"]', 1, "interfaces[0]", "cannot be the name of an interface"),
        ('interfaces = [""]', 1, "interfaces[0]", "an interface has a name"),
        ('interfaces = ["a",\n"b", "a"]', 1, "interfaces", "named more than once: a"),
        ("policy = 1", 1, "policy", 'must be "enforce" or "observe", not the number 1'),
        ('mode = "native "', 1, "mode", 'must be "auto", "native" or "generic"'),
        ('[tick]\nreconcile = "100ms"\ninterval = "1s"', 2, "tick.reconcile", "at most once a tick"),
        ('[tick]\ninterval = "8s"', 2, "tick.interval", "at most once a tick"),
        ("[limits.source]\npps = 500000", 2, "limits.source.pps", "would get its whole prefix banned"),
        ("[limits.prefix]\nsyn = 50", 2, "limits.prefix.syn", "below limits.source.syn (100)"),
        ('[bans]\ntime_max = "5m"', 2, "bans.time_max", "may not be longer than the longest"),
        ("[allow]\nprefixes = [7]", 2, "allow.prefixes[0]", "must be an address or prefix in quotes"),
        ('[allow]\nprefixes = ["::/0"]', 2, "allow.prefixes[0]", "would let everything pass"),
        ('[limits.sources]\npps = 1', 1, "limits.sources", "did you mean [limits.source]?"),
        ("[limits.source]\nppps = 1", 2, "limits.source.ppps", "did you mean pps?"),
        ("[bans]\ninterval = '1s'", 2, "bans.interval", "it belongs to [tick]"),
        ("whatever = 1", 1, "whatever", "`xdpwall config init -` shows all there are"),
        ("[zzz]\na = 1", 1, "zzz", "there are allow, bans"),
        ('"po licy" = 1', 1, "po licy", "did you mean policy?"),
    ],
)  # fmt: skip
def test_one_fault(text: str, line: int, key: str, message: str) -> None:
    found = problems_of(text)
    assert [(line, key)] == [(at, name) for at, name, _ in found]
    assert message in found[0][2]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a = ", 1, "not TOML: invalid value"),
        ('policy = "observe"\npolicy = "enforce"', 2, "not TOML: cannot overwrite a value"),
        ("[bans]\n[bans]", 2, "not TOML"),
        ('interfaces = ["a",\n\n', 3, "not TOML"),
        (b"# \xc3\xa4\nname = '\xff'\n", 2, "byte 0xff is not UTF-8"),
    ],
)
def test_what_is_no_toml(text: str | bytes, line: int, message: str) -> None:
    ((at, key, told),) = problems_of(text)
    assert (at, key) == (line, "")
    assert message in told


def test_rules_over_several_keys_wait_for_sound_keys() -> None:
    """A key that is wrong by itself is told once, not again through a rule that looks at it."""
    assert [key for _, key, _ in problems_of('[bans]\ntime = "x"\ntime_max = "1s"')] == ["bans.time"]
    assert [key for _, key, _ in problems_of('bans = 1\n[tick]\ninterval = "8s"')] == [
        "bans",
        "tick.interval",
    ]


def test_capacities_are_rounded_up() -> None:
    config = Config.parse("[bans]\ncapacity = 100000\n[meters]\nsources = 1025\nprefixes = 256\n")
    assert (config.bans.capacity, config.meters.sources, config.meters.prefixes) == (131_072, 2_048, 256)


@given(st.integers(1, 1 << 40))
def test_rounding(number: int) -> None:
    rounded = round_up_to_power_of_two(number)
    assert rounded.bit_count() == 1
    assert rounded // 2 < number <= rounded


@given(st.integers(1, 10 * 365 * 86_400_000))
def test_durations_come_back(milliseconds: int) -> None:
    assert parse_duration_ms(duration_text(milliseconds)) == milliseconds


@given(st.text(max_size=20))
def test_interface_names(name: str) -> None:
    """What is accepted keeps the kernel's rule: 1 to 15 bytes, no slash, colon or white space."""
    if interface_fault(name) is None:
        assert 0 < len(name.encode()) < 16
        assert not any(char in "/:" or char.isspace() for char in name)
        assert name not in {".", "..", "lo"}


def test_frozen() -> None:
    config: Any = Config()
    with pytest.raises(ValueError, match="frozen"):
        config.policy = "observe"
    with pytest.raises(ValueError, match="frozen"):
        config.bans.capacity = 1


def test_the_digest_follows_only_what_is_compiled_in() -> None:
    base = Config().dataplane_digest()
    assert len(base) == 16
    assert int(base, 16)
    assert Config.parse('policy = "observe"').dataplane_digest() != base
    assert Config.parse("[checks]\nmalformed = false").dataplane_digest() != base
    assert Config.parse("[limits.source]\npps = 1").dataplane_digest() != base
    assert Config.parse("[limits.source]\nudp = 1").dataplane_digest() == base, "the controller's alone"
    assert Config.parse("[bans]\ncapacity = 130000").dataplane_digest() == base, "rounded to the same"


def test_keys_that_are_named_exist() -> None:
    known = set(known_keys(Config))
    assert set(DATAPLANE_KEYS) <= known
    assert {key for rule in CROSS_RULES for key in rule.keys} <= known


def test_from_mapping() -> None:
    assert Config.from_mapping({"tick": {"interval": "50ms"}}).tick.interval_ms == 50
    with pytest.raises(ConfigError) as caught:
        Config.from_mapping({"tick": {"interval": 50}})
    assert [(p.key, p.line) for p in caught.value.problems] == [("tick.interval", 0)]


def test_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default place may be empty, a place that was named may not."""
    monkeypatch.setattr(config_module, "DEFAULT_CONFIG", tmp_path / "none.toml")
    assert Config.load() == Config()
    with pytest.raises(InputError, match="no such file") as caught:
        Config.load(tmp_path / "none.toml")
    assert caught.value.exit_code == 2
    with pytest.raises(InputError, match="Is a directory"):
        Config.load(tmp_path)


def test_load_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "wall.toml"
    path.write_bytes(b'\xef\xbb\xbfpolicy = "observe"\r\n[tick]\r\ninterval = "7"\r\n')
    with pytest.raises(ConfigError) as caught:
        Config.load(path)
    assert caught.value.path == str(path)
    assert [(p.line, p.key) for p in caught.value.problems] == [(3, "tick.interval")]
