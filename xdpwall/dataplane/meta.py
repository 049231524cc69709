# SPDX-License-Identifier: Apache-2.0
"""What a load wrote down for the loads and controllers to come: the map ``meta``."""

from __future__ import annotations

from dataclasses import dataclass

from xdpwall.dataplane import layout
from xdpwall.dataplane.mapped import MappedArray
from xdpwall.dataplane.pins import Pins
from xdpwall.errors import LayoutError


@dataclass(frozen=True, slots=True)
class Meta:
    """``struct wall_meta``."""

    seed: int
    loaded_ms: int
    config_digest: int
    hz: int
    cpus: int
    ban_bits: int
    source_bits: int
    prefix_bits: int
    observe: bool
    proof_bits: int
    observed: int = 0
    observed_since_ms: int = 0

    def pack(self) -> bytes:
        """For the map."""
        return layout.META.pack(
            layout.MAGIC,
            self.seed,
            self.loaded_ms,
            self.config_digest,
            layout.LAYOUT,
            self.hz,
            self.cpus,
            self.ban_bits,
            self.source_bits,
            self.prefix_bits,
            int(self.observe),
            self.proof_bits,
            self.observed,
            self.observed_since_ms,
        )


def read_meta(pins: Pins) -> Meta:
    """What the last load wrote down.

    Raises:
        NotLoadedError: there is no wall.
        LayoutError: another version of xdpwall loaded it.
    """
    array = MappedArray(pins, "meta")
    try:
        magic, seed, loaded, digest, version, *rest = layout.META.unpack_from(array.memory)
    finally:
        array.close()
    if magic != layout.MAGIC or version != layout.LAYOUT:
        raise LayoutError("the loaded wall has the map layout of another version", hint=layout.RELOAD_HINT)
    hz, cpus, ban_bits, source_bits, prefix_bits, observe, *proof = rest
    return Meta(seed, loaded, digest, hz, cpus, ban_bits, source_bits, prefix_bits, bool(observe), *proof)
