# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that break things.

Where namespaces or BPF cannot be had the tests skip and say why; in CI, which has them, that is a failure. Without a C
compiler those skip that kill or fail calls.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.inject import Shim
from tests.faults.ledger import Ledger
from tests.lab.conftest import why_not
from tests.lab.traffic import Field
from xdpwall.lab.topology import Lab

LEAN = """
[bans]
capacity = 1024
prefix_capacity = 64
[meters]
sources = 1024
prefixes = 256
[lanes.closed]
pps = 0
bps = 0
"""
"""A wall that loads in half the time, and lets a bystander through to a port where nobody listens."""


@pytest.fixture(scope="session", autouse=True)
def kernel() -> None:
    """Root, namespaces, BPF and bcc, or no test here."""
    _need(why_not())


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Shim:
    """The library that is preloaded."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no fault can be injected: no C compiler (cc, gcc or clang) builds tests/faults/shim.c")
    made = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).with_name("shim.c")
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    done = subprocess.run(
        [compiler, *flags, "-o", str(made), str(source), "-ldl"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Shim(made)


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    """What each fault cost."""
    return Ledger(os.environ.get("XDPWALL_FAULTS_TABLE"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab with two links and a small wall, which is not loaded yet. Nothing is left of its state."""
    with Lab(links=2, config=LEAN) as made:
        made.at_end(lambda: shutil.rmtree(made.paths.state, ignore_errors=True))
        yield made


@pytest.fixture
def field(lab: Lab) -> Iterator[Field]:
    """The lab with counters behind the wall's place."""
    with closing(Field(lab)) as made:
        yield made


def _need(missing: str | None) -> None:
    if missing is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run the tests of faults: {missing}")
    pytest.skip(f"no fault can be tested here: {missing}")
