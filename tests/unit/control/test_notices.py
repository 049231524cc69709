# SPDX-License-Identifier: Apache-2.0
"""Messages: which are sent, how they are delivered, and what happens when they cannot be."""

from __future__ import annotations

import http.server
import json
import os
import pwd
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from xdpwall.config_incident import NotifyConfig
from xdpwall.control.notices import Notice, NoticeGate, Notifier, post, run_command

S = 1_000_000_000
ME = pwd.getpwuid(os.geteuid()).pw_name
READER = "import sys, json, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())"


def notice(moment: str = "open", about: str = "2026-01-01-1") -> Notice:
    return Notice(moment, about, "it began", "more words", {"id": 1})


def config(**keys: Any) -> NotifyConfig:
    return NotifyConfig.model_validate(keys)


class Hook(http.server.BaseHTTPRequestHandler):
    """A web hook that answers with the codes it was given, one after the other, and then with 204."""

    codes: ClassVar[list[int]] = []
    got: ClassVar[list[tuple[dict[str, Any], str | None]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Hook.got.append((json.loads(body), self.headers.get("Authorization")))
        code = Hook.codes.pop(0) if Hook.codes else 204
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def hook() -> Iterator[str]:
    Hook.codes, Hook.got = [], []
    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()


def test_the_same_is_not_told_twice() -> None:
    gate, rules = NoticeGate(), config(repeat="10m")
    assert gate.admits(notice(), rules, 0)
    assert not gate.admits(notice(), rules, 599 * S)
    assert gate.admits(notice("close"), rules, 1 * S)
    assert gate.admits(notice(), rules, 601 * S)


def test_no_more_than_so_many_in_an_hour() -> None:
    gate, rules = NoticeGate(), config(per_hour=3)
    sent = [gate.admits(notice(about=str(n)), rules, n * S) for n in range(10)]
    assert sum(sent) == 3
    assert gate.held == 7
    assert gate.admits(notice(about="later"), rules, 3_601 * S)


def test_only_the_moments_that_are_wanted() -> None:
    gate, rules = NoticeGate(), config(on=["close"])
    assert not gate.admits(notice("open"), rules, 0)
    assert gate.admits(notice("close"), rules, 0)


def test_a_command_gets_the_message_on_its_standard_input(tmp_path: Path) -> None:
    target = tmp_path / "told; rm -rf $HOME"
    run_command(notice().payload(), config(command=[sys.executable, "-c", READER, str(target)], user=ME))
    told = json.loads(target.read_text())
    assert told["moment"] == "open"
    assert told["data"] == {"id": 1}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([sys.executable, "-c", "import sys; sys.exit('no such room')"], "ended with 1: no such room"),
        (["/nonexistent/program"], "No such file"),
    ],
)
def test_a_command_that_fails_says_why(argv: list[str], words: str) -> None:
    with pytest.raises(OSError, match=words):
        run_command(notice().payload(), config(command=argv, user=ME))


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    child = f"import time, pathlib; time.sleep(6); pathlib.Path({str(alive)!r}).touch()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(TimeoutError):
        run_command(notice().payload(), config(command=[sys.executable, "-c", parent], timeout="2s", user=ME))
    assert not alive.exists()


def test_a_web_hook_gets_json_and_the_token(hook: str) -> None:
    post(notice().payload(), config(webhook=hook, webhook_token="secret"))
    ((told, token),) = Hook.got
    assert told["title"] == "it began"
    assert token == "Bearer secret"


@pytest.mark.parametrize("code", [302, 404, 500])
def test_any_other_answer_is_a_failure(hook: str, code: int) -> None:
    Hook.codes = [code]
    with pytest.raises(OSError, match=str(code)):
        post(notice().payload(), config(webhook=hook, webhook_token="secret"))
    assert len(Hook.got) == 1  # nobody followed a redirect with the token


def test_it_is_tried_again(hook: str) -> None:
    Hook.codes = [500, 500]
    pauses: list[float] = []
    notifier = Notifier(config(webhook=hook, tries=3), sleep=pauses.append)
    assert notifier.tell(notice(), 0)
    notifier.close(20)
    assert len(Hook.got) == 3
    assert pauses == [2.0, 4.0]
    assert notifier.failed == 0
    assert notifier.last_error is None


def test_one_way_that_fails_does_not_stop_the_other(hook: str) -> None:
    rules = config(webhook=hook, command=["/nonexistent/program"], tries=1)
    notifier = Notifier(rules, sleep=lambda _: None)
    notifier.tell(notice(), 0)
    notifier.close(20)
    assert len(Hook.got) == 1
    assert notifier.failed == 1
    assert notifier.last_error is not None
    assert "notify.command" in notifier.last_error


def test_without_a_way_nothing_is_started() -> None:
    notifier = Notifier(config())
    assert not notifier.tell(notice(), 0)
    assert notifier._thread is None


def test_telling_never_waits(hook: str) -> None:
    stuck = threading.Event()
    notifier = Notifier(config(webhook=hook, tries=2, per_hour=10_000), sleep=lambda _: stuck.wait(20))
    Hook.codes = [500]
    told = [notifier.tell(notice(about=str(number)), number) for number in range(400)]
    assert told.count(True) < 400
    assert notifier.failed > 0
    stuck.set()
    notifier.close(20)
