# SPDX-License-Identifier: Apache-2.0
"""Is the line full, or do card or kernel lose packets before the wall sees them? Then it takes the provider.

Told apart from what the wall drops: these packets were never its to judge. The judgement is pure; :class:`LineWatch`
remembers the look before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from xdpwall.clock import Clock
from xdpwall.control.nics import NicWatch, port_speed
from xdpwall.incident.model import Saturation

if TYPE_CHECKING:
    from xdpwall.config import Config
    from xdpwall.dataplane.rtlink import LinkFacts

OVERHEAD = 24
"""Bytes of each frame that no counter holds: preamble 8, checksum 4, gap 12 (IEEE 802.3)."""
WORTH_TELLING = 100
_SQUEEZED = 2_000
_EASES = 0.85
"""It is full no more once it carries less than this part of what made it full."""
_CALM_LOOKS = 2
_SPEED_NS = 60_000_000_000
_OWN_PORTS = frozenset({"", "bond", "team", "vlan", "macvlan"})
"""Kinds of interface with a port behind them; others (veth, tun, bridges) say a speed that means nothing."""
_ASK = "ask your provider; `xdpwall incident show last` says what to ask for"


@dataclass(frozen=True, slots=True)
class LineRate:
    """What came over an interface between two looks, per second. ``wire_bps``: with what no counter holds."""

    pps: int = 0
    wire_bps: int = 0
    lost_pps: int = 0
    capacity_bps: int = 0

    @property
    def share(self) -> float:
        """How full the line is; 0 where its capacity is not known."""
        return self.wire_bps / self.capacity_bps if self.capacity_bps else 0.0


def rate(before: Mapping[str, int], now: Mapping[str, int], span_ns: int, capacity_bps: int) -> LineRate:
    """From two readings of an interface's counters: ``rx_packets``, ``rx_bytes``, and those of what was lost."""

    def per_second(name: str) -> int:
        return max(0, now.get(name, 0) - before.get(name, 0)) * 1_000_000_000 // span_ns

    packets, size = per_second("rx_packets"), per_second("rx_bytes")
    # What the card had no room for is on the line, too. Drivers count one loss in several places: the largest is it.
    lost = max(per_second(name) for name in ("rx_missed", "rx_fifo", "rx_over"))
    return LineRate(packets, (size + packets * OVERHEAD) * 8, lost, capacity_bps)


def bits(number: float) -> str:
    """``9.6 Gbit/s``."""
    for step, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if number >= step:
            return f"{number / step:.3g} {unit}"
    return f"{number:.0f} bit/s"


@dataclass(slots=True)
class _Held:
    text: str
    full: Saturation | None
    calm: int = 0


