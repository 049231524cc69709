# SPDX-License-Identifier: Apache-2.0
"""The live screen on a real controller: quiet, under a flood, acting, and when the controller goes away."""

from __future__ import annotations

import pytest

from tests.lab.traffic import Field, sources
from tests.tui.conftest import Screen, on_screen
from xdpwall.interface.tui.app import Came
from xdpwall.interface.tui.feed import News
from xdpwall.interface.tui.tables import RowTable
from xdpwall.lab.topology import Lab

BOT = "45.1.0.1"


def test_quiet(walled: Lab) -> None:
    async def work(screen: Screen) -> None:
        await screen.shows("QUIET", "wan0 native", "passed", "dropped", "syn", "bans: 0 + 0 prefixes")
        await screen.press("question_mark")
        await screen.shows("ban the selected source", "Is it being stopped?")
        await screen.press("escape")
        await screen.press("2")
        await screen.shows("PREFIX", "REASON")
        await screen.press("3")
        await screen.shows("INCIDENT", "KIND")
        await screen.press("d")
        await screen.shows("Nothing that the controller knows of")
        await screen.press("escape")
        assert screen.app.active.id == "incidents"

    on_screen(walled.paths, work)


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
def test_a_flood(walled: Lab, size: tuple[int, int]) -> None:
    """The state, the figures, who it is, and that the sources stay in view while they are banned."""
    field = Field(walled)
    bots = sources(BOT, 3)

    async def work(screen: Screen) -> None:
        await screen.shows("UNDER ATTACK", "banned", *bots)
        await screen.until(lambda: len(knocking(screen)) == len(bots), "each of them is still seen sending")
        if size[0] < 120:
            assert "PREFIX" not in screen.text()
            await screen.press("2")
        await screen.shows("PREFIX", "DROPPED", "auto")
        if size[0] < 120:
            await screen.press("4")
        await screen.shows("its source is banned"[:12])

    try:
        with field.under_flood(bots, pps=90_000):
            on_screen(walled.paths, work, size=size)
    finally:
        field.close()


def knocking(screen: Screen) -> list[str]:
    return [
        row.key
        for row in screen.app.query_one("#sources", RowTable).rows_now
        if "banned" in row.cells and row.cells[3] not in {"0", ""}
    ]


def test_ban_unban_allow(walled: Lab) -> None:
    """Each with its question; what was confirmed is in the controller, what was not is not."""
    field = Field(walled)

    async def work(screen: Screen) -> None:
        await screen.shows(BOT, "passed")
        await screen.press("b")
        await screen.shows("How long", "Ban (enter)")
        await screen.press("escape")
        assert walled.ask("ban.list")["bans"] == []
        await screen.until(lambda: "How long" not in screen.text(), "the question is gone")
        await screen.press("b")
        await screen.shows("Ban (enter)")
        await screen.press("ctrl+u")
        await screen.type("5x")
        await screen.press("enter")
        await screen.shows("not a usable duration")
        await screen.press("ctrl+u")
        await screen.type("1h")
        await screen.press("tab")
        await screen.type("by hand")
        await screen.press("enter")
        await screen.shows(f"{BOT} is banned for 1h")
        (ban,) = walled.ask("ban.list")["bans"]
        assert (ban["prefix"], ban["origin"], ban["reason"]) == (BOT, "operator", "by hand")
        assert 3_500_000 < ban["remaining_ms"] <= 3_600_000
        await screen.shows("banned", "59m")
        await screen.press("u")
        await screen.shows(f"Lift the ban on {BOT}?")
        await screen.press("n")
        assert walled.ask("ban.list")["bans"]
        await screen.until(lambda: "Lift the ban" not in screen.text(), "the question is gone")
        await screen.press("u")
        await screen.shows(f"Lift the ban on {BOT}?")
        await screen.press("y")
        await screen.shows(f"the ban on {BOT} is lifted")
        assert walled.ask("ban.list")["bans"] == []
        await screen.press("a")
        await screen.shows("Nothing from there is ever dropped again")
        await screen.press("y")
        await screen.shows(f"{BOT} is allowed")
        assert [entry["prefix"] for entry in walled.ask("allow.list")["allow"]] == [BOT]
        await screen.press("b")
        await screen.shows("Ban (enter)")
        await screen.press("enter")
        await screen.shows("is not banned")
        await screen.press("enter")
        await screen.shows("verdict: allowed")

    try:
        with field.under_flood([BOT], pps=2_000):
            on_screen(walled.paths, work)
    finally:
        field.close()


