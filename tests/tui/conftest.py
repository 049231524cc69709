# SPDX-License-Identifier: Apache-2.0
"""A lab with a wall and its controller, and the screen on it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.lab.conftest import kernel as kernel  # noqa: PLC0414  (the same condition, used by name)
from tests.lab.conftest import lab as lab  # noqa: PLC0414
from xdpwall.interface.cli.command import Settings
from xdpwall.interface.tui.app import Top
from xdpwall.lab.topology import Lab
from xdpwall.paths import Paths

PATIENCE = 40.0


@pytest.fixture
def walled(kernel: None, lab: Lab) -> Iterator[Lab]:
    """A loaded wall with a controller."""
    lab.write_config('[tick]\ninterval = "50ms"\n')
    lab.load()
    lab.start_controller()
    yield lab
    shutil.rmtree(lab.paths.state, ignore_errors=True)


class Screen:
    """The screen while it is up, with ways to wait for what it shows."""

    def __init__(self, app: Top, pilot: Any) -> None:
        self.app = app
        self.pilot = pilot

    async def until(self, what: Callable[[], bool], meaning: str) -> None:
        """Let it live until it is so."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not what():
            assert asyncio.get_running_loop().time() < deadline, f"never came about: {meaning}\n{self.text()}"
            await self.pilot.pause(0.05)

    async def press(self, *keys: str) -> None:
        """Type."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Type a text."""
        await self.press(*text)

    def text(self) -> str:
        """All that is on the screen, as a person reads it."""
        return screen_text(self.app)

    async def shows(self, *texts: str) -> None:
        """Wait until all of these are on the screen."""
        await self.until(lambda: all(text in self.text() for text in texts), f"{texts}")


def screen_text(app: Top) -> str:
    """The screen's characters, line by line."""
    width, height = app.size
    lines = []
    for strip in app.screen._compositor.render_strips():
        lines.append("".join(segment.text for segment in strip)[:width].rstrip())
    return "\n".join(lines[:height])


def on_screen(
    paths: Paths,
    work: Callable[[Screen], Awaitable[None]],
    *,
    size: tuple[int, int] = (100, 30),
    read_only: bool = False,
) -> None:
    """Run ``work`` on the screen of an instance."""

    async def main() -> None:
        app = Top(Settings(paths=paths), interval=0.2, read_only=read_only)
        async with app.run_test(size=size, notifications=True) as pilot:
            await work(Screen(app, pilot))

    asyncio.run(main())
