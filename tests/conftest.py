# SPDX-License-Identifier: Apache-2.0
"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import pytest

# No deadline: no test may depend on how busy the machine is. In CI the same examples each time.
hypothesis.settings.register_profile("xdpwall", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("xdpwall")

# A shell's background job ignores Ctrl-C, and so would every program that a test starts to send it one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parents[1]
