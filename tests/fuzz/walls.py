# SPDX-License-Identifier: Apache-2.0
"""The walls that are fuzzed: configurations, what each of them knows, and the plan that the driver reads."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from tests.bpf.asking import Asking, asking
from tests.bpf.packets import packed
from tests.bpf.scene import LEAN, NO_LIMITS, Probe, Scene, config, scene
from tests.bpf.talk import LANES, OURS4, OURS6, STRANGER4, STRANGER6, Talk
from xdpwall.config import Config
from xdpwall.dataplane import defines, layout, sys_bpf
from xdpwall.dataplane.samples import SAMPLE
from xdpwall.fingerprint import SIZE, Pattern, Rule
from xdpwall.lanes import Lane
from xdpwall.model import Prefix
from xdpwall.reasons import PASSES, Reason

SEED = 0x5EED_0F_0DDBA11
"""Of every wall's hash, so that a run can be repeated."""
FOR_EVER = 1 << 40
_YEAR_MS = 365 * 86_400_000
_TICK = (1 << 32) + (1 << 24)
"""The native build's time: always the same, and later than the kernel's, which counts from just below 2^32."""
OWN, ALLOWED, BANNED, PREFIX_BANNED = 1, 2, 3, 4
"""``enum role`` of ``c/layers.h``."""
ROLES = (
    (OURS4, OWN), (OURS6, OWN), ("198.51.100.255", OWN), ("2001:db8:1::53", OWN),
    ("203.0.113.128/25", ALLOWED), ("2001:db8:a110::/48", ALLOWED), ("192.0.2.200", ALLOWED),
    ("192.0.2.66", BANNED), ("192.0.2.67", BANNED), ("203.0.113.13", BANNED), ("203.0.113.130", BANNED),
    ("2001:db8:bad:66::/64", BANNED), ("2001:db8:bad:67::/64", BANNED),
    ("198.18.0.0/15", PREFIX_BANNED), ("100.64.7.0/24", PREFIX_BANNED), ("2001:db8:dead::/48", PREFIX_BANNED),
    ("2001:db8:8000::/33", PREFIX_BANNED),
)  # fmt: skip
"""Addresses and prefixes by what the wall knows of them. An allowed one may be banned, too: it is allowed."""
PAIRS = (
    (STRANGER4, STRANGER6), ("192.0.2.7", "2001:db8:7::7"), ("192.0.2.66", "2001:db8:bad:66::1"),
    ("198.19.3.4", "2001:db8:dead:1::1"), ("203.0.113.200", "2001:db8:a110::9"), (OURS4, OURS6),
    ("198.51.100.255", "2001:db8:1::53"), ("127.0.0.1", "::1"), ("224.0.1.1", "ff0e::1"),
)  # fmt: skip
"""A source of each kind in both families."""
FROZEN = frozenset(
    [
        "ban4_gate",
        "ban6_gate",
        "ban4_full",
        "ban6_full",
        "ban6_keys",
        "gate",
        "ports",
        "budgets",
        "proof_ages",
        "cookie_state",
        "rules",
        "meta",
        "interfaces",
    ]
)
"""Maps that only Python writes."""
_BY_LANES = tuple(r for r in Reason if r >= Reason.LANE_SYN)
_MALFORMED = (
    *range(Reason.TRUNCATED, Reason.SOURCE_OWN),
    *range(Reason.EXTENSION_CHAIN, Reason.SOURCE_PPS),
)
_LIMITED = (*range(Reason.BANNED_SOURCE, Reason.LANE_SYN), Reason.PASS_ALLOWED, Reason.FINGERPRINT)


@dataclass(frozen=True)
class Subject:
    """One configuration to fuzz.

    Args:
        name: of the configuration.
        config: what the wall is loaded for.
        share: of a run's packets.
        spent: its budgets are, so that each packet needs proof.
        cookies: it answers requests.
        flags: what the driver may ask of it, see ``struct settings`` in ``c/oracle.h``.
        mtu: of its interface.
    """

    name: str
    config: Config
    share: float
    spent: bool = False
    cookies: bool = False
    flags: dict[str, int] = field(default_factory=dict)
    mtu: int = 1500


