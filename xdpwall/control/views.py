# SPDX-License-Identifier: Apache-2.0
"""Builds the result objects from a wall and the record of it. The same with a controller and without one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from xdpwall import __version__
from xdpwall.clock import Clock
from xdpwall.control.book import Book
from xdpwall.control.guard import Guard
from xdpwall.control.observed import brief
from xdpwall.control.protection import Kind
from xdpwall.control.results import (
    AllowEntryResult,
    AllowListResult,
    BanCountsResult,
    BanResult,
    ControllerResult,
    InterfaceResult,
    OffResult,
    State,
    StatusResult,
    TotalsResult,
    VerdictResult,
    VerdictsResult,
)
from xdpwall.control.results_protect import ProtectedResult
from xdpwall.dataplane.interface import Count, Dataplane, InterfaceState, KernelBan, OffState, WallInfo
from xdpwall.model import Ban, Origin
from xdpwall.reasons import Reason

Counts = Mapping[str, Mapping[Reason, Count]]
Action = Literal["pass", "drop", "would_drop"]
_KINDS = tuple(Kind)


def ban_result(ban: Ban, now_ms: int, kernel: KernelBan | None) -> BanResult:
    """One ban of the record, with what the kernel counted for it."""
    return BanResult(
        prefix=str(ban.prefix),
        reason=ban.reason,
        origin=ban.origin.value,
        created_ms=ban.created_ms,
        expires_ms=ban.expires_ms,
        remaining_ms=ban.remaining_ms(now_ms),
        strikes=ban.strikes,
        dropped_packets=kernel.packets if kernel is not None else 0,
        dropped_bytes=kernel.bytes if kernel is not None else 0,
    )


def ban_results(wall: Dataplane | None, book: Book, now_ms: int) -> Iterator[BanResult]:
    """All live bans: those in the kernel with their counters, then those on record that the kernel lacks."""
    shown = 0
    if wall is not None:
        for kernel in wall.bans.entries():
            if kernel.remaining_ms == 0:
                continue
            ban = book.get(kernel.prefix)
            if ban is None:
                end = None if kernel.remaining_ms is None else now_ms + kernel.remaining_ms
                ban = Ban(kernel.prefix, now_ms, end, "in the kernel, not on record", Origin.KERNEL)
            else:
                shown += 1
            yield ban_result(ban, now_ms, kernel)
    if shown == len(book):
        return
    for ban in book.bans():
        if not ban.is_over(now_ms) and (wall is None or wall.bans.get(ban.prefix) is None):
            yield ban_result(ban, now_ms, None)


def allow_list(guard: Guard, used: Iterable[str] = (), lost: Iterable[str] = ()) -> AllowListResult:
    """The allowlist, in order of address, and who is protected beside it.

    Args:
        guard: both lists.
        used: where logins were looked for.
        lost: what could not be looked at.
    """
    entries = sorted((entry for _, entry in guard.allow.items()), key=lambda e: (e.prefix.version, e.prefix))
    return AllowListResult(
        allow=[
            AllowEntryResult(prefix=str(e.prefix), origin=e.origin, reason=e.reason, created_ms=e.created_ms)
            for e in entries
        ],
        protected=[
            ProtectedResult(
                prefix=str(p.prefix),
                kind=p.kind.value,
                reason=p.why,
                source=p.source,
                since_ms=p.since_ms,
                until_ms=p.until_ms,
            )
            for p in sorted(guard.protected.values(), key=lambda p: (_KINDS.index(p.kind), p.prefix))
        ],
        evidence=list(used),
        unseen=list(lost),
    )


def totals(counts: Counts, policy: str, observed: Counts) -> TotalsResult:
    """Sums of all interfaces and reasons. What passed only because its reason observes has passed.

    Args:
        counts: by interface and reason.
        policy: of the loaded wall.
        observed: what of ``counts`` was no drop.
    """
    result = TotalsResult(
        packets=0, bytes=0, dropped_packets=0, dropped_bytes=0, passed_packets=0, passed_bytes=0
    )
    would = 0
    for name, reasons in counts.items():
        for reason, count in reasons.items():
            seen = observed.get(name, {}).get(reason, Count())
            would += seen.packets
            dropped = _minus(count, seen) if reason.drops else Count()
            result["packets"] += count.packets
            result["bytes"] += count.bytes
            result["dropped_packets"] += dropped.packets
            result["dropped_bytes"] += dropped.bytes
            result["passed_packets"] += count.packets - dropped.packets
            result["passed_bytes"] += count.bytes - dropped.bytes
    if would or policy == "observe":
        result["would_drop_packets"] = would
    return result


def _minus(count: Count, part: Count) -> Count:
    return Count(max(0, count.packets - part.packets), max(0, count.bytes - part.bytes))


def verdicts(
    counts: Counts,
    policy: str,
    rates: Mapping[tuple[str, Reason], int] | None = None,
    observed: Counts | None = None,
) -> VerdictsResult:
    """Every verdict seen so far, by interface.

    Args:
        counts: by interface and reason.
        policy: of the loaded wall.
        rates: packets per second, when somebody measures them.
        observed: what of ``counts`` passed, for its reason only observes: rows of their own.
    """
    rows: list[VerdictResult] = []
    for name in sorted(counts):
        for reason in sorted(counts[name]):
            for action, count in split(
                counts[name][reason], (observed or {}).get(name, {}).get(reason), reason
            ):
                row = VerdictResult(
                    interface=name,
                    reason=reason.label,
                    action=action,
                    packets=count.packets,
                    bytes=count.bytes,
                    meaning=reason.meaning,
                )
                if rates is not None:
                    row["pps"] = rates.get((name, reason), 0)
                    rates = {**rates, (name, reason): 0}  # of two rows, the first is what happens now
                rows.append(row)
    return VerdictsResult(policy=policy, verdicts=rows)


def split(count: Count, observed: Count | None, reason: Reason) -> list[tuple[Action, Count]]:
    """A count with what was done: passed; would have been dropped, and then was dropped at other times."""
    if not reason.drops:
        return [("pass", count)]
    if observed is None or not observed.packets:
        return [("drop", count)]
    rest = _minus(count, observed)
    both: list[tuple[Action, Count]] = [("would_drop", observed)]
    return [*both, ("drop", rest)] if rest.packets else both


def interface_problems(interfaces: Iterable[InterfaceState]) -> list[str]:
    """What is wrong with the interfaces, one sentence each."""
    states = list(interfaces)
    return [*interface_troubles(states).values(), *mode_troubles(states).values()]


def interface_troubles(interfaces: Iterable[InterfaceState]) -> dict[str, str]:
    """Interfaces where the wall does not run, each with a sentence."""
    troubles = {}
    for state in interfaces:
        if not state.ifindex:
            text = "the interface is missing; the wall goes up there when it comes back"
        elif not state.attached:
            text = "the wall does not run there; `xdpwall load` puts it back"
        else:
            continue
        troubles[state.name] = f"{state.name}: {text}"
    return troubles


def mode_troubles(interfaces: Iterable[InterfaceState]) -> dict[str, str]:
    """Interfaces with the wall in generic mode, each with a sentence."""
    return {
        state.name: f"{state.name}: generic mode, several times slower; the driver takes no native XDP"
        for state in interfaces
        if state.attached and state.mode == "generic"
    }


@dataclass(frozen=True, slots=True)
class Moment:
    """What the kernel says right now. Without a wall: no info, no interfaces, no counts."""

    info: WallInfo | None = None
    interfaces: tuple[InterfaceState, ...] = ()
    counts: Counts = field(default_factory=dict)
    off: OffResult | None = None
    observed: Counts = field(default_factory=dict)

    @classmethod
    def of(cls, wall: Dataplane | None, clock: Clock) -> Moment:
        """Read it."""
        if wall is None:
            return cls()
        off = off_result(wall.off(), clock.mono_ns())
        observed = wall.observed()  # first: it is a part of the others
        return cls(wall.info, tuple(wall.interfaces()), wall.verdicts(), off, observed)


def off_result(off: OffState | None, mono_ns: int) -> OffResult | None:
    """For people and programs; None when the wall filters."""
    if off is None or off.is_over(mono_ns):
        return None
    return OffResult(since_ms=off.since_ms, until_ms=off.until_ms, by=off.by, reason=off.reason)


def status(
    instance: str,
    moment: Moment,
    book: Book,
    guard: Guard,
    *,
    controller: ControllerResult,
    state: State,
    problems: list[str],
) -> StatusResult:
    """The whole of ``status`` but the rates."""
    info = moment.info
    policy = "none" if info is None else info.policy
    return StatusResult(
        instance=instance,
        version=__version__,
        controller=controller,
        policy=policy,
        off=moment.off,
        observed=brief(info, moment.observed, None),
        loaded_ms=0 if info is None else info.loaded_ms,
        interfaces=[
            InterfaceResult(
                name=s.name, ifindex=s.ifindex, mode=s.mode, attached=s.attached, program_id=s.program_id
            )
            for s in moment.interfaces
        ],
        totals=totals(moment.counts, policy, moment.observed),
        bans=BanCountsResult(
            exact=book.exact,
            prefix=book.wide,
            capacity=0 if info is None else info.ban_capacity,
            prefix_capacity=0 if info is None else info.ban_prefix_capacity,
        ),
        allow=len(guard.allow),
        state=state,
        problems=problems,
    )
