# SPDX-License-Identifier: Apache-2.0
"""How users fared: before, during and after."""

from __future__ import annotations

from xdpwall.incident.users import ProbeResult, Stack, UserBook, read_snmp

S = 1_000_000_000
SNMP = """Ip: Forwarding DefaultTTL
Ip: 2 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs
Tcp: 1 200 120000 -1 7 624 0 0 10 8220
"""


def live(
    book: UserBook, seconds: int, *, start: int, flows: int, rate: int, in_burst: bool, ok: bool = True
) -> int:
    for number in range(seconds):
        at = start + number
        result = ProbeResult("web", "192.0.2.1:443", ok, 5.0, "" if ok else "no answer in time")
        book.take(Stack(at * S, flows, 1_000 + at * rate), [result], in_burst=in_burst)
    return start + seconds


def test_the_kernels_words() -> None:
    assert read_snmp(SNMP, 5) == Stack(5, 10, 624)
    assert read_snmp("Ip: a\nIp: 1\n", 5) is None
    assert read_snmp("Tcp: CurrEstab\nTcp: ten\n", 5) is None


def test_before_during_and_after() -> None:
    book = UserBook()
    at = live(book, 60, start=0, flows=20, rate=5, in_burst=False)
    book.open()
    at = live(book, 30, start=at, flows=18, rate=5, in_burst=True, ok=False)
    at = live(book, 10, start=at, flows=21, rate=5, in_burst=False)
    users = book.users(3)
    assert (users.flows_before, users.flows_during_min, users.flows_after) == (20, 18, 21)
    assert users.completed_per_s_before == users.completed_per_s_during == users.completed_per_s_after == 5
    assert users.collateral_packets == 3
    (probe,) = users.probes
    assert (probe.before_ok, probe.before_tries) == (60, 60)
    assert (probe.during_ok, probe.during_tries) == (0, 30)
    assert (probe.after_ok, probe.after_tries) == (10, 10)
    assert probe.last_error == "no answer in time"


def test_when_it_comes_back_after_is_during() -> None:
    book = UserBook()
    book.open()
    at = live(book, 5, start=0, flows=9, rate=1, in_burst=True)
    at = live(book, 5, start=at, flows=9, rate=1, in_burst=False)
    live(book, 5, start=at, flows=3, rate=1, in_burst=True)
    users = book.users(None)
    assert users.flows_during_min == 3
    assert users.flows_after is None
    assert users.probes[0].during_tries == 15
    assert users.probes[0].after_tries == 0


def test_nothing_known_is_nothing_said() -> None:
    book = UserBook()
    book.open()
    book.take(None, [], in_burst=True)
    users = book.users(None)
    assert users.flows_before is None
    assert users.completed_per_s_during is None
    assert users.collateral_packets is None
