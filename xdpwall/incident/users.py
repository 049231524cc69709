# SPDX-License-Identifier: Apache-2.0
"""How those fared who belong here: connections, new connections a second, and what own probes found."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from xdpwall.incident.model import Probe, Users

BEFORE_SECONDS = 60
"""As far back as probes are counted."""
_JUST_BEFORE = 6
"""Readings that say what was just before."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What the host's TCP says of itself (proc_net_snmp, RFC 4022). Both families together.

    Args:
        mono_ns: when it was read.
        established: connections that stand (``CurrEstab``).
        accepted: inbound connections that completed their handshake since boot (``PassiveOpens``, which Linux counts
            once the last step of the handshake has come).
    """

    mono_ns: int
    established: int
    accepted: int


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One try of an own service."""

    name: str
    target: str
    ok: bool
    ms: float
    error: str = ""


class UserBook:
    """Follows the host's TCP and the probes; knows what was before once an incident opens."""

    def __init__(self) -> None:
        self._recent: deque[Stack] = deque(maxlen=BEFORE_SECONDS + 1)
        self._quiet_probes: dict[str, tuple[Probe, deque[bool]]] = {}
        self._users: Users | None = None
        self._probes: dict[str, Probe] = {}
        self._during_completed = 0
        self._during_seconds = 0.0
        self._after_completed = 0
        self._after_seconds = 0.0
        self._last: Stack | None = None

    @property
    def completed_per_s(self) -> float | None:
        """New inbound connections per second, over the last seconds."""
        if len(self._recent) < 2:
            return None
        old, new = self._recent[max(0, len(self._recent) - 4)], self._recent[-1]
        return _per_s(old, new)

    def open(self, known: Users | None = None) -> None:
        """An incident began: what was so far is "before". ``known``: one that was open before a restart."""
        self._during_completed = self._after_completed = 0
        self._during_seconds = self._after_seconds = 0.0
        self._probes = {name: probe for name, (probe, _) in self._quiet_probes.items()}
        if known is not None:
            self._users = known
            self._probes = {probe.name: probe for probe in known.probes}
            return
        recent = list(self._recent)[-_JUST_BEFORE:]
        flows = sorted(stack.established for stack in recent)
        self._users = Users(
            flows_before=flows[len(flows) // 2] if flows else None,
            completed_per_s_before=_per_s(recent[0], recent[-1]) if len(recent) > 1 else None,
        )

    def close(self) -> None:
        """The incident is over."""
        self._users = None
        self._probes = {}

    def take(self, stack: Stack | None, probes: list[ProbeResult], *, in_burst: bool) -> None:
        """One second.

        Args:
            stack: None when it cannot be read.
            probes: results since the last second.
            in_burst: whether the attack is on; only asked while an incident is open.
        """
        before, self._last = self._last, stack
        if stack is not None:
            self._recent.append(stack)
        if self._users is None:
            for result in probes:
                self._take_quiet(result)
            return
        for result in probes:
            self._probes[result.name] = _with(self._probes.get(result.name), result, during=in_burst)
        if stack is not None and before is not None and stack.mono_ns > before.mono_ns:
            self._follow(before, stack, in_burst=in_burst)

    def users(self, collateral: int | None) -> Users:
        """As it stands. ``collateral``: packets that were dropped of sources known to be good; None: not measured."""
        known = self._users or Users()
        probes = tuple(self._probes[name] for name in sorted(self._probes))
        return replace(known, collateral_packets=collateral, probes=probes)

    def _follow(self, before: Stack, now: Stack, *, in_burst: bool) -> None:
        assert self._users is not None
        completed = max(0, now.accepted - before.accepted)
        seconds = (now.mono_ns - before.mono_ns) / 1e9
        if in_burst:
            self._during_completed += completed
            self._during_seconds += seconds
            least = self._users.flows_during_min
            self._users = replace(
                self._users,
                flows_during_min=now.established if least is None else min(least, now.established),
                completed_per_s_during=round(self._during_completed / self._during_seconds, 2),
                flows_after=None,
                completed_per_s_after=None,
            )
            self._after_completed, self._after_seconds = 0, 0.0
        else:
            self._after_completed += completed
            self._after_seconds += seconds
            self._users = replace(
                self._users,
                flows_after=now.established,
                completed_per_s_after=round(self._after_completed / self._after_seconds, 2),
            )

    def _take_quiet(self, result: ProbeResult) -> None:
        _, recent = self._quiet_probes.get(result.name, (None, deque[bool](maxlen=BEFORE_SECONDS)))
        recent.append(result.ok)
        probe = Probe(result.name, result.target, before_ok=sum(recent), before_tries=len(recent))
        self._quiet_probes[result.name] = (probe, recent)


def _with(probe: Probe | None, result: ProbeResult, *, during: bool) -> Probe:
    known = probe or Probe(result.name, result.target)
    error = known.last_error if result.ok else result.error
    if not during:
        return replace(
            known, after_ok=known.after_ok + result.ok, after_tries=known.after_tries + 1, last_error=error
        )
    # Should the attack come back, what was "after" a moment ago is "during".
    worst = known.during_worst_ms
    if result.ok:
        worst = round(max(worst or 0.0, result.ms), 1)
    return replace(
        known,
        during_ok=known.during_ok + known.after_ok + result.ok,
        during_tries=known.during_tries + known.after_tries + 1,
        after_ok=0,
        after_tries=0,
        during_worst_ms=worst,
        last_error=error,
    )


def _per_s(old: Stack, new: Stack) -> float | None:
    span = (new.mono_ns - old.mono_ns) / 1e9
    return round(max(0, new.accepted - old.accepted) / span, 2) if span > 0 else None


def read_snmp(text: str, mono_ns: int) -> Stack | None:
    """Read ``/proc/net/snmp``: pairs of lines, names and then numbers. None when TCP is not in it."""
    names: Mapping[str, list[str]] = {}
    for line in text.splitlines():
        head, _, rest = line.partition(":")
        fields = rest.split()
        if head == "Tcp" and head not in names:
            names = {head: fields}
        elif head == "Tcp":
            found = dict(zip(names[head], fields, strict=False))
            try:
                return Stack(mono_ns, int(found["CurrEstab"]), int(found["PassiveOpens"]))
            except (KeyError, ValueError):
                return None
    return None
