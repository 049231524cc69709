# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser: it draws, in the light and in the dark, on a phone and on paper, and runs nothing."""

from __future__ import annotations

import dataclasses
import http.server
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.system.browser import MISSING, Browser, Picture, find
from tests.unit.incident.hostile import hostile
from tests.unit.incident.sample import incident
from xdpwall.incident.render import render

PROGRAM = find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)
LIGHT, DARK = (0xF4, 0xF6, 0xF9), (0x0E, 0x13, 0x1A)
SYN_LIGHT = (0x2F, 0x6F, 0xDE)


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    assert PROGRAM is not None
    return Browser(PROGRAM, tmp_path)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(render(incident(), "html"), encoding="utf-8")
    return path


def has(picture: Picture, colour: tuple[int, int, int], within: int = 2) -> float:
    """The share of pixels of a colour."""
    return float((np.abs(picture.astype(int) - np.array(colour)).max(axis=2) <= within).mean())


def test_light_and_dark(browser: Browser, page: Path) -> None:
    light, dark = browser.picture(page, 1100, 1400), browser.picture(page, 1100, 1400, dark=True)
    assert light.shape == (1400, 1100, 3)
    assert has(light, LIGHT) > 0.05
    assert has(dark, DARK) > 0.05
    assert light.mean() > 200
    assert dark.mean() < 60


def test_the_picture_of_the_flood_is_there(browser: Browser, page: Path) -> None:
    """A good part of the page is the colour of the biggest lane, a little see-through."""
    light = browser.picture(page, 1100, 1400).astype(int)
    blue = (light[:, :, 2] - light[:, :, 0] > 90) & (light[:, :, 2] > 180)
    assert blue.mean() > 0.03
    without = page.with_name("without.html")
    without.write_text(render(dataclasses.replace(incident(), timeline=()), "html"), encoding="utf-8")
    bare = browser.picture(without, 1100, 1400).astype(int)
    assert ((bare[:, :, 2] - bare[:, :, 0] > 90) & (bare[:, :, 2] > 180)).mean() < blue.mean() / 2


def test_nothing_sticks_out_on_a_phone(browser: Browser, page: Path) -> None:
    """The page's own margin stays clear on the right: nothing is wider than the screen."""
    picture = browser.picture(page, 500, 8000)
    margin = picture[:, -6:, :].astype(int)
    assert (np.abs(margin - np.array(LIGHT)).max(axis=2) <= 2).all()


def test_paper(browser: Browser, page: Path) -> None:
    paper = browser.paper(page)
    assert paper.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", paper))
    assert 3 <= pages <= 9
    (box,) = set(re.findall(rb"/MediaBox\s*\[([^\]]*)\]", paper))
    assert [round(float(side)) for side in box.split()] == [0, 0, 595, 842]  # A4 in points


def test_the_policy_fits_the_page_and_holds(browser: Browser, page: Path) -> None:
    """The style's hash is right, so the browser complains of nothing; and a script put in later would not run."""
    assert browser.console(page) == []
    tampered = page.with_name("tampered.html")
    tampered.write_text(
        page.read_text(encoding="utf-8").replace(
            "</main>", "<script>document.body.remove()</script><img src='other.png'></main>"
        ),
        encoding="utf-8",
    )
    said = browser.console(tampered)
    assert len(said) >= 2
    assert has(browser.picture(tampered, 1100, 1400), LIGHT) > 0.05
    assert browser.picture(tampered, 1100, 1400).mean() < 253  # the body is still there


def test_hostile_text_runs_nothing_and_asks_for_nothing(browser: Browser, tmp_path: Path) -> None:
    """Served from a web server that would see any further request."""
    asked: list[str] = []
    text = render(hostile(incident()), "html").encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            said = browser.console_of(f"http://127.0.0.1:{server.server_port}/report")
        finally:
            server.shutdown()
    assert said == []
    assert set(asked) <= {"/report", "/favicon.ico"}
