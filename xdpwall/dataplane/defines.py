# SPDX-License-Identifier: Apache-2.0
"""From a config to the constants that the C is compiled with: a feature that is off costs no instruction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xdpwall import observe
from xdpwall.config import Config
from xdpwall.dataplane import buckets, cookies
from xdpwall.dataplane.layout import PROOF_WAYS
from xdpwall.dataplane.samples import HEAD_AT, SAMPLE

_BANS_A_SET = 2
"""Sets are sized for two bans each of four places: at full capacity 5 % of the sets overflow (Poisson)."""
_SMALLEST_OVERFLOW = 1024
ALLOW_CAPACITY = 16384


@dataclass(frozen=True, slots=True)
class Sizes:
    """Table sizes as powers of two, per CPU for the meters."""

    cpus: int
    ban_bits: int
    ban_overflow: int
    ban_prefixes: int
    source_bits: int
    prefix_bits: int
    proof_bits: int
    pending_bits: int


def sizes(config: Config, cpus: int) -> Sizes:
    """Sizes for a config on a machine with this many possible CPUs."""
    return Sizes(
        cpus=cpus,
        ban_bits=max(6, _log2(config.bans.capacity // _BANS_A_SET)),
        ban_overflow=max(_SMALLEST_OVERFLOW, config.bans.capacity // 8),
        ban_prefixes=config.bans.prefix_capacity,
        source_bits=_meter_bits(config.meters.sources, cpus),
        prefix_bits=_meter_bits(config.meters.prefixes, cpus),
        proof_bits=_log2(config.proof.capacity // PROOF_WAYS),
        pending_bits=max(6, _log2(config.proof.capacity // PROOF_WAYS // 4)),
    )


def defines(config: Config, shape: Sizes, seed: int) -> dict[str, int | str]:
    """The ``-D`` constants of ``bpf/wall.c``."""
    source, prefix = buckets.of_config(config)
    return {
        "CPUS": shape.cpus,
        "SEED": seed,
        "BAN_BITS": shape.ban_bits,
        "BAN_OVERFLOW": shape.ban_overflow,
        "BAN_PREFIXES": shape.ban_prefixes,
        "ALLOW_PREFIXES": ALLOW_CAPACITY,
        "SOURCE_BITS": shape.source_bits,
        "PREFIX_BITS": shape.prefix_bits,
        "PROOF_BITS": shape.proof_bits,
        "PENDING_BITS": shape.pending_bits,
        "SAMPLE_SIZE": SAMPLE.size,
        "SAMPLE_HEAD_AT": HEAD_AT,
        "OBSERVE": int(config.policy == "observe"),
        "OBSERVED": f"{observe.compiled(config.policy, config.observe):#x}ULL",
        "CHECK_MALFORMED": int(config.checks.malformed),
        "CHECK_OWN": int(config.checks.own_source),
        "METERS": int(config.meters.enabled),
        "LANES": int(config.lanes.enabled),
        "COOKIES": int(sends_cookies(config)),
        **source.defines("SOURCE"),
        **prefix.defines("PREFIX"),
    }


def sends_cookies(config: Config) -> bool:
    """Whether the program can answer with SYN cookies: wanted, and had by this kernel."""
    return config.lanes.enabled and config.syncookies.enabled and cookies.are_possible()


def possible_cpus(text: str | None = None) -> int:
    """How many CPU numbers the kernel may ever use.

    Args:
        text: in the form of ``/sys/devices/system/cpu/possible`` (``0-3,8``), for tests; read from there when None.
    """
    if text is None:
        text = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
    last = text.strip().split(",")[-1]
    return int(last.split("-")[-1]) + 1


def _meter_bits(slots: int, cpus: int) -> int:
    """Sets of eight a CPU, so that all CPUs together have about ``slots``; 128 sets at least, 2^20 at most."""
    return min(20, max(7, _log2(max(1, slots // (8 * cpus)))))


def _log2(number: int) -> int:
    return max(0, number.bit_length() - 1)
