# SPDX-License-Identifier: Apache-2.0
"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# No deadline: no test may depend on how busy the machine is. In CI the same examples each time.
hypothesis.settings.register_profile("xdpwall", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("xdpwall")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parents[1]
