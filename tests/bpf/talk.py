# SPDX-License-Identifier: Apache-2.0
"""A wall whose budgets are all but nothing, a host behind it that can be made to say things, and a stranger.

A budget of one packet a second with the shortest burst lets a handful through; after :meth:`Talk.exhaust` no lane has
anything left, so what passes then, passes on proof.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bpf.packets import IPV4, IPV6, TCP, ethernet, ipv4, ipv6
from tests.bpf.scene import NO_LIMITS, Outcome, Probe, loaded
from xdpwall.config import Config
from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.pins import Pins

OURS4, PEER4, STRANGER4 = "198.51.100.1", "192.0.2.7", "203.0.113.9"
OURS6, PEER6, STRANGER6 = "2001:db8:1::1", "2001:db8:7::7", "2001:db8:bad::9"
LANES = ("syn", "tcp", "udp", "icmp", "fragment", "other", "closed")
_STATE = ("pools", "classes", "lane_cpus", "proofs", "proof_gate", "peers", "pending")


def tight(**lanes: object) -> Config:
    """One packet a second for each lane; ``lanes`` are further keys of the table."""
    return Config.from_mapping(
        {"limits": NO_LIMITS, "lanes": {lane: {"pps": 1, "bps": 0} for lane in LANES} | lanes}
    )


class Talk:
    """The wall with its two sides.

    Args:
        probe: of the wall's interface.
        pins: of the wall.
    """

    def __init__(self, probe: Probe, pins: Pins) -> None:
        self.probe = probe
        self.wall = probe.wall
        self._egress = sys_bpf.obj_get(pins.egress)

    def reset(self) -> None:
        """Budgets full, nothing known, no port open."""
        for name in _STATE:
            array = self.wall._array(name)
            array.memory[: array.size] = bytes(array.size)
        self.wall.set_ports((), ())

    def hear(
        self, payload: bytes, protocol: int = TCP, *, v6: bool = False, stranger: bool = False
    ) -> Outcome:
        """A packet from the peer, or a stranger, to us."""
        return self.probe.run(self.frame_in(payload, protocol, v6=v6, stranger=stranger))

    @staticmethod
    def frame_in(payload: bytes, protocol: int = TCP, *, v6: bool = False, stranger: bool = False) -> bytes:
        """The frame of :meth:`hear`."""
        if v6:
            return ethernet(
                ipv6(payload, protocol, source=STRANGER6 if stranger else PEER6, target=OURS6), IPV6
            )
        return ethernet(ipv4(payload, protocol, source=STRANGER4 if stranger else PEER4, target=OURS4), IPV4)

    def say(
        self, payload: bytes, protocol: int = TCP, *, v6: bool = False, vlans: tuple[int, ...] = ()
    ) -> None:
        """A packet of ours to the peer."""
        if v6:
            frame = ethernet(ipv6(payload, protocol, source=OURS6, target=PEER6), IPV6, vlans=vlans)
        else:
            frame = ethernet(ipv4(payload, protocol, source=OURS4, target=PEER4), IPV4, vlans=vlans)
        self.send(frame)

    def send(self, frame: bytes) -> None:
        """Show the egress program a frame. It must let the next filter decide, and leave the frame as it is."""
        result = sys_bpf.test_run(self._egress, frame)
        assert result.verdict == 0xFFFFFFFF
        assert result.data == frame

    def exhaust(self, payload: bytes, protocol: int = TCP, *, v6: bool = False) -> Outcome:
        """All budgets are spent for the next quarter of an hour. Gives what happens to this packet of a stranger."""
        far = (self.wall._clock.now() + 250_000) << 20
        for name, at, step in (("pools", 0, 8), ("lane_cpus", 6, 8)):
            words = self.wall._array(name).words
            for place in range(at, len(words), step):
                words[place] = far
        return self.hear(payload, protocol, v6=v6, stranger=True)

    def close(self) -> None:
        """Let go of the egress program."""
        os.close(self._egress)


@contextmanager
def talking(config: Config | None = None, *, mtu: int = 1500) -> Iterator[Talk]:
    """A loaded wall of its own."""
    with loaded(config or tight(), mtu=mtu) as probe:
        talk = Talk(probe, Pins(probe.wall._paths))
        try:
            yield talk
        finally:
            talk.close()
