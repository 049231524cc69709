# SPDX-License-Identifier: Apache-2.0
"""`ban` and `allow`: what is asked of the controller, what is told, which exit code."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.interface.conftest import Controller, Run
from xdpwall.control.protocol import BULK_ITEMS
from xdpwall.errors import AddressError
from xdpwall.interface.cli.prefixes import parse_lines
from xdpwall.model import Prefix

ADDED = {"added": 1, "updated": 0, "refused": [], "warnings": []}
BAN = {
    "prefix": "198.51.100.0/24", "reason": "syn 812/s", "origin": "auto", "created_ms": 1, "expires_ms": 2,
    "remaining_ms": 90_000, "strikes": 2, "dropped_packets": 1_234_567, "dropped_bytes": 5_000_000,
}  # fmt: skip
FOR_EVER = {"prefix": "198.51.100.7", "remaining_ms": None, "reason": ""}


def test_add(run: Run, controller: Controller) -> None:
    controller.answers["ban.add"] = dict(ADDED)
    ran = run("ban", "add", "198.51.100.7", "--for", "1h30m", "--reason", "scans")
    assert controller.asked == [
        ("ban.add", {"items": [{"prefix": "198.51.100.7"}], "for_ms": 5_400_000, "reason": "scans"})
    ]
    assert (ran.code, ran.out, ran.err) == (0, "banned 1 prefix for 1h30m\n", "")


def test_add_for_ever_and_for_the_usual_time(run: Run, controller: Controller) -> None:
    """`perm` is null, no --for leaves the time to the config."""
    controller.answers["ban.add"] = dict(ADDED)
    assert run("ban", "add", "192.0.2.1", "--for", "perm").out == "banned 1 prefix for ever\n"
    assert controller.asked[-1][1]["for_ms"] is None
    run("ban", "add", "192.0.2.1")
    assert "for_ms" not in controller.asked[-1][1]


def test_a_lone_ipv6_address_is_its_64(run: Run, controller: Controller) -> None:
    controller.answers["ban.add"] = dict(ADDED)
    ran = run("ban", "add", "2001:db8::1", "2001:db8:1::/48")
    assert [item["prefix"] for item in controller.asked[0][1]["items"]] == [
        "2001:db8::/64",
        "2001:db8:1::/48",
    ]
    assert "2001:db8::1 stands for its /64, 2001:db8::/64" in ran.err
    assert "/48" not in ran.err
    run("ban", "add", "2001:db8::1/128", "::ffff:192.0.2.1")
    assert [item["prefix"] for item in controller.asked[1][1]["items"]] == ["2001:db8::1/128", "192.0.2.1"]
    assert run("ban", "add", "2001:db8::1", "-o", "json").json["widened"] == {"2001:db8::1": "2001:db8::/64"}


def test_refused_is_5_and_says_why(run: Run, controller: Controller) -> None:
    refusal = {"prefix": "0.0.0.0/1", "message": "0.0.0.0/1 is too wide", "hint": "see bans.min_prefix_v4"}
    controller.answers["ban.add"] = {**ADDED, "refused": [refusal], "warnings": ["not on record"]}
    ran = run("ban", "add", "0.0.0.0/1", "192.0.2.1")
    assert ran.code == 5
    assert ran.out == "banned 1 prefix\n"
    assert ran.err.splitlines() == [
        "refused: 0.0.0.0/1 is too wide",
        "hint: see bans.min_prefix_v4",
        "warning: not on record",
    ]
    ran = run("ban", "add", "0.0.0.0/1", "-o", "json")
    assert ran.code == 5
    assert ran.json["refused"] == [refusal]


@pytest.mark.parametrize("arguments", [("add",), ("del",)])
def test_nothing_given(arguments: tuple[str, ...], run: Run, controller: Controller) -> None:
    ran = run("ban", *arguments)
    assert ran.code == 2
    assert "no address or prefix is given" in ran.err
    assert run("ban", *arguments, "-", stdin="# only a comment\n\n").code == 2
    assert controller.asked == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "example.com"), "'example.com' is not an IP address or prefix"),
        (("add", "192.0.2.1/24"), "did you mean 192.0.2.0/24?"),
        (("add", "192.0.2.1", "--for", "soon"), "'soon' is not a usable duration"),
        (("test", "192.0.2.300"), "is not an IP address"),
    ],
)
def test_what_cannot_be_read(arguments: tuple[str, ...], said: str, run: Run, controller: Controller) -> None:
    ran = run("ban", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert controller.asked == []


def test_a_list_from_standard_input(run: Run, controller: Controller) -> None:
    controller.answers["ban.add"] = {**ADDED, "added": 3}
    text = "\ufeff# a feed\r\n192.0.2.1  # seen twice\r\n\r\n198.51.100.0/24\n192.0.2.1\n2001:db8::/32"
    assert run("ban", "add", "203.0.113.1", "-", stdin=text).code == 0
    assert [item["prefix"] for item in controller.asked[0][1]["items"]] == [
        "203.0.113.1", "192.0.2.1", "198.51.100.0/24", "2001:db8::/32",
    ]  # fmt: skip


def test_every_bad_line_is_named_and_nothing_is_done(run: Run, controller: Controller) -> None:
    text = b"192.0.2.1\nfoo\n\n# fine\n192.0.2.0/33\n\xff\xfe\n"
    ran = run("ban", "add", "-", "-o", "json", stdin=text)
    assert ran.code == 2
    assert controller.asked == []
    assert [line.partition(" ")[0] for line in ran.err.splitlines()[:3]] == ["-:2:", "-:5:", "-:6:"]
    assert "3 of 4 lines are no address or prefix; nothing was done" in ran.err
    assert "--skip-bad" in ran.err
    assert [bad["line"] for bad in ran.json["error"]["lines"]] == [2, 5, 6]


def test_bad_lines_can_be_left_out(run: Run, controller: Controller) -> None:
    controller.answers["ban.add"] = dict(ADDED)
    ran = run("ban", "add", "-", "--skip-bad", stdin="192.0.2.1\nfoo\n")
    assert ran.code == 0
    assert controller.asked[0][1]["items"] == [{"prefix": "192.0.2.1"}]
    assert "skipped line 2" in ran.err


def test_long_lists_go_in_parts_and_add_up(run: Run, controller: Controller) -> None:
    controller.answers["ban.add"] = {**ADDED, "added": 4_000, "warnings": ["the same"]}
    text = "\n".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(2 * BULK_ITEMS + 1))
    answer = run("ban", "add", "-", "-o", "json", stdin=text).json
    assert [len(args["items"]) for _, args in controller.asked] == [BULK_ITEMS, BULK_ITEMS, 1]
    assert answer["added"] == 12_000
    assert answer["warnings"] == ["the same"]


LINE = st.one_of(
    st.ip_addresses().map(str),
    st.just(""),
    st.text(max_size=8).map(lambda text: f"# {text}"),
    st.text("0123456789abcdef.:/x ", max_size=12),
)


@given(st.lists(LINE.filter(lambda line: len(line.splitlines()) <= 1), max_size=20))
def test_every_line_is_read_or_named(lines: list[str]) -> None:
    """Each line is blank, or a prefix that stands for it, or a bad line with its number."""
    good, bad = parse_lines(lines)
    named = {entry.line for entry in bad}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            assert number not in named
        elif number in named:
            with pytest.raises(AddressError):
                Prefix.parse_source(text)
        else:
            assert good[text] == Prefix.parse_source(text)


def test_del(run: Run, controller: Controller) -> None:
    controller.answers["ban.del"] = {
        "removed": 1, "missing": ["10.1.2.3", "192.0.2.9"], "covered_by": {"10.1.2.3": "10.0.0.0/8"}, "warnings": [],
    }  # fmt: skip
    ran = run("ban", "del", "192.0.2.1", "10.1.2.3", "192.0.2.9")
    assert ran.code == 4
    assert ran.out == "lifted 1 ban\n"
    assert "10.1.2.3 is not banned by itself, but 10.0.0.0/8 is, which holds it" in ran.err
    assert "192.0.2.9 is not banned by itself\n" in ran.err


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (
            {"banned": True, "ban": BAN, "allowed_by": None},
            0,
            "198.51.100.7 is banned by 198.51.100.0/24 for 1m30s more (auto: syn 812/s); it dropped 1,234,567 packets",
        ),
        (
            {"banned": True, "ban": {**BAN, **FOR_EVER}, "allowed_by": None},
            0,
            "198.51.100.7 is banned for ever (auto); it dropped",
        ),
        ({"banned": False, "ban": None, "allowed_by": None}, 4, "198.51.100.7 is not banned\n"),
        ({"banned": False, "ban": None, "allowed_by": "198.51.0.0/16"}, 4, "the allowlist has 198.51.0.0/16"),
        ({"banned": False, "ban": BAN, "allowed_by": "198.51.100.7"}, 4, "which wins"),
    ],
)  # fmt: skip
def test_test(answer: dict[str, Any], code: int, said: str, run: Run, controller: Controller) -> None:
    controller.answers["ban.test"] = {"prefix": "198.51.100.7", **answer}
    ran = run("ban", "test", "198.51.100.7")
    assert ran.code == code
    assert said in ran.out.replace("\u202f", ",")
    assert run("ban", "test", "198.51.100.7", "-o", "json").code == code


def test_list(run: Run, controller: Controller) -> None:
    many = [{**BAN, "prefix": f"198.51.100.{n}", "dropped_packets": n} for n in range(200)]
    controller.answers["ban.list"] = {"bans": many}
    ran = run("ban", "list")
    lines = ran.out.splitlines()
    assert len(lines) == 101
    assert lines[1].startswith("198.51.100.199")
    assert "100 of 200 bans; --limit 0 shows all" in ran.err
    assert len(run("ban", "list", "--limit", "0").out.splitlines()) == 201
    assert len(run("ban", "list", "-o", "json").json["bans"]) == 200
    assert run("ban", "list", "--prefixes", "--limit", "2").out == "198.51.100.199\n198.51.100.198\n"


def test_what_list_prints_is_what_add_reads(run: Run, controller: Controller) -> None:
    """One IPv6 address keeps its /128: without it, it would come back as a /64."""
    prefixes = ["192.0.2.1", "2001:db8::1", "2001:db8::/64"]
    controller.answers["ban.list"] = {"bans": [{**BAN, "prefix": prefix} for prefix in prefixes]}
    controller.answers["ban.add"] = dict(ADDED)
    run("ban", "add", "-", stdin=run("ban", "list", "--prefixes").out)
    sent = [item["prefix"] for item in controller.asked[-1][1]["items"]]
    assert sorted(sent) == ["192.0.2.1", "2001:db8::/64", "2001:db8::1/128"]
    assert "2001:db8::1/128" in run("ban", "list").out


def test_a_very_long_list_is_whole(run: Run, controller: Controller) -> None:
    controller.answers["ban.list"] = {
        "bans": [{**BAN, "prefix": f"10.0.{n >> 8}.{n & 255}"} for n in range(5_000)]
    }
    lines = run("ban", "list", "--limit", "0").out.splitlines()
    assert len(lines) == 5_001
    assert all("syn 812/s" in line for line in lines[1:])


def test_flush_asks_only_on_a_terminal(run: Run, controller: Controller) -> None:
    controller.answers["ban.flush"] = {"removed": 7, "warnings": []}
    assert run("ban", "flush").out == "lifted 7 bans\n"
    assert run("ban", "flush", tty=True, stdin="y\n").out == "lifted 7 bans\n"
    assert run("ban", "flush", "--yes", tty=True).out == "lifted 7 bans\n"
    assert len(controller.asked) == 3
    for answer, code in (("n\n", 1), ("\n", 1), ("", 130)):
        ran = run("ban", "flush", tty=True, stdin=answer)
        assert ran.code == code
        assert "Lift every ban of instance 'default'?" in ran.err
    assert len(controller.asked) == 3


def test_without_a_controller_the_same_answers_come_from_the_pins(run: Run, controller: Controller) -> None:
    controller.running = False
    controller.answers["ban.list"] = {"bans": []}
    assert run("ban", "list").code == 0
    assert controller.offline


def test_allow(run: Run, controller: Controller) -> None:
    """A lone IPv6 address on the allowlist is that one address: trust is not widened by itself."""
    controller.answers["allow.add"] = {
        "added": 2, "existing": 1, "lifted": ["192.0.2.7"], "refused": [], "warnings": [],
    }  # fmt: skip
    ran = run("allow", "add", "2001:db8::1", "192.0.2.0/24", "--reason", "office")
    assert controller.asked == [
        ("allow.add", {"prefixes": ["2001:db8::1/128", "192.0.2.0/24"], "reason": "office"})
    ]
    assert ran.out.splitlines() == [
        "allowed 2 prefixes",
        "1 prefix stood already",
        "lifted the ban on 192.0.2.7, which lies inside",
    ]
    controller.answers["allow.del"] = {"removed": 0, "missing": ["192.0.2.1"], "refused": [], "warnings": []}
    assert run("allow", "del", "192.0.2.1").code == 4
    refusal = {"prefix": "192.0.2.1", "message": "it is in the config", "hint": None}
    controller.answers["allow.del"] = {"removed": 0, "missing": [], "refused": [refusal], "warnings": []}
    ran = run("allow", "del", "192.0.2.1")
    assert ran.code == 5
    assert "refused: 192.0.2.1: it is in the config" in ran.err
    controller.answers["allow.list"] = {
        "allow": [{"prefix": "192.0.2.0/24", "origin": "config", "reason": "", "created_ms": 1}]
    }
    assert "192.0.2.0/24" in run("allow", "list").out
