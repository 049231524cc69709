# SPDX-License-Identifier: Apache-2.0
"""What would become of a capture's packets, one after the other: asked of a twin of the wall."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from xdpwall.control.explain import as_object, stage_of, verdict_of
from xdpwall.dataplane import frames
from xdpwall.dataplane.twin import LONGEST, SHORTEST, Twin
from xdpwall.errors import KernelError
from xdpwall.pcap import Captured
from xdpwall.reasons import Reason

_MOST_SOURCES = 1_000_000
"""Sources that are told apart; those that come later are counted together."""
_LONGEST_WAIT_S = 60.0


@dataclass(slots=True)
class Account:
    """What came of a capture.

    ``packets`` were read, ``tried`` of them shown to the wall as coming in, ``sent`` as going out: they come from an
    address of this host. ``skipped``: by cause. ``filled``: had been cut short by the capture, and were filled up with
    zeros. ``span_ns``: from the first to the last, in the capture's time; ``took_ns``: while they were tried.
    """

    packets: int = 0
    tried: int = 0
    sent: int = 0
    filled: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    by_reason: dict[tuple[str, Reason], list[int]] = field(default_factory=dict)
    passed: Counter[bytes | None] = field(default_factory=Counter)
    dropped: Counter[bytes | None] = field(default_factory=Counter)
    reasons_of: dict[bytes | None, Counter[Reason]] = field(default_factory=dict)
    span_ns: int = 0
    took_ns: int = 0

    def as_object(self, top: int) -> dict[str, Any]:
        """For JSON: reasons with the most packets first, the ``top`` busiest sources."""
        reasons = sorted(self.by_reason.items(), key=lambda item: -item[1][0])
        total = self.passed + self.dropped
        return {
            "packets": self.packets,
            "tried": self.tried,
            "sent_by_us": self.sent,
            "filled_up": self.filled,
            "skipped": dict(self.skipped.most_common()),
            "capture_ms": self.span_ns // 1_000_000,
            "took_ms": self.took_ns // 1_000_000,
            "passed": self._with("pass"),
            "dropped": self._with("drop"),
            "answered": self._with("answer"),
            "sources": len([source for source in total if source is not None]),
            "reasons": [
                {
                    "verdict": verdict,
                    "reason": reason.label,
                    "stage": stage_of(reason),
                    "packets": packets,
                    "bytes": size,
                    "meaning": reason.meaning,
                }
                for (verdict, reason), (packets, size) in reasons
            ],
            "top_sources": [
                {
                    "source": frames.text(source),
                    "packets": packets,
                    "passed": self.passed[source],
                    "dropped": self.dropped[source],
                    "reasons": {r.label: n for r, n in self.reasons_of[source].most_common()},
                }
                for source, packets in total.most_common(top + 1)
                if source is not None
            ][:top],
        }

    def _with(self, verdict: str) -> int:
        return sum(packets for (found, _), (packets, _) in self.by_reason.items() if found == verdict)


def go_through(
    twin: Twin,
    capture: Iterable[Captured],
    *,
    own: frozenset[bytes] = frozenset(),
    pace: bool = False,
    limit: int | None = None,
    show: Callable[[dict[str, Any]], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> Account:
    """Show a capture's packets to the twin.

    Args:
        twin: its tables go on from packet to packet, as the wall's would.
        capture: the packets.
        own: addresses of this host, packed: what comes from them goes out.
        pace: wait between packets as the capture did, for limits per second to see what they would have seen.
        limit: after so many packets that is all.
        show: told of each packet tried.
        sleep: waits, seconds.
        clock_ns: monotonic time.
    """
    account = Account()
    first_ns, began_ns = None, clock_ns()
    for packet in capture:
        if limit is not None and account.packets >= limit:
            break
        account.packets += 1
        if first_ns is None:
            first_ns = packet.at_ns
        account.span_ns = max(account.span_ns, packet.at_ns - first_ns)
        if pace:
            ahead = (packet.at_ns - first_ns - (clock_ns() - began_ns)) / 1e9
            if ahead > 0:
                sleep(min(ahead, _LONGEST_WAIT_S))
        _try(twin, packet, account, own, show)
    account.took_ns = clock_ns() - began_ns
    return account


def _try(
    twin: Twin,
    packet: Captured,
    account: Account,
    own: frozenset[bytes],
    show: Callable[[dict[str, Any]], None] | None,
) -> None:
    frame = packet.frame
    if packet.length > len(frame):
        if packet.length > LONGEST:
            account.skipped[f"longer than {LONGEST} bytes"] += 1
            return
        frame = frame.ljust(packet.length, b"\0")
        account.filled += 1
    if len(frame) < SHORTEST:
        account.skipped["no whole Ethernet header"] += 1
        return
    if len(frame) > LONGEST:
        account.skipped[f"longer than {LONGEST} bytes"] += 1
        return
    seen = frames.read(frame)
    try:
        if seen.source in own:
            twin.send(frame)
            account.sent += 1
            return
        judged = twin.run(frame)
    except KernelError as error:
        account.skipped[f"the kernel cannot try it ({error.message})"] += 1
        return
    account.tried += 1
    verdict = verdict_of(judged)
    counts = account.by_reason.setdefault((verdict, judged.reason), [0, 0])
    counts[0] += 1
    counts[1] += len(frame)
    source = seen.source
    if source not in account.reasons_of and len(account.reasons_of) >= _MOST_SOURCES:
        source = None
    (account.passed if verdict == "pass" else account.dropped)[source] += 1
    account.reasons_of.setdefault(source, Counter())[judged.reason] += 1
    if show is not None:
        show({"number": account.packets, "at_ns": packet.at_ns, "packet": seen.what, **as_object(judged)})
