# SPDX-License-Identifier: Apache-2.0
"""What the processes of the lab's users have in common: they try things at a steady rate and say how each went.

Each try that is over is one line on standard output:

    {"kind": "ping", "start_ns": CLOCK_MONOTONIC, "ms": 1.23, "connect_ms": null, "error": ""}

``error`` is empty when it succeeded. Tries start on schedule even while others hang. A process ends when its standard
input does, after the tries under way are over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Try = Callable[[int], Awaitable[float | None]]
"""One try, given its number. Gives how long it took to connect, in ms, or None. Raises what is in ``FAILURES``."""

FAILURES = (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


@dataclass(frozen=True, slots=True)
class Habit:
    """Something that users do all the time: ``per_second`` tries of one kind, each given up after ``timeout``."""

    kind: str
    per_second: float
    attempt: Try
    timeout: float


async def live(habits: list[Habit]) -> None:
    """Follow all habits until standard input ends."""
    stop = asyncio.Event()
    # Nothing is ever written to it: it becomes readable when it ends.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    await asyncio.gather(*(_follow(habit, stop, place / len(habits)) for place, habit in enumerate(habits)))


async def _follow(habit: Habit, stop: asyncio.Event, shift: float) -> None:
    """Try on schedule. ``shift``: part of the time between two tries by which the first one comes later."""
    under_way: set[asyncio.Task[None]] = set()
    began = time.monotonic() + shift / habit.per_second
    number = 0
    while True:
        wait = began + number / habit.per_second - time.monotonic()
        if wait > 0:
            with contextlib.suppress(TimeoutError):  # nobody said stop: the time has come
                await asyncio.wait_for(stop.wait(), wait)
        if stop.is_set():
            break
        task = asyncio.create_task(_one(habit, number))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        number += 1
        await asyncio.sleep(0)
    if under_way:
        await asyncio.wait(under_way, timeout=habit.timeout + 1)


async def _one(habit: Habit, number: int) -> None:
    start = time.monotonic_ns()
    error = ""
    connect_ms = None
    try:
        async with asyncio.timeout(habit.timeout):
            connect_ms = await habit.attempt(number)
    except TimeoutError:
        error = f"no answer within {habit.timeout:g} s"
    except FAILURES as failure:
        error = f"{type(failure).__name__}: {failure}"
    line = {
        "kind": habit.kind,
        "start_ns": start,
        "ms": round((time.monotonic_ns() - start) / 1e6, 3),
        "connect_ms": None if connect_ms is None else round(connect_ms, 3),
        "error": error,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
