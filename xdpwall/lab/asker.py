# SPDX-License-Identifier: Apache-2.0
"""What the protected host itself does on the network, run as a process in its namespace: DNS lookups and pings.

    python -m xdpwall.lab.asker TIMEOUT_SECONDS RESOLVER4 RESOLVER6

See ``xdpwall/lab/beat.py`` for what it prints and when it ends.
"""

from __future__ import annotations

import asyncio
import sys

from xdpwall.lab import resolver
from xdpwall.lab.beat import Habit, live
from xdpwall.lab.echo import Pinger

LOOKUPS, PINGS = 20.0, 10.0
"""A second."""


async def run(timeout: float, four: str, six: str) -> None:
    """Ask and ping until standard input ends."""

    async def lookup(number: int) -> None:
        # Every third question over IPv6; every fourth has a large answer, so both come large.
        await resolver.ask(six if number % 3 == 0 else four, large=number % 4 == 0)

    four_pings, six_pings = Pinger(four), Pinger(six)

    async def ping(number: int) -> None:
        await (six_pings if number % 3 == 0 else four_pings).ping(number)

    await live([Habit("dns", LOOKUPS, lookup, timeout), Habit("host_ping", PINGS, ping, timeout)])


def main() -> None:
    """Read the arguments and go."""
    timeout, four, six = sys.argv[1:4]
    asyncio.run(run(float(timeout), four, six))


if __name__ == "__main__":
    main()
