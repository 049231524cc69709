# SPDX-License-Identifier: Apache-2.0
"""The table of known flows and proven sources, from Python: seeds it from the kernel's sockets, looks sources up.

Entries are found by the same seeded hash as in ``bpf/proofs.h``. Each place is one aligned 8-byte word; a word that the
egress program writes in the same moment wins or loses whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from xdpwall.dataplane.budgets import AGES
from xdpwall.dataplane.hashing import mix_many
from xdpwall.dataplane.layout import PROOF_WAYS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from xdpwall.dataplane.interface import Flow
    from xdpwall.dataplane.mapped import MappedArray

    Words = npt.NDArray[np.uint64]

PROOF_BARRED, PROOF_TCP, PROOF_ASKED, PROOF_SOURCE, PROOF_VOUCHED = 0, 1, 2, 5, 7
_ABOUT_TO_END = 64
"""In units of a stamp, 4 to 16 s: a handshake's proof that ends sooner is replaced by the controller's word."""
_KIND, _COUNT = 29, 26
_STAMP_MASK = (1 << 26) - 1
_STAMP_SHIFT = 6
_SOURCE_MARK = 0x50 << 24
_TCP = 6


class Proofs:
    """The map ``proofs``, with its ages.

    Args:
        table: the map.
        gate: the map ``proof_gate``, a byte for each line of the table.
        ages: the map ``proof_ages``.
        seed: of the wall.
    """

    def __init__(self, table: MappedArray, gate: MappedArray, ages: MappedArray, seed: int) -> None:
        self._table = table
        self._gate = gate
        self._ages = ages
        self._seed = seed
        self._bits = table.entries.bit_length() - 1

    @classmethod
    def of(cls, array: Callable[[str], MappedArray], seed: int) -> Proofs:
        """Over the maps of a wall, found by name."""
        return cls(array("proofs"), array("proof_gate"), array("proof_ages"), seed)

    def note(self, flows: Iterable[Flow], now: int) -> int:
        """Enter flows that the kernel's own sockets speak of, or keep them fresh. Gives how many there were.

        Args:
            flows: TCP connections that are established, UDP sockets with a peer.
            now: the tick.
        """
        import numpy as np

        words, gates = self._words(), self._gate.memory
        count = 0
        for kind, hashes in self._by_kind(list(flows)):
            count += len(hashes)
            stamp = (now >> _STAMP_SHIFT) & _STAMP_MASK
            low = np.uint64(kind << _KIND | 1 << _COUNT | stamp)
            index, tags = self._place(hashes)
            for at, tag in zip(index.tolist(), tags.tolist(), strict=True):
                self._write(words, at * PROOF_WAYS, tag, int(low), stamp)
                gates[at] |= 1 << (tag >> 29)
        return count

    def is_proven(self, keys: Words, now: int) -> npt.NDArray[np.bool_]:
        """Which of these sources completed a handshake lately.

        Args:
            keys: source keys, shape ``(n,)``.
            now: the tick.
        """
        import numpy as np

        index, tags = self._place(self._source_hashes(keys))
        lines = self._words().reshape(-1, PROOF_WAYS)[index]
        stamp = np.uint64((now >> _STAMP_SHIFT) & _STAMP_MASK)
        age = (stamp - lines) & np.uint64(_STAMP_MASK)
        fresh = age <= np.uint64(AGES.unpack_from(self._ages.memory)[PROOF_SOURCE])
        same = (lines >> np.uint64(32)) == tags[:, None]
        kind = (lines >> np.uint64(_KIND)) & np.uint64(7) == np.uint64(PROOF_SOURCE)
        return np.asarray((same & kind & fresh).any(axis=1))

    def is_known(self, flows: list[Flow], now: int) -> list[bool]:
        """Which of these flows are this host's, one by one, as the kernel would find them beyond a budget.

        Args:
            flows: any.
            now: the tick.
        """
        import numpy as np

        ages = AGES.unpack_from(self._ages.memory)
        stamp = np.uint64((now >> _STAMP_SHIFT) & _STAMP_MASK)
        lines = self._words().reshape(-1, PROOF_WAYS)
        found: list[bool] = []
        for flow in flows:
            hashes = np.concatenate([hashed for _, hashed in self._by_kind([flow])])
            index, tags = self._place(hashes)
            line = lines[index[0]]
            same = line >> np.uint64(32) == tags[0]
            kinds = ((line >> np.uint64(_KIND)) & np.uint64(7)).astype(int).tolist()
            fresh = ((stamp - line) & np.uint64(_STAMP_MASK)).tolist()
            found.append(
                any(
                    bool(its) and kind in (PROOF_TCP, PROOF_ASKED) and age <= ages[kind]
                    for its, kind, age in zip(same.tolist(), kinds, fresh, strict=True)
                )
            )
        return found

    def vouch(self, keys: Iterable[int], now: int) -> None:
        """Enter sources that the controller vouches for, or keep them fresh. A handshake's own proof stays what it is.

        Args:
            keys: source keys.
            now: the tick.
        """
        import numpy as np

        wanted = np.fromiter(keys, np.uint64)
        words, gates = self._words(), self._gate.memory
        longest = AGES.unpack_from(self._ages.memory)[PROOF_SOURCE]
        stamp = (now >> _STAMP_SHIFT) & _STAMP_MASK
        low = PROOF_VOUCHED << _KIND | 1 << _COUNT | stamp
        index, tags = self._place(self._source_hashes(wanted))
        for at, tag in zip(index.tolist(), tags.tolist(), strict=True):
            line = words[at * PROOF_WAYS : (at + 1) * PROOF_WAYS].tolist()
            if not any(
                word >> 32 == tag
                and word >> _KIND & 7 == PROOF_SOURCE
                and ((stamp - word) & _STAMP_MASK) + _ABOUT_TO_END <= longest
                for word in line
            ):
                self._write(words, at * PROOF_WAYS, tag, low, stamp)
                gates[at] |= 1 << (tag >> 29)

    def bar(self, keys: Iterable[int], now: int) -> None:
        """For a few seconds these sources' handshakes do not count beyond a budget; their flows do.

        Args:
            keys: source keys.
            now: the tick.
        """
        import numpy as np

        words, gates = self._words(), self._gate.memory
        stamp = (now >> _STAMP_SHIFT) & _STAMP_MASK
        index, tags = self._place(self._source_hashes(np.fromiter(keys, np.uint64)))
        for at, tag in zip(index.tolist(), tags.tolist(), strict=True):
            self._write(words, at * PROOF_WAYS, tag, PROOF_BARRED << _KIND | 1 << _COUNT | stamp, stamp)
            gates[at] |= 1 << (tag >> 29)

    def __len__(self) -> int:
        """How many places are taken, fresh or not."""
        import numpy as np

        return int(np.count_nonzero(self._words()))

    def _source_hashes(self, keys: Words) -> Words:
        import numpy as np

        return mix_many(mix_many(keys, self._seed) ^ np.uint64(_SOURCE_MARK), self._seed)

    def _words(self) -> Words:
        import numpy as np

        return np.frombuffer(self._table.memory, dtype=np.uint64, count=self._table.entries * PROOF_WAYS)

    def _place(self, hashes: Words) -> tuple[npt.NDArray[np.int64], Words]:
        import numpy as np

        tags = (hashes << np.uint64(self._bits)) >> np.uint64(32)
        tags[tags == 0] = 1
        return (hashes >> np.uint64(64 - self._bits)).astype(np.int64), tags

    def _write(self, words: Words, at: int, tag: int, low: int, stamp: int) -> None:
        line = words[at : at + PROOF_WAYS].tolist()
        oldest, victim = -1, 0
        for way, word in enumerate(line):
            if word >> 32 == tag:
                victim = way
                break
            age = 1 << 32 if word == 0 else (stamp - word) & _STAMP_MASK
            if age > oldest:
                oldest, victim = age, way
        words[at + victim] = tag << 32 | low

    def _by_kind(self, flows: list[Flow]) -> Iterable[tuple[int, Words]]:
        for kind, protocol in ((PROOF_TCP, True), (PROOF_ASKED, False)):
            for width in (4, 16):
                chosen = [f for f in flows if (f.protocol == _TCP) == protocol and len(f.peer) == width]
                if chosen:
                    yield kind, self._hashes(chosen, width)

    def _hashes(self, flows: list[Flow], width: int) -> Words:
        import numpy as np

        peers = np.frombuffer(b"".join(f.peer for f in flows), dtype="<u8" if width == 16 else "<u4")
        locals_ = np.frombuffer(b"".join(f.local for f in flows), dtype="<u8" if width == 16 else "<u4")
        ports = np.array([[f.peer_port, f.local_port, f.protocol] for f in flows], dtype=np.uint64)
        swapped = (ports[:, :2].astype(np.uint16)).byteswap().astype(np.uint64)
        word = swapped[:, 0] | swapped[:, 1] << np.uint64(16) | ports[:, 2] << np.uint64(32)
        seed = self._seed
        if width == 4:
            pair = peers.astype(np.uint64) << np.uint64(32) | locals_.astype(np.uint64)
            return mix_many(mix_many(pair, seed) ^ word, seed)
        hashed = mix_many(peers[0::2].copy(), seed)
        for part in (peers[1::2], locals_[0::2], locals_[1::2], word):
            hashed = mix_many(hashed ^ part, seed)
        return hashed