class LineWatch:
    """Remembers, and says what is full.

    Args:
        nics: reads what cards and kernel lost.
        clock: both clocks.
        queues: drops of outgoing queues by the interface's number.
        speed: of a port by name, bits per second, 0 where it does not say.
    """

    def __init__(
        self,
        nics: NicWatch,
        clock: Clock,
        queues: Callable[[], Mapping[int, int]],
        speed: Callable[[str], int] = port_speed,
    ) -> None:
        self._nics = nics
        self._clock = clock
        self._queues = queues
        self._speed = speed
        self._speeds: dict[int, tuple[int, int]] = {}
        self._before: dict[int, Mapping[str, int]] = {}
        self._dropped: Mapping[int, int] = {}
        self._squeezed = 0
        self._at_ns = 0
        self._held: dict[tuple[str, str], _Held] = {}
        self.rates: dict[str, LineRate] = {}
        """Of the last look, by interface."""

    @property
    def full(self) -> list[Saturation]:
        """What is full right now, each with its figure of now."""
        return [held.full for held in self._held.values() if held.full is not None and not held.calm]

    def look(
        self, names: Iterable[str], links: Mapping[str, LinkFacts], config: Config
    ) -> dict[str, dict[str, str]]:
        """Read, compare, and give what is wrong by check and key.

        Args:
            names: the interfaces that the wall stands on.
            links: the facts of all.
            config: says what the line carries, and when it counts as full.
        """
        now_ns = self._clock.mono_ns()
        span, self._at_ns = now_ns - self._at_ns, now_ns
        first = not self._before
        present = [name for name in names if name in links]
        self._nics.look(present, now_ns)
        queues, dropped_before = dict(self._queues()), self._dropped
        self._dropped = queues
        seen: dict[int, Mapping[str, int]] = {}
        self.rates = {}
        for name in present:
            link = links[name]
            seen[link.index] = link.stats
            before = self._before.get(link.index)
            if before is None or first or span <= 0:
                continue
            capacity = config.uplink.bps or self._capacity(link, now_ns)
            found = self.rates[name] = rate(before, link.stats, span, capacity)
            self._judge_link(name, found, config.uplink.full)
            self._judge_card(name, max(found.lost_pps, self._nics.pps.get(name, 0)))
            grown = queues.get(link.index, 0) - dropped_before.get(link.index, queues.get(link.index, 0))
            self._judge_queue(name, grown * 1_000_000_000 // span)
        self._before = seen
        squeezed, self._squeezed = self._squeezed, self._nics.losses.softnet.squeezed
        if not first and span > 0:
            self._judge_kernel((self._squeezed - squeezed) * 1_000_000_000 // span)
        return self._troubles(set(present))

    def _capacity(self, link: LinkFacts, now_ns: int) -> int:
        if link.kind not in _OWN_PORTS:
            return 0
        known, asked_ns = self._speeds.get(link.index, (0, -_SPEED_NS))
        if now_ns - asked_ns >= _SPEED_NS:
            known = self._speed(link.name)
            self._speeds[link.index] = (known, now_ns)
        return known

    def _judge_link(self, name: str, found: LineRate, limit: float) -> None:
        held = ("link", name) in self._held
        if not found.capacity_bps or found.share < limit * (_EASES if held else 1.0):
            self._ease("link", name)
            return
        self._hold(
            "link",
            name,
            f"{name}: the line is full (saturated upstream): {bits(found.wire_bps)} of {bits(found.capacity_bps)} come "
            f"in. What is lost before this host, the wall cannot save: {_ASK}",
            ("link", found.wire_bps, found.capacity_bps, "bps"),
        )

    def _judge_card(self, name: str, lost_pps: int) -> None:
        if lost_pps < WORTH_TELLING:
            self._ease("nic", name)
            return
        self._hold(
            "nic",
            name,
            f"{name}: the NIC loses {lost_pps:,} packets/s before the wall sees them (saturated): `ethtool -S {name}` "
            f"says where; more queues (`ethtool -L`) or a longer ring (`ethtool -G`) help. In an attack {_ASK}",
            ("nic", lost_pps, 0, "pps"),
        )

    def _judge_queue(self, name: str, dropped_pps: int) -> None:
        if dropped_pps < WORTH_TELLING:
            self._ease("queue", name)
            return
        self._hold(
            "queue",
            name,
            f"{name}: the outgoing queue drops {dropped_pps:,} packets/s, answers to users among them: the line is "
            f"full the other way, or the queue is too short: `tc -s qdisc show dev {name}`",
            None,
        )

    def _judge_kernel(self, squeezed: int) -> None:
        dropped = self._nics.kernel_pps
        if dropped >= WORTH_TELLING:
            self._hold(
                "softnet",
                "dropped",
                f"the kernel loses {dropped:,} packets/s in its receive queues: raise net.core.netdev_max_backlog, or "
                "spread the load over more CPUs",
                ("kernel", dropped, 0, "pps"),
            )
        else:
            self._ease("softnet", "dropped")
        if squeezed >= _SQUEEZED:
            self._hold(
                "softnet",
                "squeezed",
                f"receiving is cut short {squeezed:,} times/s with packets left: raise net.core.netdev_budget and "
                "net.core.netdev_budget_usecs, or spread the load over more CPUs",
                None,
            )
        else:
            self._ease("softnet", "squeezed")

    def _hold(
        self,
        check: str,
        key: str,
        text: str,
        full: tuple[Literal["link", "nic", "kernel"], int, int, Literal["bps", "pps"]] | None,
    ) -> None:
        now = self._clock.wall_ms()
        known = self._held.get((check, key))
        saturation = None
        if full is not None:
            kind, value, limit, unit = full
            began = known.full.from_ms if known is not None and known.full is not None else now
            name = "" if kind == "kernel" else key
            saturation = Saturation(kind, name, began, now, value, limit or None, unit)
        self._held[check, key] = _Held(text, saturation)

    def _ease(self, check: str, key: str) -> None:
        """It is well at this look; one good look in a storm is no sign."""
        held = self._held.get((check, key))
        if held is None:
            return
        held.calm += 1
        if held.calm >= _CALM_LOOKS:
            del self._held[check, key]

    def _troubles(self, present: set[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {name: {} for name in ("link", "nic", "queue", "softnet")}
        for (check, key), held in list(self._held.items()):
            if check != "softnet" and key not in present:
                del self._held[check, key]
                continue
            found[check][key] = held.text
        return found
