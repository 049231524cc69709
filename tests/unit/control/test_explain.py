# SPDX-License-Identifier: Apache-2.0
"""Going through a capture, with a twin that decides by a rule of the test's own."""

from __future__ import annotations

from typing import cast

import pytest

from xdpwall.control.explain import Question, _packets, as_object, own_address, stage_of
from xdpwall.control.explain_capture import Account, go_through
from xdpwall.dataplane import frames
from xdpwall.dataplane.twin import LONGEST, XDP_DROP, XDP_PASS, XDP_TX, Judged, Twin
from xdpwall.errors import InputError, KernelError
from xdpwall.pcap import Captured
from xdpwall.reasons import Reason

US, PEER, BOT = bytes([192, 0, 2, 1]), bytes([198, 51, 100, 7]), bytes([203, 0, 113, 9])
SECOND = 1_000_000_000


class Rule:
    """Passes the peer, drops the bot, answers SYN."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.sent: list[bytes] = []

    def run(self, frame: bytes) -> Judged:
        self.seen.append(frame)
        if len(frame) == 999:
            raise KernelError("test run", 22)
        source = frames.read(frame).source
        if source == BOT:
            return Judged(XDP_DROP, Reason.BANNED_SOURCE, frame)
        if len(frame) > 47 and frame[23] == frames.TCP and frame[47] == frames.SYN:
            return Judged(XDP_TX, Reason.COOKIE_SENT, frame)
        return Judged(XDP_PASS, Reason.PASS, frame)

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)


def packet(source: bytes, at: int = 0, *, flags: int = frames.ACK, target: bytes = US) -> Captured:
    frame = frames.frame(source, target, frames.TCP, frames.tcp(flags, 443))
    return Captured(at, frame, len(frame))


def through(*packets: Captured, **options: object) -> tuple[Account, Rule]:
    rule = Rule()
    account = go_through(cast(Twin, rule), packets, **options)  # type: ignore[arg-type]
    return account, rule


def test_counts() -> None:
    account, _ = through(
        packet(PEER), packet(PEER, 3 * SECOND), packet(BOT, SECOND), packet(PEER, flags=frames.SYN)
    )
    found = account.as_object(10)
    assert (found["packets"], found["tried"], found["sources"], found["capture_ms"]) == (4, 4, 2, 3_000)
    assert (found["passed"], found["dropped"], found["answered"]) == (2, 1, 1)
    assert [(row["verdict"], row["reason"], row["packets"]) for row in found["reasons"]] == [
        ("pass", "pass", 2),
        ("drop", "banned_source", 1),
        ("answer", "cookie_sent", 1),
    ]
    assert found["top_sources"][0] == {
        "source": "198.51.100.7",
        "packets": 3,
        "passed": 2,
        "dropped": 1,
        "reasons": {"pass": 2, "cookie_sent": 1},
    }
    assert len(account.as_object(1)["top_sources"]) == 1


def test_what_we_sent_goes_out() -> None:
    account, rule = through(packet(US, target=PEER), packet(PEER), own=frozenset({US}))
    assert (account.sent, account.tried, len(rule.sent), len(rule.seen)) == (1, 1, 1, 1)


def test_what_was_cut_short_is_filled_up() -> None:
    whole = packet(PEER)
    account, rule = through(Captured(0, whole.frame, 1_000), whole)
    assert account.filled == 1
    assert rule.seen[0] == whole.frame.ljust(1_000, b"\0")


def test_what_cannot_be_tried_is_said() -> None:
    long = Captured(0, bytes(60), LONGEST + 1)
    longer = Captured(0, bytes(LONGEST + 1), LONGEST + 1)
    account, _ = through(Captured(0, b"short", 5), long, longer, Captured(0, bytes(999), 999), packet(PEER))
    assert account.tried == 1
    assert sum(account.skipped.values()) == 4
    assert "the kernel cannot try it" in " ".join(account.skipped)


def test_it_stops_after_so_many() -> None:
    account, rule = through(*[packet(PEER)] * 9, limit=4)
    assert (account.packets, len(rule.seen)) == (4, 4)


def test_the_capture_s_own_pace() -> None:
    now = [0]
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        now[0] += round(seconds * SECOND)

    packets = [packet(PEER, at * SECOND) for at in (100, 101, 101, 104)]
    account, _ = through(*packets, pace=True, sleep=sleep, clock_ns=lambda: now[0])
    assert waited == [1.0, 3.0]
    assert (account.took_ns, account.span_ns) == (4 * SECOND, 4 * SECOND)
    waited.clear()
    through(*packets, sleep=sleep, clock_ns=lambda: now[0])
    assert waited == []


def test_each_packet_can_be_shown() -> None:
    rows: list[dict[str, object]] = []
    through(packet(BOT, 5), packet(PEER), show=rows.append)
    assert rows[0] == {
        "number": 1,
        "at_ns": 5,
        "packet": "TCP ACK 203.0.113.9:40000 > 192.0.2.1:443",
        "verdict": "drop",
        "reason": "banned_source",
        "stage": "banned sources",
        "meaning": Reason.BANNED_SOURCE.meaning,
    }


def test_under_observe_it_would_drop() -> None:
    found = as_object(Judged(XDP_PASS, Reason.LANE_UDP, b""))
    assert (found["verdict"], found["would_drop"]) == ("pass", True)
    assert "would_drop" not in as_object(Judged(XDP_PASS, Reason.PASS, b""))


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_stage(reason: Reason) -> None:
    assert stage_of(reason)
    assert (stage_of(reason) == "none") == (reason is Reason.PASS)


def kinds(**changes: object) -> list[str]:
    question = Question(PEER, US, **changes)  # type: ignore[arg-type]
    return [what for what, _ in _packets(question, {22, 443, 8080}, {123})]


def test_packets_to_ask_about() -> None:
    assert kinds() == [
        "TCP SYN to port 443 (somebody listens)",
        "TCP ACK to port 443 (somebody listens)",
        "TCP SYN to port 9 (nobody listens)",
        "TCP ACK to port 9 (nobody listens)",
        "UDP to port 123 (somebody listens)",
        "UDP to port 9 (nobody listens)",
        "ICMP echo request (ping)",
        "a later fragment of UDP",
    ]
    assert kinds(protocol="udp", port=53) == ["UDP to port 53 (nobody listens)"]
    assert kinds(port=8080) == [
        "TCP SYN to port 8080 (somebody listens)",
        "TCP ACK to port 8080 (somebody listens)",
        "UDP to port 8080 (nobody listens)",
    ]
    assert kinds(protocol="icmp") == ["ICMP echo request (ping)"]


def test_whom_packets_are_for() -> None:
    own = {bytes([10, 0, 0, 255]), bytes([10, 0, 0, 5]), bytes(15) + b"\x07"}
    assert own_address(4, None, own) == bytes([10, 0, 0, 5])
    assert own_address(6, None, own) == bytes(15) + b"\x07"
    assert own_address(4, "192.0.2.9", own) == bytes([192, 0, 2, 9])
    assert len(own_address(4, None, set())) == 4
    for wrong in ("2001:db8::1", "192.0.2.0/24"):
        with pytest.raises(InputError):
            own_address(4, wrong, own)
