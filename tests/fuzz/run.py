# SPDX-License-Identifier: Apache-2.0
"""Runs the driver on walls, one after the other, and adds up what it says."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.build import FOLDER, build
from tests.fuzz.seeds import write_hex
from tests.fuzz.walls import Subject, laid

FINDINGS = FOLDER / "findings"
_GRACE_S = 60
"""After its time a driver that does not end is stuck."""


@dataclass
class Report:
    """What a run did. ``edges``: branches of the data path that were taken, one after another; ``states``: different
    verdicts, reasons and counts of lanes that the loaded program gave."""

    name: str
    packets: int = 0
    seconds: float = 0.0
    edges: int = 0
    edges_of_seeds: int = 0
    states: int = 0
    answers: int = 0
    echoes: int = 0
    kept: int = 0
    bytes: int = 0
    findings: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False
    broken: str | None = None

    def take(self, line: dict[str, Any]) -> None:
        """Add what one line of the driver's says."""
        if "finding" in line:
            self.findings.append(line)
        self.done |= "done" in line
        for name in (
            "packets",
            "seconds",
            "edges",
            "edges_of_seeds",
            "states",
            "answers",
            "echoes",
            "kept",
            "bytes",
        ):
            if name in line:
                setattr(self, name, line[name])


def fuzz(
    subject: Subject,
    seeds: Sequence[bytes],
    *,
    packets: int,
    seconds: float,
    dice: int,
    keep: Path | None = None,
    told: Callable[[Report], None] = lambda report: None,
    replay: bool = False,
) -> Report:
    """Fuzz one wall.

    Args:
        subject: which.
        seeds: packets to begin with.
        packets: stop after so many.
        seconds: and after this time, whichever comes first.
        dice: of the mutations; the same again gives the same packets.
        keep: where packets are written that took branches that no seed took.
        told: called now and then with the report so far.
        replay: show each packet of ``seeds`` many times, and no others.
    """
    report = Report(subject.name)
    FINDINGS.mkdir(parents=True, exist_ok=True)
    with laid(subject) as wall, tempfile.TemporaryDirectory(prefix="xdpwall-fuzz-") as folder:
        driver = build(wall.defines())
        corpus = Path(folder, "seeds")
        write_hex(corpus, list(seeds))
        cpu = sorted(os.sched_getaffinity(0))[os.getpid() % len(os.sched_getaffinity(0))]
        settings: dict[str, object] = {
            "packets": packets,
            "seconds": f"{seconds:.2f}",
            "dice": dice * 2 + 1,
            "reproducers": FINDINGS,
            "replay": int(replay),
            "corpus": corpus,
        }
        if keep is not None:
            settings["keep"] = keep
        text, fds = wall.plan(cpu, settings)
        plan = Path(folder, "plan")
        plan.write_text(text, encoding="ascii")
        try:
            _run(driver, plan, fds, seconds, report, told)
        finally:
            for fd in fds:
                os.close(fd)
    return report


def _run(
    driver: Path,
    plan: Path,
    fds: Sequence[int],
    seconds: float,
    report: Report,
    told: Callable[[Report], None],
) -> None:
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [driver, plan],
            pass_fds=fds,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"},
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                with suppress(json.JSONDecodeError):
                    report.take(json.loads(line))
                told(report)
            process.wait(timeout=_GRACE_S)
        finally:
            if process.poll() is None:
                process.kill()
        errors.seek(0)
        if not report.done:
            report.broken = f"the driver ended with {process.returncode}: {errors.read().strip()}"
