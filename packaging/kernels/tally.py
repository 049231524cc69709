# SPDX-License-Identifier: Apache-2.0
"""A plugin of pytest: writes what became of each file, as soon as its last test is over, with the seconds it took.

KERNELS_TALLY names the file; one line each: `12 passed, 1 skipped   34 s   tests/bpf/test_bans.py`. A fixture that
several files share counts for the first.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

_seconds: Counter[str] = Counter()
_outcomes: dict[str, Counter[str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Set-up, call and tear-down of each test. The first failure is told at once: the rest may take an hour."""
    file = report.location[0]
    _seconds[file] += report.duration
    known = _outcomes.setdefault(file, Counter())
    if report.when == "call" or report.outcome != "passed":
        known[report.outcome] += 1
    if report.outcome == "failed" and known["failed"] == 1:
        print(f"\n{report.nodeid}\n{report.longreprtext}", flush=True)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Write when the file is at its end."""
    file = item.location[0]
    if nextitem is None or nextitem.location[0] != file:
        _write(file)


def _write(file: str) -> None:
    counts = ", ".join(f"{count} {name}" for name, count in sorted(_outcomes.get(file, Counter()).items()))
    with Path(os.environ["KERNELS_TALLY"]).open("a") as told:
        told.write(f"    {counts:<24} {_seconds[file]:6.0f} s   {file}\n")
