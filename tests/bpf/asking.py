# SPDX-License-Identifier: Apache-2.0
"""Connection requests for a wall that answers with SYN cookies, and what is to be read in its answers."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tests.bpf.packets import ACK, IPV4, IPV6, SYN, TCP, ethernet, ipv4, ipv6, tcp
from tests.bpf.scene import Outcome
from tests.bpf.talk import OURS4, OURS6, STRANGER4, STRANGER6, Talk
from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.interface import Count

TX = 3
"""XDP_TX of the kernel's uapi/linux/bpf.h."""
MSS = b"\x02\x04\x05\xb4"
SACK = b"\x04\x02"
SCALE = b"\x01\x03\x03\x07"
STAMP = b"\x08\x0a\x01\x02\x03\x04\0\0\0\0"
LINUX = MSS + SACK + STAMP + SCALE
"""The options of a request as Linux sends them: window scale 7."""
OUR_SCALE, OUR_WINDOW, OUR_MSS, OUR_HOPS = 9, 0x4321, 1400, 61
ANSWER = struct.Struct("<9I2H4B20x")
"""``struct answer``: tag, seen, cookie, stamped, scaled, sacked, ecn, probed, probed_full, mss, window, ..."""
_WORK = ("answers", "probes", "cookie_state")


class Answered(NamedTuple):
    """What became of a request, and the frame as the program left it."""

    outcome: Outcome
    frame: bytes


class Asking(Talk):
    """A wall, its listener on TCP 443, and strangers with requests."""

    def reset(self) -> None:
        """As of :class:`Talk`; nothing learned of answers, no cookies, TCP 443 open, budgets spent."""
        super().reset()
        possible = self.wall.cookies_possible
        for name in _WORK:
            array = self.wall._array(name)
            array.memory[: array.size] = bytes(array.size)
        self.wall.cookie_state.set_possible(possible)
        self.wall.set_ports({443}, ())
        self.exhaust(tcp(SYN, dport=9))

    def turn_on(self, *, probe_seconds: float = 60.0) -> None:
        """Cookies are on. A listener's requests go to the stack this often; on a busy machine 0.25 s are over soon."""
        assert self.wall.set_cookies(True)
        self.wall.cookie_state._words[3] = round(probe_seconds * self.wall.info.tick_hz)

    def request(self, options: bytes = b"", **fields: Any) -> Answered:
        """A SYN of a stranger's. ``fields``: see :func:`frame`."""
        return self.show(frame(options, **fields))

    def show(self, sent: bytes) -> Answered:
        """Verdict, reason and the frame afterwards."""
        interface = self.probe.interface
        before = self.wall.verdicts()[interface]
        result = sys_bpf.test_run(self.probe.fd, sent)
        after = self.wall.verdicts()[interface]
        (reason,) = [r for r, count in after.items() if count != before.get(r, Count())]
        return Answered(Outcome(result.verdict, reason), result.data)

    def stack_answers(
        self,
        *,
        v6: bool = False,
        ready: bool = True,
        options: bytes | None = None,
        vlans: tuple[int, ...] = (),
    ) -> None:
        """Our stack sends a SYN-ACK, whose form is learned. ``ready``: and takes cookies from now on."""
        now = (time.monotonic_ns() // 1_000_000) & 0xFFFFFFFF
        stamped = (
            struct.pack(">BBHBBBBIIBBBB", 2, 4, OUR_MSS, 4, 2, 8, 10, now, 1, 1, 3, 3, OUR_SCALE)
            if options is None
            else options
        )
        segment = bytearray(tcp(SYN | ACK, sport=443, dport=40000, options=stamped))
        segment[14:16] = OUR_WINDOW.to_bytes(2, "big")
        if v6:
            packet = ipv6(bytes(segment), TCP, source=OURS6, target=STRANGER6, hop_limit=OUR_HOPS)
        else:
            packet = ipv4(bytes(segment), TCP, source=OURS4, target=STRANGER4, ttl=OUR_HOPS)
        self.send(ethernet(packet, IPV6 if v6 else IPV4, vlans=vlans))
        if ready:
            (place,) = self.learned()
            self.set_answer(place, cookie=self.wall._clock.now() & 0xFFFFFFFF)

    def learned(self) -> dict[int, tuple[int, ...]]:
        """Places of the answers that are known, and what is in them."""
        memory = self.wall._array("answers").memory
        rows = {at: ANSWER.unpack_from(memory, at) for at in range(0, 4096 * ANSWER.size, ANSWER.size)}
        return {at: row for at, row in rows.items() if row[0]}

    def set_answer(self, place: int, *, cookie: int) -> None:
        """As if the stack's last cookie had been sent at this tick."""
        struct.pack_into("<I", self.wall._array("answers").memory, place + 8, cookie)


def frame(
    options: bytes = b"",
    *,
    v6: bool = False,
    vlans: tuple[int, ...] = (),
    data: bytes = b"",
    flags: int = SYN,
    sequence: int = 0x01020304,
    acknowledgement: int = 0,
    dport: int = 443,
    sport: int = 40000,
    pad: int = 0,
    target: str | None = None,
) -> bytes:
    """A segment of a stranger's to us. ``pad``: the frame's shortest length."""
    segment = tcp(
        flags,
        data,
        sport=sport,
        dport=dport,
        options=options + bytes(-len(options) % 4),
        sequence=sequence,
        acknowledgement=acknowledgement,
    )
    if v6:
        made = ethernet(ipv6(segment, TCP, source=STRANGER6, target=target or OURS6), IPV6, vlans=vlans)
    else:
        made = ethernet(ipv4(segment, TCP, source=STRANGER4, target=target or OURS4), IPV4, vlans=vlans)
    return made.ljust(pad, b"\0")


def read(answer: bytes) -> Any:
    """The answer as scapy reads it, its check sums compared with those that scapy computes."""
    from scapy.layers.inet import IP
    from scapy.layers.inet import TCP as SCAPY_TCP
    from scapy.layers.l2 import Ether

    seen, again = Ether(answer), Ether(answer)
    del again[SCAPY_TCP].chksum
    if IP in again:
        del again[IP].chksum
    fresh = Ether(bytes(again))
    assert seen[SCAPY_TCP].chksum == fresh[SCAPY_TCP].chksum
    if IP in seen:
        assert seen[IP].chksum == fresh[IP].chksum
    return seen


@contextmanager
def asking(talk: Talk) -> Iterator[Asking]:
    """The same wall, with the requests of this module."""
    made = Asking.__new__(Asking)
    made.__dict__.update(talk.__dict__)
    yield made
