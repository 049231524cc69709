# SPDX-License-Identifier: Apache-2.0
"""Requests over budget are answered as the stack would, to who can take it, and the answer's echo is proof."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bpf.asking import (
    LINUX,
    MSS,
    OUR_HOPS,
    OUR_MSS,
    OUR_SCALE,
    OUR_WINDOW,
    SACK,
    SCALE,
    STAMP,
    TX,
    Asking,
    asking,
    frame,
    read,
)
from tests.bpf.packets import (
    ACK,
    CWR,
    ECE,
    FIN,
    IPV4,
    IPV6,
    PSH,
    QINQ,
    RST,
    SYN,
    TCP,
    VLAN,
    ethernet,
    ipv4,
    ipv6,
    options_header,
    tcp,
)
from tests.bpf.scene import DROP, PASS
from tests.bpf.talk import OURS4, OURS6, STRANGER4, STRANGER6, talking, tight
from xdpwall.config import Config
from xdpwall.dataplane import cookies
from xdpwall.reasons import Reason

FAMILIES = pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
SENT = (TX, Reason.COOKIE_SENT)
DROPPED = (DROP, Reason.LANE_SYN)


@pytest.fixture(scope="module", autouse=True)
def possible() -> None:
    """No test where the kernel has no SYN cookies for XDP."""
    if not cookies.are_possible():
        pytest.skip("this kernel makes no SYN cookies for XDP (6.0 or later, CONFIG_SYN_COOKIES)")


@pytest.fixture(scope="module")
def wall() -> Iterator[Asking]:
    """One wall for all: each test begins with nothing known and every budget spent."""
    with talking() as talk, asking(talk) as made:
        yield made


@pytest.fixture
def host(wall: Asking) -> Asking:
    """Cookies are on."""
    wall.reset()
    wall.turn_on()
    return wall


@FAMILIES
@pytest.mark.parametrize("vlans", [(), (VLAN,), (QINQ, VLAN)], ids=["plain", "vlan", "qinq"])
@pytest.mark.parametrize("options", [b"", MSS, LINUX, MSS + b"\1" + STAMP + b"\1" + SACK, SCALE], ids=len)
def test_the_answer(host: Asking, v6: bool, vlans: tuple[int, ...], options: bytes) -> None:
    host.stack_answers(v6=v6)
    sent = frame(options, v6=v6, vlans=vlans)
    outcome, answer = host.show(sent)
    assert outcome == SENT
    tags = 12 + 4 * len(vlans) + 2
    assert answer[:12] == sent[6:12] + sent[:6]
    assert answer[12:tags] == sent[12:tags]
    seen = read(answer)
    ip, segment = seen["IPv6" if v6 else "IP"], seen["TCP"]
    assert (ip.src, ip.dst) == ((OURS6, STRANGER6) if v6 else (OURS4, STRANGER4))
    if v6:
        assert (ip.version, ip.tc, ip.fl, ip.hlim, ip.plen) == (6, 0, 0, OUR_HOPS, len(answer) - tags - 40)
    else:
        assert (ip.ihl, ip.tos, ip.id, ip.flags, ip.frag, ip.ttl) == (5, 0, 0, "DF", 0, OUR_HOPS)
        assert ip.len == len(answer) - tags
    assert (segment.sport, segment.dport, segment.ack, segment.flags) == (443, 40000, 0x01020305, "SA")
    assert (segment.window, segment.urgptr, segment.reserved) == (OUR_WINDOW, 0, 0)
    given = dict(segment.options)
    assert given["MSS"] == OUR_MSS
    assert ("Timestamp" in given) == (STAMP in options)
    if "Timestamp" in given:
        assert given["Timestamp"][1] == 0x01020304
        assert ("SAckOK" in given) == (SACK in options)
        assert given.get("WScale") == (OUR_SCALE if SCALE in options else None)
    else:
        assert set(given) == {"MSS"}


@FAMILIES
@pytest.mark.parametrize("mss", [None, 536, 1220, 1460, 8960])
def test_its_echo_is_proof(host: Asking, v6: bool, mss: int | None) -> None:
    host.stack_answers(v6=v6)
    options = b"" if mss is None else b"\x02\x04" + mss.to_bytes(2, "big")
    cookie = read(host.request(options, v6=v6).frame)["TCP"].seq
    later: dict[str, Any] = {"v6": v6, "sequence": 0x01020305}
    # A neighbour would name another MSS of the table of four.
    for wrong in (cookie - 100, cookie + 100, cookie ^ 0x40000001):
        got = host.show(frame(flags=ACK, acknowledgement=wrong & 0xFFFFFFFF, **later))
        assert got.outcome == (DROP, Reason.LANE_TCP)
    right = (cookie + 1) & 0xFFFFFFFF
    for flags in (RST | ACK, SYN | ACK):
        got = host.show(frame(flags=flags, acknowledgement=right, **later))
        assert got.outcome == (DROP, Reason.LANE_TCP)
    other = host.show(frame(flags=ACK, acknowledgement=right, sport=40001, **later))
    assert other.outcome == (DROP, Reason.LANE_TCP)
    data = frame(flags=PSH | ACK, data=b"GET /", acknowledgement=right, **later)
    assert host.show(data).outcome == (PASS, Reason.PASS_HANDSHAKE)
    more = frame(flags=FIN | ACK, v6=v6, sequence=0x01030000, acknowledgement=right)
    assert host.show(more).outcome == (PASS, Reason.PASS_FLOW)
    assert host.request(v6=v6, sport=41000).outcome == (PASS, Reason.PASS_PROVEN)


def test_an_echo_is_nothing_once_cookies_are_off(host: Asking) -> None:
    host.stack_answers()
    cookie = read(host.request().frame)["TCP"].seq
    host.wall.set_cookies(False)
    host.exhaust(tcp(SYN, dport=9))
    got = host.show(frame(flags=ACK, sequence=0x01020305, acknowledgement=(cookie + 1) & 0xFFFFFFFF))
    assert got.outcome == (DROP, Reason.LANE_TCP)
    assert host.request().outcome == DROPPED


@FAMILIES
def test_nobody_is_answered_for_who_is_not_ready(host: Asking, v6: bool) -> None:
    assert host.request(LINUX, v6=v6).outcome == (
        PASS,
        Reason.PASS,
    )  # for the stack to answer, and to learn from
    assert host.request(LINUX, v6=v6).outcome == DROPPED
    host.stack_answers(v6=v6, ready=False)
    host.request(LINUX, v6=v6)
    assert host.request(LINUX, v6=v6).outcome == DROPPED
    ((place, row),) = host.learned().items()
    assert row[2] == 0  # that was no cookie of this kernel's
    now = host.wall._clock.now()
    host.set_answer(place, cookie=now & 0xFFFFFFFF)
    outcome, answer = host.request(LINUX, v6=v6)
    assert outcome == SENT
    hz = host.wall.info.tick_hz
    for age, expected in ((20, SENT), (31, DROPPED)):
        host.set_answer(place, cookie=(now - age * hz) & 0xFFFFFFFF)
        host.wall.cookie_state._words[0] = now - 100 * hz  # on for long
        while (got := host.request(LINUX, v6=v6).outcome)[0] == PASS:
            continue
        assert got == expected
    host.wall.cookie_state._words[0] = now + 10  # turned on since
    host.set_answer(place, cookie=now & 0xFFFFFFFF)
    assert host.request(LINUX, v6=v6).outcome == DROPPED
    # The wall's own answer is as good as the stack's: sent out at the egress, it is known for a cookie.
    host.turn_on()
    host.set_answer(place, cookie=0)
    host.send(answer)
    assert host.learned()[place][2] != 0


def test_one_request_in_a_while_goes_to_the_stack(host: Asking) -> None:
    host.turn_on(probe_seconds=2.0)
    host.stack_answers()
    place = next(iter(host.learned()))
    hz = host.wall.info.tick_hz
    host.set_answer(place, cookie=(host.wall._clock.now() - 3 * hz) & 0xFFFFFFFF)
    host.wall.cookie_state._words[0] -= 10 * hz
    verdicts = [host.request().outcome for _ in range(10)]
    assert verdicts[0] == (PASS, Reason.PASS)
    assert set(verdicts[1:]) == {SENT}
    time.sleep(2.1)
    assert host.request().outcome == (PASS, Reason.PASS)


def test_addresses_without_end_teach_nothing(host: Asking) -> None:
    host.stack_answers()
    before = host.learned()
    outcomes = [host.request(target=f"198.51.{n >> 8}.{n & 255}").outcome for n in range(512, 1024)]
    assert set(outcomes) <= {(PASS, Reason.PASS), DROPPED}
    assert sum(outcome == (PASS, Reason.PASS) for outcome in outcomes) <= 64
    assert host.learned() == before
    assert host.request().outcome == SENT


def test_a_tag_that_the_nic_took_off_cannot_be_put_back(host: Asking) -> None:
    host.stack_answers(vlans=(VLAN,))
    assert host.request().outcome == DROPPED
    assert host.request(vlans=(VLAN,)).outcome == SENT


def test_only_a_listener_answers(host: Asking) -> None:
    host.stack_answers()
    sent = frame(LINUX, dport=80)
    outcome, after = host.show(sent)
    assert (outcome, after) == ((DROP, Reason.CLOSED_TCP), sent)


@FAMILIES
@pytest.mark.parametrize(
    ("options", "bits", "length"),
    [
        (LINUX, 7 | 16, 40),
        (MSS + STAMP + SCALE, 7, 40),
        (MSS + SACK + STAMP, 15 | 16, 40),
        (STAMP, 15, 40),
        (STAMP + b"\x03\x03\x0f", 14, 40),
        (b"\x01\x01" + STAMP + b"\x03\x03\x00", 0, 40),
        (MSS + SACK + SCALE, None, 24),
        (b"\x00" + STAMP, None, 24),
        (b"\x08\x09" + bytes(10), None, 24),
        (MSS + b"\x08\x0a\x01\x02", None, 24),
        (b"\xfe\x00" + STAMP, None, 24),
        (b"\xfe\x01" + STAMP, None, 24),
        (b"\x01" * 30 + STAMP, None, 24),
    ],
)
def test_the_time_stamp_carries_the_options(
    host: Asking, v6: bool, options: bytes, bits: int | None, length: int
) -> None:
    host.stack_answers(v6=v6)
    before = time.monotonic_ns() // 1_000_000
    segment = read(host.request(options, v6=v6).frame)["TCP"]
    after = time.monotonic_ns() // 1_000_000
    assert segment.dataofs * 4 == length
    if bits is None:
        return
    stamp = dict(segment.options)["Timestamp"][0]
    assert stamp & 63 == bits
    assert 0 <= (after - stamp) & 0xFFFFFFFF <= after - before + 140


def test_ecn_is_taken_where_the_stack_takes_it(host: Asking) -> None:
    host.stack_answers()
    wants: dict[str, Any] = {"flags": SYN | ECE | CWR}
    assert read(host.request(LINUX, **wants).frame)["TCP"].flags == "SA"
    now = (time.monotonic_ns() // 1_000_000) & 0xFFFFFFFF
    told = MSS + SACK + b"\x08\x0a" + now.to_bytes(4, "big") + bytes(4) + SCALE
    segment = tcp(SYN | ACK | ECE, sport=443, options=told)
    host.send(ethernet(ipv4(segment, TCP, source=OURS4, target=STRANGER4), IPV4))
    host.set_answer(next(iter(host.learned())), cookie=host.wall._clock.now() & 0xFFFFFFFF)
    answer = read(host.request(LINUX, **wants).frame)["TCP"]
    assert answer.flags == "SAE"
    assert dict(answer.options)["Timestamp"][0] & 63 == 7 | 16 | 32
    assert read(host.request(LINUX).frame)["TCP"].flags == "SA"
    accurate = bytearray(frame(LINUX, **wants))
    accurate[14 + 20 + 12] |= 1
    assert read(host.show(bytes(accurate)).frame)["TCP"].flags == "SA"


def test_time_stamps_with_an_offset_are_not_imitated(host: Asking) -> None:
    far = ((time.monotonic_ns() // 1_000_000 + 5_000_000) & 0xFFFFFFFF).to_bytes(4, "big")
    host.stack_answers(options=MSS + SACK + b"\x08\x0a" + far + bytes(4) + SCALE)
    assert host.request(LINUX).outcome == (PASS, Reason.PASS)  # perhaps the next one of the stack has none
    outcome, answer = host.request(LINUX)
    assert outcome == SENT
    assert [name for name, _ in read(answer)["TCP"].options] == ["MSS"]


@FAMILIES
@pytest.mark.parametrize(("pad", "data"), [(0, b""), (60, b""), (0, b"x" * 600), (90, b"")])
def test_the_frame_has_the_length_of_the_answer(host: Asking, v6: bool, pad: int, data: bytes) -> None:
    host.stack_answers(v6=v6)
    for options, header in ((b"", 24), (LINUX, 40)):
        sent = frame(options, v6=v6, pad=pad, data=data)
        outcome, answer = host.show(sent)
        assert outcome == SENT
        packet = 14 + (40 if v6 else 20) + header
        assert len(answer) == max(packet, min(60, len(sent)))
        assert read(answer)["TCP"].ack == 0x01020305


def test_what_only_the_stack_can_answer(host: Asking) -> None:
    host.stack_answers()
    host.stack_answers(v6=True, ready=False)
    for place in host.learned():
        host.set_answer(place, cookie=host.wall._clock.now() & 0xFFFFFFFF)
    assert host.request(v6=True).outcome == SENT
    segment = tcp(SYN)
    group = bytearray(frame())
    group[0] |= 1
    for sent in (
        frame(b"\x01\x01\x13\x12" + bytes(16)),  # MD5
        frame(b"\x1d\x10" + bytes(14)),  # TCP-AO
        ethernet(ipv4(segment, TCP, source=STRANGER4, target=OURS4, options=b"\x01" * 4), IPV4),
        ethernet(ipv4(segment + bytes(4), TCP, source=STRANGER4, target=OURS4, flags=1), IPV4),
        ethernet(
            ipv6(segment, TCP, source=STRANGER6, target=OURS6, extensions=[options_header(60)]),
            IPV6,
        ),
        bytes(group),
    ):
        outcome, after = host.show(sent)
        assert (outcome.verdict, after) == (DROP, sent)


def test_any_options_get_a_right_answer(host: Asking) -> None:
    host.stack_answers()
    dice = random.Random(4)
    for _ in range(300):
        size = dice.randrange(0, 41, 4)
        kinds = bytes(dice.choice((0, 1, 2, 3, 4, 8, 10, 19, dice.randrange(256))) for _ in range(size))
        sent = frame(kinds, data=bytes(dice.randrange(20)))
        outcome, answer = host.show(sent)
        if outcome == SENT:
            assert read(answer)["TCP"].ack == 0x01020305
        else:
            assert outcome in (DROPPED, (PASS, Reason.PASS))
            assert answer == sent


@FAMILIES
def test_on_an_interface_with_jumbo_frames(v6: bool) -> None:
    with talking(mtu=9000) as talk, asking(talk) as host:
        host.reset()
        host.turn_on()
        host.stack_answers(v6=v6)
        for options in (b"", LINUX):
            outcome, answer = host.request(options, v6=v6, data=b"x" * 6_000)
            assert outcome == SENT
            assert read(answer)["TCP"].ack == 0x01020305


def test_observe_only_counts() -> None:
    config = Config.from_mapping({**tight().model_dump(mode="json", by_alias=True), "policy": "observe"})
    with talking(config) as talk, asking(talk) as host:
        host.reset()
        sent = frame(LINUX)
        assert host.show(sent).outcome == (PASS, Reason.LANE_SYN)
        host.stack_answers(ready=False)
        assert host.show(sent) == ((PASS, Reason.COOKIE_SENT), sent)


def test_without_cookies_in_the_config() -> None:
    raw = tight().model_dump(mode="json", by_alias=True)
    raw["syncookies"]["enabled"] = False
    with talking(Config.from_mapping(raw)) as talk, asking(talk) as host:
        host.reset()
        assert not host.wall.cookies_possible
        assert not host.wall.set_cookies(True)
        assert not host.wall.cookies
        assert host.request(LINUX).outcome == DROPPED
