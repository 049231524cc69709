# SPDX-License-Identifier: Apache-2.0
"""``make fuzz``: mutated packets for the data path, then hostile bytes for everything that reads them."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz import build, readers
from tests.fuzz.run import Report, fuzz
from tests.fuzz.seeds import CORPUS, read_hex, seeds, write_hex
from tests.fuzz.walls import subjects
from xdpwall.reasons import Reason

_FOUND = CORPUS / "found.hex"
_READERS_SHARE = 0.2
"""Of a run's time."""
_LOADING_S = 6.0
"""About what it takes to load a wall and take it down: of the time that was given."""


def arguments() -> argparse.Namespace:
    """What was asked for."""
    names = list(subjects())
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument(
        "--packets", type=int, default=0, help="so many in all; 0: as many as the time allows"
    )
    parser.add_argument("--seconds", type=float, default=60, help="stop after this time (default 60)")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the mutations; the time of day unless given"
    )
    parser.add_argument(
        "--only", choices=[*names, "readers"], action="append", help="only this wall, or the readers"
    )
    parser.add_argument("--keep", action="store_true", help=f"add what reaches new branches to {_FOUND.name}")
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="show the packets of a file, each many times"
    )
    parser.add_argument("--reader", choices=list(readers.readers()), action="append", help="only this reader")
    return parser.parse_args()


def main() -> int:
    """The exit code: 1 for a finding."""
    asked = arguments()
    if asked.reader and asked.replay:
        return readers.replay(asked.reader[0], asked.replay)
    if asked.reader:
        asked.only = ["readers"]
    dice = asked.seed if asked.seed is not None else time.time_ns() & 0xFFFFFFFF
    begun = time.monotonic()
    walls = [s for s in subjects().values() if not asked.only or s.name in asked.only]
    given = asked.replay is not None and read_hex(asked.replay)
    if walls and build.compiler() is None:
        print(
            "fuzz: gcc is not installed, so the data path cannot be fuzzed: apt-get install gcc libc6-dev",
            file=sys.stderr,
        )
        return 1
    print(f"seed {dice}; a run with the same seed and --packets shows the same packets", flush=True)
    bad = 0
    reports = []
    whole = sum(wall.share for wall in walls)
    for wall in walls:
        left = sum(later.share for later in walls[walls.index(wall) :])
        rest = asked.seconds * (1 if asked.only else 1 - _READERS_SHARE) - (time.monotonic() - begun)
        seconds = max(1.0, rest * wall.share / left - _LOADING_S)
        report = fuzz(
            wall,
            given or seeds(),
            packets=int(asked.packets * wall.share / whole) if asked.packets else 1 << 62,
            seconds=seconds,
            dice=dice,
            keep=build.FOLDER / f"found-{wall.name}.hex" if asked.keep else None,
            told=_progress,
            replay=bool(given),
        )
        reports.append(report)
        _tell(report, dice)
        bad += len(report.findings) + (report.broken is not None)
    if not given and (not asked.only or "readers" in asked.only):
        alone = asked.only == ["readers"]
        bad += readers.run(dice, asked.seconds * (1.0 if alone else _READERS_SHARE), asked.reader or ())
    if reports:
        _sum_up(reports, time.monotonic() - begun)
    if asked.keep:
        _keep(reports)
    return 1 if bad else 0


def _progress(report: Report) -> None:
    if sys.stdout.isatty() and report.seconds:
        rate = report.packets / report.seconds
        print(f"\r{report.name:8} {report.packets:>12,} packets, {rate:>9,.0f}/s", end="", flush=True)


def _tell(report: Report, dice: int) -> None:
    rate = report.packets / report.seconds if report.seconds else 0
    new = report.edges - report.edges_of_seeds
    print(
        f"\r{report.name:8} {report.packets:>12,} packets in {report.seconds:6.1f} s, {rate:>9,.0f}/s, "
        f"{report.edges:,} edges ({new:+,} beyond the seeds'), {report.states} states, "
        f"{report.answers:,} cookies checked, {len(report.findings)} findings",
        flush=True,
    )
    for finding in report.findings:
        reason = finding["reason"]
        name = Reason(reason).label if reason in set(Reason) else str(reason)
        print(
            f"  FINDING {finding['finding']}: {finding['detail']} (verdict {finding['verdict']}, reason {name})"
        )
        print(f"    packet: {finding['file']}")
        print(f'    again:  make fuzz ARGS="--only {report.name} --replay {finding["file"]}"')
        print(f'    or:     make fuzz ARGS="--only {report.name} --seed {dice} --packets {report.packets}"')
    if report.broken:
        print(f"  BROKEN: {report.broken}")


def _sum_up(reports: list[Report], seconds: float) -> None:
    packets = sum(report.packets for report in reports)
    running = sum(report.seconds for report in reports)
    states = sum(report.states for report in reports)
    findings = sum(len(report.findings) for report in reports)
    print(
        f"in all   {packets:>12,} packets in {running:6.1f} s, {packets / running if running else 0:>9,.0f}/s; "
        f"{states} states; {findings} findings; {seconds:.0f} s with loading and compiling"
    )


def _keep(reports: list[Report]) -> None:
    """Write what was found beside what is there; each packet once."""
    known = set(read_hex(_FOUND)) if _FOUND.exists() else set()
    before = len(known)
    for report in reports:
        path = build.FOLDER / f"found-{report.name}.hex"
        if path.exists():
            known |= set(read_hex(path))
            path.unlink()
    listed = sorted(known, key=lambda packet: (len(packet), packet))
    write_hex(
        _FOUND,
        listed,
        "SPDX-License-Identifier: Apache-2.0\nPackets that took a branch none before took: make fuzz ARGS=--keep",
    )
    print(f"kept {len(known) - before} packets more in {_FOUND}")


if __name__ == "__main__":
    sys.exit(main())
