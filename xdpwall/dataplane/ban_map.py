# SPDX-License-Identifier: Apache-2.0
"""All bans behind one face: single sources go to the tables, prefixes of any other length to the tries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter, itemgetter

from xdpwall.dataplane import keys, sys_bpf
from xdpwall.dataplane.exact_bans import ExactBans, overflow_entries
from xdpwall.dataplane.interface import BanDrops, KernelBan
from xdpwall.dataplane.ticks import EXPIRY_SHIFT, TickClock
from xdpwall.dataplane.tries import PrefixBans
from xdpwall.model import Prefix

_FIRST, _SECOND = itemgetter(0), itemgetter(1)
_LENGTH, _PACKED = attrgetter("length"), attrgetter("packed")
_FEW = 64  # below this, numpy's import costs more than it saves


class KernelBans:
    """Implements :class:`xdpwall.dataplane.interface.BanMap` over pinned maps. ``overflow_fd`` is not owned."""

    def __init__(
        self, exact4: ExactBans, exact6: ExactBans, prefixes: PrefixBans, overflow_fd: int, clock: TickClock
    ) -> None:
        self._exact = {4: exact4, 6: exact6}
        self._prefixes = prefixes
        self._overflow = overflow_fd
        self._clock = clock

    def put(self, prefix: Prefix, remaining_ms: int | None) -> None:
        """See :meth:`BanMap.put`."""
        now = self._clock.now()
        expiry = self._clock.expiry(remaining_ms, now)
        if prefix.is_source:
            self._exact[prefix.version].put(keys.source_key(prefix), expiry, now >> EXPIRY_SHIFT)
        else:
            self._prefixes.put_many([(prefix, expiry)])

    def put_many(self, bans: Iterable[tuple[Prefix, int | None]]) -> int:
        """See :meth:`BanMap.put_many`."""
        now = self._clock.now()
        over = now >> EXPIRY_SHIFT
        given = list(bans)
        prefixes, times = list(map(_FIRST, given)), list(map(_SECOND, given))
        ends = {ms: self._clock.expiry(ms, now) for ms in set(times)}
        # Loops over 100,000 are what a bulk ban costs. Most bans are of one kind, and C's loops over attributes tell.
        lengths, packed = set(map(_LENGTH, prefixes)), list(map(_PACKED, prefixes))
        widths = set(map(len, packed))
        for version, length, width in ((4, 32, 4), (6, 64, 16)):
            if len(given) > _FEW and lengths == {length} and widths == {width}:
                self._put_sources(version, packed, times, ends, over)
                return len(given)
            chosen = [ban for ban in given if ban[0].length == length and ban[0].version == version]
            if len(chosen) > _FEW:
                self._put_sources(
                    version, [prefix.packed for prefix, _ in chosen], [ms for _, ms in chosen], ends, over
                )
                continue
            for prefix, ms in chosen:
                self._exact[version].put(keys.source_key(prefix), ends[ms], over)
        wide = [(prefix, ends[ms]) for prefix, ms in given if not prefix.is_source]
        if wide:
            self._prefixes.put_many(wide)
        return len(given)

    def _put_sources(
        self,
        version: int,
        packed: list[bytes],
        times: list[int | None],
        ends: dict[int | None, int],
        over: int,
    ) -> None:
        import numpy as np

        if len(ends) == 1:
            expiries = np.full(len(times), next(iter(ends.values())), np.uint64)
        else:
            expiries = np.fromiter(map(ends.__getitem__, times), np.uint64, len(times))
        self._exact[version].put_many(keys.source_keys(packed), expiries, over)

    def remove(self, prefix: Prefix) -> bool:
        """See :meth:`BanMap.remove`."""
        return self.remove_many([prefix]) == 1

    def remove_many(self, prefixes: Iterable[Prefix]) -> int:
        """See :meth:`BanMap.remove_many`."""
        others: list[Prefix] = []
        sources: dict[int, list[int]] = {4: [], 6: []}
        for prefix in prefixes:
            if prefix.is_source:
                sources[prefix.version].append(keys.source_key(prefix))
            else:
                others.append(prefix)
        removed = sum(self._exact[version].remove_many(found) for version, found in sources.items())
        return removed + self._prefixes.remove_many(others)

    def get(self, prefix: Prefix) -> KernelBan | None:
        """See :meth:`BanMap.get`."""
        if prefix.is_source:
            found = self._exact[prefix.version].get(keys.source_key(prefix))
        else:
            found = self._prefixes.get(prefix)
        if found is None:
            return None
        expiry, packets, size = found
        return KernelBan(prefix, self._clock.remaining_ms(expiry), packets, size)

    def entries(self, *, wide_only: bool = False) -> Iterator[KernelBan]:
        """See :meth:`BanMap.entries`."""
        now = self._clock.now()
        for exact in self._exact.values() if not wide_only else ():
            for key, expiry, packets, size in exact.entries():
                yield KernelBan(keys.source_prefix(key), self._clock.remaining_ms(expiry, now), packets, size)
        for key, expiry, packets, size in overflow_entries(self._overflow) if not wide_only else ():
            yield KernelBan(keys.source_prefix(key), self._clock.remaining_ms(expiry, now), packets, size)
        for prefix, expiry, packets, size in self._prefixes.entries():
            yield KernelBan(prefix, self._clock.remaining_ms(expiry, now), packets, size)

    def drops(self) -> BanDrops:
        """See :meth:`BanMap.drops`."""
        import numpy as np

        keys, words = (
            np.concatenate(parts) for parts in zip(*(e.drops() for e in self._exact.values()), strict=True)
        )
        return BanDrops(keys, words & np.uint64(0xFFFFFFFF), (words >> np.uint64(32)) << np.uint64(4))

    def clear(self) -> int:
        """See :meth:`BanMap.clear`."""
        cleared = self._drop_overflow([key for key, *_ in overflow_entries(self._overflow)])
        cleared += sum(exact.clear() for exact in self._exact.values())
        return cleared + self._prefixes.remove_many([prefix for prefix, *_ in list(self._prefixes.entries())])

    def sweep(self) -> int:
        """See :meth:`BanMap.sweep`."""
        now = self._clock.expiry_now()
        swept = self._drop_overflow(
            [key for key, expiry, *_ in overflow_entries(self._overflow) if expiry <= now]
        )
        swept += sum(exact.sweep(now) for exact in self._exact.values())
        return swept + self._prefixes.remove_many(self._prefixes.lapsed(now))

    def exact_count(self) -> int:
        """Slots taken by single sources."""
        overflow = sum(1 for _ in sys_bpf.map_keys(self._overflow, 8))
        return overflow + sum(exact.count() for exact in self._exact.values())

    def prefix_count(self) -> int:
        """Slots taken by prefixes."""
        return self._prefixes.count()

    def __len__(self) -> int:
        return self.exact_count() + self.prefix_count()

    def _drop_overflow(self, gone: list[int]) -> int:
        if not gone:
            return 0
        dropped = sum(sys_bpf.map_delete(self._overflow, key.to_bytes(8, "little")) for key in gone)
        left = [key for key, *_ in overflow_entries(self._overflow)]
        for exact in self._exact.values():
            exact.follow_overflow(left)
        return dropped
