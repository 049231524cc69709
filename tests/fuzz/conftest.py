# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the fuzzer's tests."""

from __future__ import annotations

import os

import pytest

from tests.bpf.conftest import why_not
from tests.bpf.scene import remove_leftovers
from tests.fuzz import build


@pytest.fixture(scope="session")
def driver() -> None:
    """Root, BPF, bcc and gcc, or no test of the data path here."""
    missing = why_not()
    if missing is None and build.compiler() is None:
        missing = "gcc is not installed: packaging/fuzz-tools"
    if missing is None:
        remove_leftovers()
    elif os.environ.get("CI") == "true":
        pytest.fail(f"CI must fuzz the data path: {missing}")
    else:
        pytest.skip(f"the data path cannot be fuzzed here: {missing}")