def _tight(**changes: Any) -> Config:
    lanes = {lane: {"pps": 1, "bps": 0} for lane in LANES}
    return Config.from_mapping({"limits": NO_LIMITS, "lanes": lanes, **LEAN, **changes})


_METERS = {"meters": {**LEAN["meters"], "enabled": True}}
_TINY = {
    "limits": {
        "source": {"pps": 2000, "bps": 4_000_000, "syn": 200},
        "prefix": {"pps": 20_000, "bps": 40_000_000, "syn": 2000},
    }
}


def subjects() -> dict[str, Subject]:
    """All of them by name. ``plain`` comes first: only there do nothing but packet and lists decide."""
    listed = [
        Subject("plain", config(**LEAN), 0.4, flags={"twins": 1, "families": 1, "differs": 1}),
        Subject("spent", _tight(), 0.2, spent=True, flags={"twins": 1}),
        Subject("storm", _tight(**_METERS, **_TINY), 0.25, spent=True, cookies=True),
        Subject("observe", _tight(policy="observe"), 0.07, spent=True, cookies=True),
        Subject("lax", _tight(checks={"malformed": False}), 0.06, spent=True, flags={"twins": 1}),
        Subject("jumbo", _tight(**_METERS), 0.02, spent=True, cookies=True, mtu=9000),
    ]
    return {subject.name: subject for subject in listed}


class Laid:
    """A loaded wall that knows what its subject says, ready for the driver."""

    def __init__(self, subject: Subject, place: Scene, host: Asking) -> None:
        self.subject = subject
        self.place = place
        self.host = host
        self._shape = defines.sizes(subject.config, defines.possible_cpus())

    def defines(self) -> dict[str, int | str]:
        """What the data path was compiled with."""
        return defines.defines(self.subject.config, self._shape, SEED)

    def prepare(self) -> None:
        """Fill lists, ports, rules and proofs; spend the budgets."""
        wall = self.host.wall
        wall.bans.put_many([(Prefix.parse(a), None) for a, role in ROLES if role in (BANNED, PREFIX_BANNED)])
        for address, role in ROLES:
            if role == ALLOWED:
                wall.allow.put(Prefix.parse(address))
        wall.set_own_addresses([Prefix.parse(a) for a, role in ROLES if role == OWN])
        if not self.subject.spent:
            return
        wall.set_ports({443, 22, 8443}, {53, 123}, {22})
        for rule in _rules():
            wall.rules.put(Rule(wall.rules.next_id(), *rule), _YEAR_MS)
        if self.subject.cookies and wall.set_cookies(True):
            for v6 in (False, True):
                self.host.stack_answers(v6=v6, ready=False)
            for place in self.host.learned():
                self.host.set_answer(place, cookie=wall._clock.now() & 0xFFFFFFFF)
            words = wall.cookie_state._words
            words[1] = words[2] = FOR_EVER
            words[3] = wall.info.tick_hz
        far = (wall._clock.now() + (1 << 32)) << 20
        for name, at in (("pools", 0), ("lane_cpus", 6)):
            words = wall._array(name).words
            for place in range(at, len(words), 8):
                words[place] = far

    def plan(self, cpu: int, settings: dict[str, object]) -> tuple[str, list[int]]:
        """The plan's text, and the descriptors that the driver must have. The caller closes them."""
        wall, pins = self.host.wall, self.place.pins
        egress = sys_bpf.obj_get(pins.egress)
        program = wall.program_fd(self.host.probe.interface)
        fds = [program, egress]
        subject = self.subject
        lines = [f"hash {SEED}", f"name {subject.name}", f"program {program}", f"cpu {cpu}"]
        lines += [f"egress {egress if subject.spent else -1}", f"sends {int(subject.spent)}"]
        lines += [f"{name} {value}" for name, value in subject.flags.items()]
        lines += [f"longest {9014 if subject.mtu > 1500 else 1514}", f"sample {SAMPLE.size}"]
        lines += [
            f"observe {int(subject.config.policy == 'observe')}",
            f"lanes {int(subject.config.lanes.enabled)}",
        ]
        lines += [f"reserves {int(subject.config.meters.enabled)}"]
        lines += [f"malformed {int(subject.config.checks.malformed)}", f"tick {_TICK}"]
        for shape in layout.MAPS:
            if shape.mmap:
                fd = pins.open_map(shape.name)
                fds.append(fd)
                size = layout.map_shape(shape, fd).max_entries * shape.value_size
                lines.append(f"map {shape.name} {fd} {size} {int(shape.name in FROZEN)}")
        fd = pins.open_map("samples")
        fds.append(fd)
        lines.append(f"ring {fd} {sys_bpf.map_info(fd).max_entries}")
        lines += _lists()
        lines += [f"reason {reason.name} {reason.value}" for reason in Reason]
        lines += [f"passes {_bits(PASSES)}", f"by-lanes {_bits(_BY_LANES)}", f"limited {_bits(_LIMITED)}"]
        lines += [f"malformed-reasons {_bits(_MALFORMED)}", f"used-reasons {max(Reason) + 1}"]
        lines += [f"{name} {value}" for name, value in settings.items()]
        return "\n".join(lines) + "\n", fds


