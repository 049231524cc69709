# SPDX-License-Identifier: Apache-2.0
"""The maps and structs of ``bpf/`` as Python sees them, and the proof that both sides agree.

C is the source of truth. At each load the members that the compiler laid out are compared with this file; a map pinned
by another version is recognised by :data:`LAYOUT`.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xdpwall.dataplane import sys_bpf
from xdpwall.errors import LayoutError

if TYPE_CHECKING:
    from xdpwall.dataplane.image import Field
    from xdpwall.dataplane.module import CompiledModule

ARRAY, HASH, LPM_TRIE, PROG_ARRAY, RINGBUF = 2, 1, 11, 3, 27
BAN_WAYS = 4
PROOF_WAYS = 8
BUDGETS = 64
CLASSES = 256
LANE_SLOTS = 8
BUDGET_WORDS, RULES_UNTIL, SHUT = 8, 6, 7
"""Words of an entry of ``budgets``, and which of them belongs to the fingerprint rules (``dataplane.rules``)."""
INTERFACES = 16
REASON_SLOTS = 64
MAGIC = 0x6C6C617770647801

_COUNT = (("packets", 8), ("bytes", 8))
_BAN_VALUE = (("expiry", 4), ("asked", 4), ("dropped", 16))
_METER = (
    ("key", 8),
    ("packets", 8),
    ("bytes", 8),
    ("syn", 4),
    ("udp", 4),
    ("icmp", 4),
    ("fragments", 4),
    ("drops", 4),
    ("first", 4),
    ("last", 4),
    ("packet_tokens", 4),
    ("byte_tokens", 4),
    ("syn_tokens", 4),
)
_TAGS = (("tag", 32), ("score", 32))
_BUDGET = (
    ("packet_cost", 8),
    ("byte_cost", 8),
    ("depth", 8),
    ("gate_packet_cost", 8),
    ("gate_byte_cost", 8),
    ("gate_depth", 8),
    ("rules_until", 8),
    ("shut", 8),
)
_LANE_CPU = (
    ("seen", 16),
    ("over", 16),
    ("dropped", 16),
    ("gate", 16),
    ("known", 16),
    ("spare", 48),
)
_HANDOVER = (
    ("key", 8),
    ("length", 8),
    ("ports", 8),
    ("now", 8),
    ("l3", 4),
    ("l4", 4),
    ("l4_length", 4),
    ("protocol", 4),
    ("lane", 4),
    ("flags", 4),
    ("fragment", 4),
    ("is_v6", 4),
    ("hop_limit", 4),
    ("slot", 4),
    ("reason", 4),
    ("rule", 4),
    ("observed", 4),
    ("meter", 4),
)
_COOKIE_STATE = (("since", 8), ("holds", 8), ("keeps", 8), ("probe", 8), ("possible", 8), ("spare", 24))
_ANSWER = (
    *((name, 4) for name in ("tag", "seen", "cookie", "stamped", "scaled", "sacked", "ecn")),
    ("probed", 4),
    ("probed_full", 4),
    ("mss", 2),
    ("window", 2),
    ("scale", 1),
    ("hop_limit", 1),
    ("service", 1),
    ("tagged", 1),
    ("spare", 20),
)
_WATCH_EVENT = (
    ("number", 8),
    ("tick", 4),
    ("local_port", 2),
    ("peer_port", 2),
    ("kind", 1),
    ("is_v6", 1),
    ("spare", 6),
    ("local", 16),
    ("peer", 16),
    ("spare2", 8),
)
_WATCH_STATE = (("told", 8), ("window", 8), ("in_window", 8), ("missed", 8), ("spare", 32))
_META = (
    ("magic", 8),
    ("seed", 8),
    ("loaded_ms", 8),
    ("config_digest", 8),
    ("layout", 4),
    ("hz", 4),
    ("cpus", 4),
    ("ban_bits", 4),
    ("source_bits", 4),
    ("prefix_bits", 4),
    ("observe", 4),
    ("proof_bits", 4),
    ("observed", 8),
    ("observed_since_ms", 8),
)


@dataclass(frozen=True, slots=True)
class MapLayout:
    """Shape of one map.

    ``fields`` are name and size, without gaps; empty for a plain number. ``place``: to the kernel it is one value,
    whose address programs get in the place of this number (``WHOLE`` of ``bpf/maps.h``); 0: they look in it.
    """

    name: str
    type: int
    key_size: int
    value_size: int
    fields: tuple[tuple[str, int], ...] = ()
    mmap: bool = False
    place: int = 0


MAPS: tuple[MapLayout, ...] = (
    MapLayout("ban4", ARRAY, 4, 64, (("place", 64),), mmap=True),
    MapLayout("ban6", ARRAY, 4, 64, (("place", 64),), mmap=True),
    MapLayout("ban6_keys", ARRAY, 4, 32, (("key", 32),), mmap=True),
    MapLayout("ban4_gate", ARRAY, 4, 8, mmap=True, place=0x57A12002),
    MapLayout("ban6_gate", ARRAY, 4, 8, mmap=True, place=0x57A12003),
    MapLayout("ban4_full", ARRAY, 4, 8, mmap=True),
    MapLayout("ban6_full", ARRAY, 4, 8, mmap=True),
    MapLayout("ban_overflow", HASH, 8, 24, _BAN_VALUE),
    MapLayout(
        "gate",
        ARRAY,
        4,
        32,
        (("allow", 8), ("ban", 8), ("own", 8), ("spare", 8)),
        mmap=True,
        place=0x57A12001,
    ),
    MapLayout("ban_prefix4", LPM_TRIE, 8, 24, _BAN_VALUE),
    MapLayout("ban_prefix6", LPM_TRIE, 20, 24, _BAN_VALUE),
    MapLayout("allow4", LPM_TRIE, 8, 4),
    MapLayout("allow6", LPM_TRIE, 20, 4),
    MapLayout("own", HASH, 16, 4),
    MapLayout("source_tags", ARRAY, 4, 64, _TAGS, mmap=True, place=0x57A12011),
    MapLayout("source_meters", ARRAY, 4, 64, _METER, mmap=True),
    MapLayout("prefix_tags", ARRAY, 4, 64, _TAGS, mmap=True, place=0x57A12012),
    MapLayout("prefix_meters", ARRAY, 4, 64, _METER, mmap=True),
    MapLayout("proofs", ARRAY, 4, 64, (("place", 64),), mmap=True),
    MapLayout("proof_gate", ARRAY, 4, 8, mmap=True, place=0x57A12004),
    MapLayout("peers", ARRAY, 4, 8, mmap=True, place=0x57A12005),
    MapLayout("pending", ARRAY, 4, 64, (("place", 64),), mmap=True),
    MapLayout("proof_ages", ARRAY, 4, 64, (("age", 64),), mmap=True),
    MapLayout("ports", ARRAY, 4, 8, mmap=True, place=0x57A12006),
    MapLayout("budgets", ARRAY, 4, 64, _BUDGET, mmap=True, place=0x57A12007),
    MapLayout("pools", ARRAY, 4, 64, (("spent", 16), ("spare", 48)), mmap=True, place=0x57A12008),
    MapLayout("classes", ARRAY, 4, 16, _COUNT, mmap=True, place=0x57A12009),
    MapLayout("lane_cpus", ARRAY, 4, 128, _LANE_CPU, mmap=True, place=0x57A1200A),
    MapLayout("handovers", ARRAY, 4, 88, _HANDOVER, mmap=True, place=0x57A1200B),
    MapLayout("stages", PROG_ARRAY, 4, 4),
    MapLayout("stages_jumbo", PROG_ARRAY, 4, 4),
    MapLayout("cookie_state", ARRAY, 4, 64, _COOKIE_STATE, mmap=True),
    MapLayout("answers", ARRAY, 4, 64, _ANSWER, mmap=True),
    MapLayout("probes", ARRAY, 4, 8, mmap=True),
    MapLayout("samples", RINGBUF, 0, 0),
    MapLayout("sample_rations", ARRAY, 4, 8, mmap=True, place=0x57A1200E),
    MapLayout(
        "rules",
        ARRAY,
        4,
        1600,
        (("live", 8), ("last_id", 8), ("spare", 48), ("rule", 1536)),
        mmap=True,
        place=0x57A12010,
    ),
    MapLayout("rule_counts", ARRAY, 4, 32, (("matched", 16), ("proven", 16)), mmap=True),
    MapLayout("watch_events", ARRAY, 4, 64, _WATCH_EVENT, mmap=True),
    MapLayout("watch_states", ARRAY, 4, 64, _WATCH_STATE, mmap=True),
    MapLayout("watch_ports", ARRAY, 4, 4, mmap=True, place=0x57A1200F),
    MapLayout("verdicts", ARRAY, 4, 16, _COUNT, mmap=True, place=0x57A1200C),
    MapLayout("would_drop", ARRAY, 4, 16, _COUNT, mmap=True, place=0x57A1200D),
    MapLayout("meta", ARRAY, 4, 80, _META, mmap=True),
    MapLayout(
        "interfaces", ARRAY, 4, 32, (("name", 16), ("wanted", 4), ("mode", 4), ("spare", 8)), mmap=True
    ),
)

BY_NAME = {layout.name: layout for layout in MAPS}

LAYOUT = zlib.crc32(
    repr([(m.name, m.type, m.key_size, m.value_size, m.fields, m.place) for m in MAPS]).encode()
)
"""Changes whenever a map or struct does. Written by a load, compared by whoever opens the pins."""

META = struct.Struct("<QQQQIIIIIIIIQQ")
INTERFACE = struct.Struct("<16sII8x")
BAN_VALUE = struct.Struct("<IIQQ")


def check_compiled(module: CompiledModule) -> None:
    """Compare this file with what the compiler laid out.

    Raises:
        LayoutError: with every difference.
    """
    faults: list[str] = []
    for layout in MAPS:
        if layout.type == RINGBUF:
            continue  # it has no values; struct sample is compared by the C itself, see defines
        size = module.value_size(layout.name)
        if size != layout.value_size:
            faults.append(f"{layout.name}: C says {size} bytes a value, Python {layout.value_size}")
        if layout.fields:
            faults += _compare_fields(layout, module.value_fields(layout.name))
    if faults:
        raise LayoutError(
            "C and Python disagree on what lies in the maps: " + "; ".join(faults),
            hint="the installation mixes two versions: install xdpwall again",
        )


def _compare_fields(layout: MapLayout, compiled: list[Field]) -> list[str]:
    expected: list[tuple[str, int, int]] = []
    offset = 0
    for name, size in layout.fields:
        expected.append((name, offset, size))
        offset += size
    found = [(f.name, f.offset, f.size) for f in compiled]
    if found == expected:
        return []
    return [f"{layout.name}: C has {found}, Python {expected}"]


def map_shape(layout: MapLayout, fd: int) -> sys_bpf.MapInfo:
    """What the kernel says of a map, in entries of the layout, be it one value to the kernel or many."""
    info = sys_bpf.map_info(fd)
    if layout.place and info.max_entries == 1 and info.value_size % layout.value_size == 0:
        return replace(info, value_size=layout.value_size, max_entries=info.value_size // layout.value_size)
    return info


def check_map(layout: MapLayout, fd: int, entries: int | None = None) -> sys_bpf.MapInfo:
    """Compare a pinned map with this file.

    Args:
        layout: what it should be.
        fd: the map.
        entries: how many entries it should have, or None for any number.

    Raises:
        LayoutError: it is another map, or one of another size.
    """
    info = map_shape(layout, fd)
    found = (info.type, info.key_size, info.value_size)
    if found != (layout.type, layout.key_size, layout.value_size):
        raise LayoutError(
            f"the pinned map {layout.name} has type, key and value size {found}, this version needs "
            f"{(layout.type, layout.key_size, layout.value_size)}",
            hint=RELOAD_HINT,
        )
    if entries is not None and info.max_entries != entries:
        raise LayoutError(
            f"the pinned map {layout.name} has {info.max_entries} entries, this configuration needs {entries}",
            hint=RELOAD_HINT,
        )
    return info


RELOAD_HINT = (
    "a loaded wall keeps its maps; to change their shape run `xdpwall unload` and `xdpwall load` "
    "(bans and allowlist come back from the database, counters begin anew)"
)
