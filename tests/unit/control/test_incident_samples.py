# SPDX-License-Identifier: Apache-2.0
"""The file of an incident's sampled packets, read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from pcapng import FileScanner
from pcapng.blocks import EnhancedPacket

from xdpwall.control.incident_samples import SampleFile
from xdpwall.lanes import Lane
from xdpwall.reasons import Reason
from xdpwall.sample import Sample

AT = 1_795_449_882.25


def sample(reason: Reason = Reason.LANE_SYN, length: int = 600) -> Sample:
    """A packet of which the kernel kept a hundred bytes."""
    return Sample(
        tick=1,
        length=length,
        reason=reason,
        lane=Lane.SYN,
        slot=0,
        version=4,
        protocol=6,
        fragment=0,
        l3=14,
        l4=34,
        captured=100,
        head=bytes(range(128)),
    )


def packets(path: Path) -> list[EnhancedPacket]:
    """Every packet of a file."""
    with path.open("rb") as file:
        return [block for block in FileScanner(file) if isinstance(block, EnhancedPacket)]


def test_a_sample_keeps_its_time_length_and_verdict(tmp_path: Path) -> None:
    kept = SampleFile(tmp_path, 7, 100)
    kept.take([(AT, sample()), (AT + 1, sample(Reason.PASS_FLOW))])
    kept.close()
    known = kept.known()
    first, second = packets(Path(known.path))
    assert (first.timestamp, second.timestamp) == (
        pytest.approx(AT, abs=1e-5),
        pytest.approx(AT + 1, abs=1e-5),
    )
    assert (bytes(first.packet_data), first.packet_len) == (bytes(range(100)), 600)
    assert first.options["opt_comment"] == "drop: lane_syn; syn lane"
    assert second.options["opt_comment"].startswith("pass: pass_flow")
    assert (known.packets, known.bytes) == (2, Path(known.path).stat().st_size)


def test_it_goes_on_after_a_restart_and_stays_bounded(tmp_path: Path) -> None:
    before = SampleFile(tmp_path, 7, 100)
    before.take([(AT, sample())] * 5)
    before.close()
    after = SampleFile(tmp_path, 7, 100, before.known())
    for second in range(100):
        after.take([(AT + second, sample())] * 50)
    after.close()
    assert after.known().packets == 100
    assert len(packets(Path(after.known().path))) == 100
