# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium: pictures and paper of a page, and what it says on its console."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
MISSING = "no Chromium here, so no report was looked at in a browser: `sudo make test-browser` installs it"
_OPTIONS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing outside is asked for, whatever the page says
)  # fmt: skip
Picture = npt.NDArray[np.uint8]


def find() -> str | None:
    """The browser's path, None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """Starts the browser for one page at a time, each with a fresh profile.

    Args:
        program: its path.
        folder: for profiles and results.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._runs = 0

    def picture(self, page: Path, width: int, height: int, *, dark: bool = False) -> Picture:
        """A screenshot, shape (height, width, 3)."""
        out = self._folder / f"{self._runs}.png"
        scheme = (
            ["--blink-settings=preferredColorScheme=0"]
            if dark
            else ["--blink-settings=preferredColorScheme=1"]
        )
        self._run(page.as_uri(), *scheme, f"--window-size={width},{height}", f"--screenshot={out}")
        with Image.open(out) as drawn:
            return np.asarray(drawn.convert("RGB"))

    def paper(self, page: Path) -> bytes:
        """The page as PDF."""
        out = self._folder / f"{self._runs}.pdf"
        self._run(page.as_uri(), "--no-pdf-header-footer", f"--print-to-pdf={out}")
        return out.read_bytes()

    def console(self, page: Path) -> list[str]:
        """What the browser says on its console, violations of the page's policy among it."""
        return self.console_of(page.as_uri())

    def console_of(self, address: str) -> list[str]:
        """Like :meth:`console`, of an address."""
        said = self._run(
            address, "--enable-logging=stderr", "--v=0", f"--screenshot={self._folder / 'console.png'}"
        )
        return [
            line for line in said.splitlines() if re.search(r"CONSOLE|Refused|Content Security Policy", line)
        ]

    def _run(self, address: str, *options: str) -> str:
        self._runs += 1
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [
                self._program,
                *_OPTIONS,
                *root,
                f"--user-data-dir={self._folder / f'profile-{self._runs}'}",
                *options,
                address,
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        return done.stderr
