# SPDX-License-Identifier: Apache-2.0
"""Any history of bans, against a plain dictionary: what stands, and what the kernel drops."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bpf.packets import frame_from
from tests.bpf.scene import Probe
from tests.bpf.test_expiry import HOUR, MINUTE, ago
from xdpwall.dataplane.gate import GateList
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.model import Prefix
from xdpwall.reasons import Reason

HOSTS = ("10.1.2.3", "10.1.2.4", "10.1.3.3", "10.2.2.3", "172.16.0.1", "2001:db8:1:1::1", "2001:db8:1:1::2",
         "2001:db8:1:2::1", "2001:db8:2::1", "2a00::1")  # fmt: skip
V4_LENGTHS, V6_LENGTHS = (
    (1, 8, 9, 15, 16, 17, 24, 30, 31, 32),
    (3, 16, 20, 21, 31, 32, 33, 48, 63, 64, 65, 127, 128),
)


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    """Around a few hosts, so that they nest and repeat."""
    packed = ipaddress.ip_address(draw(st.sampled_from(HOSTS))).packed
    return Prefix.covering(packed, draw(st.sampled_from(V4_LENGTHS if len(packed) == 4 else V6_LENGTHS)))


LAPSED = 0
times = st.sampled_from([None, HOUR, 2 * HOUR, LAPSED])
"""How long a ban lasts from now; LAPSED ended half an hour ago."""


@dataclass(frozen=True)
class Step:
    """One change: ``put``, ``remove``, ``sweep`` or ``clear``. ``bans`` are those to put, or to remove."""

    action: str
    bans: dict[Prefix, int | None] = field(default_factory=dict)


batches = st.dictionaries(prefixes(), times, min_size=1, max_size=6)
puts = st.builds(Step, st.just("put"), batches)
others = st.builds(Step, st.just("remove"), batches) | st.builds(Step, st.sampled_from(["sweep", "clear"]))
histories = st.lists(puts | puts | others, max_size=12)


def put(probe: Probe, batch: list[tuple[Prefix, int | None]]) -> None:
    """Put a batch as a controller would; bans that have lapsed are put as of an hour ago."""
    for over in (False, True):
        part = [(p, ms) for p, ms in batch if (ms == LAPSED) == over]
        if over:
            with ago(probe, HOUR):
                probe.wall.bans.put_many((p, 30 * MINUTE) for p, _ in part)
        elif len(part) == 1:
            probe.wall.bans.put(*part[0])
        else:
            probe.wall.bans.put_many(part)


def open_gates(probe: Probe) -> int:
    """How many words of the gates of bans are not zero."""
    count = 0
    for name, first, stride in (("ban4_gate", 0, 1), ("ban6_gate", 0, 1), ("gate", GateList.BAN, 4)):
        array = MappedArray(probe.wall._pins, name)
        count += sum(1 for word in array.words.tolist()[first::stride] if word)
        array.close()
    return count


def check(probe: Probe, model: dict[Prefix, int | None]) -> None:
    """The wall holds what the model holds, and drops what it says."""
    alive = {prefix for prefix, ms in model.items() if ms != LAPSED}
    held = {entry.prefix: entry.remaining_ms for entry in probe.wall.bans.entries()}
    # The place of a lapsed ban may have been given to another.
    assert alive <= held.keys() <= model.keys()
    assert len(probe.wall.bans) == len(held)
    for prefix, remaining in held.items():
        ms = model[prefix]
        if ms is None or remaining is None:
            assert remaining is ms
        else:
            assert max(0, ms - 5 * MINUTE) <= remaining <= ms + 1_000
        found = probe.wall.bans.get(prefix)
        assert found is not None
        assert (found.remaining_ms is None) == (remaining is None)
    for host in HOSTS:
        address = Prefix.parse(host)
        covering = [prefix for prefix in alive if prefix.contains(address)]
        outcome = probe.run(frame_from(host))
        if not covering:
            assert outcome.reason is Reason.PASS, host
        elif any(prefix.is_source for prefix in covering):
            assert outcome.reason is Reason.BANNED_SOURCE, host
        else:
            assert outcome.reason is Reason.BANNED_PREFIX, host


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(history=histories)
def test_any_history(lists: Probe, history: list[Step]) -> None:
    bans = lists.wall.bans
    bans.clear()
    model: dict[Prefix, int | None] = {}
    for step in history:
        if step.action == "put":
            put(lists, list(step.bans.items()))
            model |= step.bans
        elif step.action == "remove":
            stood = step.bans.keys() & model.keys()
            alive = {prefix for prefix in stood if model[prefix] != LAPSED}
            assert len(alive) <= bans.remove_many(step.bans) <= len(stood)
            model = {prefix: ms for prefix, ms in model.items() if prefix not in step.bans}
        elif step.action == "sweep":
            bans.sweep()
            model = {prefix: ms for prefix, ms in model.items() if ms != LAPSED}
            assert len(bans) == len(model)
        else:
            bans.clear()
            model = {}
        check(lists, model)
    bans.remove_many(model)
    bans.sweep()
    assert (len(bans), open_gates(lists)) == (0, 0), "no look-up is left behind"
