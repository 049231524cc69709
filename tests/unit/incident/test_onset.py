# SPDX-License-Identifier: Apache-2.0
"""When an attack began, from readings a tick apart."""

from __future__ import annotations

from xdpwall.incident.onset import onset, rewind
from xdpwall.incident.reading import Reading
from xdpwall.reasons import Reason

MS = 1_000_000


def readings(*packets: tuple[int, int]) -> list[Reading]:
    """One each 100 ms, with what was passed and dropped in the span before it."""
    found = [Reading(1_000, 0, {Reason.PASS: (0, 0)})]
    passed = dropped = 0
    for number, (more, less) in enumerate(packets, 1):
        passed, dropped = passed + more, dropped + less
        found.append(
            Reading(
                1_000 + number * 100,
                number * 100 * MS,
                {Reason.PASS: (passed, passed * 60), Reason.LANE_SYN: (dropped, dropped * 60)},
            )
        )
    return found


def test_how_full_the_first_span_is_says_when_it_began() -> None:
    began = onset(readings((250, 0), (1_000, 0), (400, 600)))
    assert began.first_packet_ms == 1_075
    assert began.threshold_ms == 1_100
    assert began.first_drop_ms == 1_300
    assert began.resolution_ms == 100


def test_one_reading_is_all_there_is() -> None:
    began = onset(readings())
    assert (began.first_packet_ms, began.first_drop_ms) == (1_000, None)


def test_packets_that_passed_before_a_limit_tripped_are_its_own() -> None:
    quiet = [(5, 0)] * 10
    story = readings(*quiet, (900, 0), (1_000, 0), (1_000, 0), (10, 990))
    assert rewind(story, usual_pps=50.0)[0].at_ms == 2_000


def test_a_busy_host_is_not_rewound_into_its_own_traffic() -> None:
    busy = [(5_000, 0)] * 10
    story = readings(*busy, (20_000, 0), (1_000, 20_000))
    assert rewind(story, usual_pps=50_000.0)[0].at_ms == 2_000