def test_sort_filter_and_hold(walled: Lab) -> None:
    field = Field(walled)
    bots = [*sources("45.1.0.1", 2), *sources("46.2.0.1", 2)]

    async def work(screen: Screen) -> None:
        await screen.shows(*bots)
        await screen.press("slash")
        await screen.type("46.2.0.0/16")
        await screen.press("enter")
        await screen.until(lambda: "45.1.0.1" not in screen.text(), "the others are out of sight")
        await screen.shows("46.2.0.1", "46.2.0.2", "only 46.2.0.0/16")
        await screen.press("slash", "ctrl+u", "enter")
        await screen.shows(*bots)
        await screen.press("s")
        await screen.shows("Sources by bps")
        await screen.press("space")
        await screen.shows("PAUSED")
        held = screen.app.news
        await screen.pilot.pause(1.0)
        assert screen.app.news is held
        await screen.press("space")
        await screen.until(lambda: screen.app.news is not held, "it goes on")
        await screen.pilot.click("#sources", offset=(5, 3))
        await screen.until(lambda: screen.app.active.cursor_row == 2, "the mouse selects")

    try:
        with field.under_flood(bots, pps=2_000):
            on_screen(walled.paths, work)
    finally:
        field.close()


def test_the_controller_goes_and_comes_back(walled: Lab) -> None:
    first = walled._processes[-1]

    async def work(screen: Screen) -> None:
        await screen.shows("QUIET")
        first.kill()
        first.wait()
        await screen.shows("DEGRADED", "the controller does not answer", "nobody new is banned")
        walled.start_controller()
        await screen.shows("QUIET", "the controller restarted")

    on_screen(walled.paths, work, size=(160, 40))


def test_without_a_wall_it_says_so(walled: Lab) -> None:
    async def work(screen: Screen) -> None:
        await screen.shows("QUIET")
        walled.wall("unload")
        await screen.shows("no wall is loaded")

    on_screen(walled.paths, work)


def test_read_only(walled: Lab) -> None:
    async def work(screen: Screen) -> None:
        await screen.shows("QUIET", "[read-only]")
        for key in ("b", "u", "a"):
            await screen.press(key)
        assert screen.app.screen is screen.app.screen_stack[0], "no question was asked"
        await screen.shows("read-only: it was asked for")

    on_screen(walled.paths, work, read_only=True)


def test_a_user_who_may_only_look(walled: Lab) -> None:
    """What the controller says of the asker's rights is what counts."""

    async def work(screen: Screen) -> None:
        await screen.shows("QUIET")
        answer = dict(screen.app.news.answer or {})
        screen.app._feed.stop()
        await screen.pilot.pause(0.5)  # what it had posted is dealt with
        screen.app.post_message(Came(News({**answer, "may_write": False})))
        await screen.shows("[read-only]")
        await screen.press("b")
        await screen.shows("this user may only look")

    on_screen(walled.paths, work)


def test_lines_instead_of_a_screen(walled: Lab) -> None:
    plain = walled.wall("top", "--plain", "--rounds", "2", "--interval", "0.3").stdout
    assert plain.count("QUIET") == 2
    assert "LANE" in plain
    assert "\x1b" not in plain
    piped = walled.wall("top", "--rounds", "1").stdout
    assert "QUIET" in piped, "no terminal: lines"
    answer = walled.wall_json("top", "--rounds", "1")
    assert answer["schema"] == 1
    assert answer["status"]["state"] == "QUIET"
    walled.stop(walled._processes[-1])
    ended = walled.wall("top", "--plain", "--rounds", "1", check=False)
    assert ended.returncode == 3
    assert "does not answer" in ended.stdout