def _bits(reasons: Any) -> int:
    return sum(1 << int(reason) for reason in reasons)


def _lists() -> Iterator[str]:
    """Roles for the rules of the driver, and entries for the native build, whose tries begin empty."""
    for text, role in ROLES:
        prefix = Prefix.parse(text)
        address, bits = packed(text.split("/")[0]), prefix.length
        family = 4 if len(address) == 4 else 6
        yield f"role {family} {bits} {role} {address.hex()}"
        key = struct.pack("<I", bits) + address
        if role == OWN:
            mapped = address if family == 6 else bytes(10) + b"\xff\xff" + address
            yield f"entry own {mapped.hex()} 00000000"
        elif role == ALLOWED:
            yield f"entry allow{family} {key.hex()} 00000000"
        elif role == PREFIX_BANNED:
            yield f"entry ban_prefix{family} {key.hex()} {layout.BAN_VALUE.pack(0xFFFFFFFF, 0, 0, 0).hex()}"
    for four, six in PAIRS:
        yield f"pair {packed(four).hex()} {packed(six).hex()}"


def _rules() -> Iterator[tuple[Pattern, bool]]:
    """A rule of each sort: bytes, ranges, one that only observes."""
    none = bytes(SIZE)
    port = bytes(0xFF if at in (8, 9) else 0 for at in range(SIZE))
    yield Pattern(Lane.UDP, port, bytes(8) + (123).to_bytes(2, "big") + bytes(SIZE - 10)), False
    yield Pattern(Lane.SYN, none, none, ttl=(200, 255)), False
    yield Pattern(Lane.TCP, none, none, length=(0, 50)), True
    yield Pattern(Lane.ICMP, none, none, length=(600, 1500)), False
    yield Pattern(Lane.FRAGMENT, none, none, ttl=(1, 20)), True


@contextmanager
def laid(subject: Subject) -> Iterator[Laid]:
    """Load the wall of a subject in a namespace of its own, and take it down."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch("xdpwall.dataplane.loader.secrets.randbits", lambda _bits: SEED))
        place = stack.enter_context(scene(mtu=subject.mtu))
        place.load(subject.config)
        wall = stack.enter_context(place.open())
        probe = Probe(wall, "wt0")
        stack.callback(probe.close)
        talk = Talk(probe, place.pins)
        stack.callback(talk.close)
        host = stack.enter_context(asking(talk))
        made = Laid(subject, place, host)
        made.prepare()
        yield made
