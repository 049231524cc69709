# SPDX-License-Identifier: Apache-2.0
"""Prefixes in the kernel's tries: banned and allowed ones, and the hash of own addresses."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from xdpwall.dataplane import sys_bpf
from xdpwall.dataplane.gate import Gate
from xdpwall.dataplane.layout import BAN_VALUE
from xdpwall.errors import KernelError
from xdpwall.model import Prefix

_V4_MAPPED = bytes(10) + b"\xff\xff"
_PRESENT = struct.pack("=I", 1)


class PrefixTrie:
    """The IPv4 and the IPv6 trie of one list. File descriptors are not owned."""

    def __init__(self, fd4: int, fd6: int, value_size: int) -> None:
        self._fds = {4: fd4, 6: fd6}
        self._value_size = value_size

    def put(self, prefix: Prefix, value: bytes) -> None:
        """Write one entry.

        Raises:
            KernelError: ENOSPC when the trie is full.
        """
        sys_bpf.map_update(self._fds[prefix.version], _trie_key(prefix), value)

    def remove(self, prefix: Prefix) -> bool:
        """Take one entry out. Gives whether it was there."""
        return sys_bpf.map_delete(self._fds[prefix.version], _trie_key(prefix))

    def prefixes(self) -> Iterator[Prefix]:
        """All prefixes of both families."""
        yield from self._keys(4)
        yield from self._keys(6)

    def lookup(self, prefix: Prefix) -> bytes | None:
        """What the kernel finds for this prefix: the entry itself if it is there, else the longest around it."""
        return sys_bpf.map_lookup(self._fds[prefix.version], _trie_key(prefix), self._value_size)

    def _keys(self, version: int) -> Iterator[Prefix]:
        for raw in sys_bpf.map_keys(self._fds[version], 8 if version == 4 else 20):
            (length,) = struct.unpack_from("=I", raw)
            yield Prefix(raw[4:], length)


class PrefixBans:
    """Bans by prefix.

    The trie answers with the longest match alone. So that a short ban inside a longer-lasting wider one does not make a
    hole when it lapses, an entry's expiry in the kernel is the latest of its own and of all bans around it; its own is
    kept beside it (``asked``).
    """

    def __init__(self, trie: PrefixTrie, gate: Gate) -> None:
        self._trie = trie
        self._gate = gate
        self._known: dict[Prefix, int] | None = None
        self._present: set[Prefix] = set()
        self._version = 0
        self.mended = 0
        """Entries that would have lapsed too early, since this object was made."""

    def put_many(self, bans: Iterable[tuple[Prefix, int]]) -> int:
        """Ban prefixes until their expiries. Gives how many.

        Raises:
            KernelError: ENOSPC when the trie is full.
        """
        asked = self._asked()
        self._version += 1
        new = dict(bans)
        for prefix, expiry in new.items():
            self._gate.open(prefix)
            asked[prefix] = expiry
        lengths = _lengths(new)
        try:
            self._write([prefix for prefix in asked if prefix in new or _covered(prefix, new, lengths)])
        except KernelError:
            self._known = None  # some were written and some not: the kernel knows which
            raise
        return len(new)

    def remove_many(self, prefixes: Iterable[Prefix]) -> int:
        """Lift bans. Gives how many stood."""
        asked = self._asked()
        self._version += 1
        gone = {prefix: 0 for prefix in prefixes if prefix in asked}
        for prefix in gone:
            del asked[prefix]
        if not gone:
            return 0
        lengths = _lengths(gone)
        self._write([prefix for prefix in asked if _covered(prefix, gone, lengths)])
        for prefix in gone:
            self._trie.remove(prefix)
            self._present.discard(prefix)
        self._gate.rebuild(asked)
        return len(gone)

    def get(self, prefix: Prefix) -> tuple[int, int, int] | None:
        """Expiry asked for, packets and bytes dropped of the ban on exactly this prefix."""
        if prefix not in self._asked():
            return None
        value = self._trie.lookup(prefix)
        if value is None:
            return None
        _, asked, packets, size = BAN_VALUE.unpack(value)
        return asked, packets, size

    def entries(self) -> Iterator[tuple[Prefix, int, int, int]]:
        """Prefix, expiry asked for, packets and bytes of each, read anew from the kernel one by one.

        What differs from what this object wrote makes it read everything again before its next change; an entry that
        would lapse in the kernel before it should is written anew at the end.
        """
        count, version, early = 0, self._version, []
        lengths = _lengths(self._asked())
        for prefix in self._trie.prefixes():
            value = self._trie.lookup(prefix)
            if value is None:
                continue
            expiry, asked, packets, size = BAN_VALUE.unpack(value)
            count += 1
            if self._known is not None:
                if self._known.get(prefix) != asked:
                    self._known = None
                elif expiry < max(
                    asked, *(self._known.get(outer, 0) for outer in _around(prefix, lengths)), 0
                ):
                    early.append(prefix)
            yield prefix, asked, packets, size
        if self._version == version:
            if self._known is not None and count != len(self._known):
                self._known = None
            self._write(prefix for prefix in early if prefix in self._asked())
            self.mended += len(early)

    def mend_gate(self) -> int:
        """Open what of the gate the bans need. Gives how many bits were closed."""
        return self._gate.mend(self._asked())

    def lapsed(self, now: int) -> list[Prefix]:
        """Prefixes whose own ban is over."""
        return [prefix for prefix, expiry in self._asked().items() if expiry <= now]

    def count(self) -> int:
        """How many there are."""
        return len(self._asked())

    def _asked(self) -> dict[Prefix, int]:
        if self._known is None:
            self._known = {}
            for prefix in self._trie.prefixes():
                value = self._trie.lookup(prefix)
                if value is not None:
                    self._known[prefix] = BAN_VALUE.unpack(value)[1]
            self._present = set(self._known)
        return self._known

    def _write(self, prefixes: Iterable[Prefix]) -> None:
        asked = self._asked()
        lengths = _lengths(asked)
        for prefix in prefixes:
            own = asked[prefix]
            around = (asked.get(outer, 0) for outer in _around(prefix, lengths))
            old = self._trie.lookup(prefix) if prefix in self._present else None
            packets, size = BAN_VALUE.unpack(old)[2:] if old is not None else (0, 0)
            self._trie.put(prefix, BAN_VALUE.pack(max(own, *around, 0), own, packets, size))
            self._present.add(prefix)


def _lengths(prefixes: Iterable[Prefix]) -> dict[int, list[int]]:
    """Which prefix lengths occur, by IP version."""
    found: dict[int, set[int]] = {4: set(), 6: set()}
    for prefix in prefixes:
        found[prefix.version].add(prefix.length)
    return {version: sorted(lengths) for version, lengths in found.items()}


def _around(prefix: Prefix, lengths: dict[int, list[int]]) -> Iterator[Prefix]:
    """The shorter prefixes of these lengths that hold this one."""
    for length in lengths[prefix.version]:
        if length < prefix.length:
            yield Prefix.covering(prefix.packed, length)


def _covered(prefix: Prefix, by: dict[Prefix, int], lengths: dict[int, list[int]]) -> bool:
    return any(outer in by for outer in _around(prefix, lengths))


class AllowTrie:
    """The allowlist."""

    def __init__(self, trie: PrefixTrie, gate: Gate) -> None:
        self._trie = trie
        self._gate = gate

    def put(self, prefix: Prefix) -> None:
        """See :meth:`xdpwall.dataplane.interface.AllowMap.put`."""
        self._gate.open(prefix)
        self._trie.put(prefix, _PRESENT)

    def remove(self, prefix: Prefix) -> bool:
        """See :meth:`xdpwall.dataplane.interface.AllowMap.remove`."""
        found = self._trie.remove(prefix)
        if found:
            self._gate.rebuild(self._trie.prefixes())
        return found

    def entries(self) -> Iterator[Prefix]:
        """See :meth:`xdpwall.dataplane.interface.AllowMap.entries`."""
        return self._trie.prefixes()

    def mend_gate(self) -> int:
        """Open what of the gate the entries need. Gives how many bits were closed."""
        return self._gate.mend(self._trie.prefixes())


class OwnAddresses:
    """Addresses of this host, which no packet from outside can come from. The file descriptor is not owned."""

    def __init__(self, fd: int, gate: Gate) -> None:
        self._fd = fd
        self._gate = gate

    def replace(self, addresses: Iterable[Prefix]) -> bool:
        """Hold exactly these single addresses. Gives whether anything changed."""
        wanted = {_own_key(address): address for address in addresses}
        present = set(sys_bpf.map_keys(self._fd, 16))
        if present == set(wanted):
            return False
        for key, address in wanted.items():
            if key not in present:
                self._gate.open(address)
                sys_bpf.map_update(self._fd, key, _PRESENT)
        for key in present - set(wanted):
            sys_bpf.map_delete(self._fd, key)
        self._gate.rebuild(wanted.values())
        return True

    def mend_gate(self) -> int:
        """Open what of the gate the addresses need. Gives how many bits were closed."""
        return self._gate.mend(_own_address(key) for key in sys_bpf.map_keys(self._fd, 16))


def _trie_key(prefix: Prefix) -> bytes:
    return struct.pack("=I", prefix.length) + prefix.packed


def _own_key(address: Prefix) -> bytes:
    return address.packed if address.version == 6 else _V4_MAPPED + address.packed


def _own_address(key: bytes) -> Prefix:
    mapped = key.startswith(_V4_MAPPED)
    return Prefix(key[12:], 32) if mapped else Prefix(key, 128)
