# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests in namespaces.

Where namespaces or BPF cannot be had at all the tests skip and say why; in CI, which has both, that is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.lab.traffic import Field
from xdpwall.errors import XdpwallError
from xdpwall.lab.counter import Counter
from xdpwall.lab.topology import Lab


def why_not() -> str | None:
    """What keeps these tests from running here, None for nothing."""
    if os.geteuid() != 0:
        return "needs root: sudo make test"
    try:
        with Lab() as probe, closing(Counter(probe.namespace("wall"), ["wan0"])):
            return None
    except XdpwallError as error:
        return f"{error.message} ({error.hint})" if error.hint else error.message


@pytest.fixture(scope="session", autouse=True)
def kernel() -> None:
    """Root, namespaces, BPF and bcc, or no test here."""
    missing = why_not()
    if missing is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run the tests in namespaces: {missing}")
    pytest.skip(f"no test in namespaces can run here: {missing}")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab with one link; nothing is loaded yet."""
    with Lab() as made:
        yield made


@pytest.fixture
def field(lab: Lab) -> Iterator[Field]:
    """The lab with a counter behind the wall's place; nothing is loaded yet."""
    with closing(Field(lab)) as made:
        yield made
