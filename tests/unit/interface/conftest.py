# SPDX-License-Identifier: Apache-2.0
"""A controller that answers from a table, and a way to run verbs in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from xdpwall.control import offline, protocol
from xdpwall.errors import NoControllerError, XdpwallError
from xdpwall.interface.cli import ask
from xdpwall.interface.cli.main import main
from xdpwall.paths import Paths


@dataclass
class Controller:
    """Answers each op with what the test put in; remembers what was asked. Arguments are checked as the real one does.

    ``running`` False: nobody listens, and the offline path answers from the same table.
    """

    answers: dict[str, dict[str, Any] | XdpwallError] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    running: bool = True
    offline: bool = False

    def call(self, op: str, **args: Any) -> dict[str, Any]:
        self.asked.append((op, protocol.check_args(op, args)))
        answer = self.answers[op]
        if isinstance(answer, XdpwallError):
            raise answer
        return dict(answer)


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> Controller:
    """A controller for verbs run by :func:`run`."""
    table = Controller()

    class Connection:
        def __init__(self, paths: Paths) -> None:
            if not table.running:
                raise NoControllerError("nobody listens")

        def call(self, op: str, **args: Any) -> dict[str, Any]:
            return table.call(op, **args)

        def __enter__(self) -> Connection:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def without(paths: Paths, op: str, **args: Any) -> dict[str, Any]:
        table.offline = True
        return table.call(op, **args)

    monkeypatch.setattr(ask, "Connection", Connection)
    monkeypatch.setattr(offline, "call", without)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return table


@dataclass(frozen=True)
class Ran:
    """What a verb left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as the one JSON object that it must be."""
        answer = json.loads(self.out)
        assert answer["schema"] == 1
        assert isinstance(answer, dict)
        return answer


Run = Callable[..., Ran]


class Stdin(io.TextIOWrapper):
    """Standard input from bytes, a terminal if told so."""

    tty = False

    def isatty(self) -> bool:
        return self.tty


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line: ``run("ban", "add", "-", stdin="192.0.2.1")``."""

    def go(*arguments: str, stdin: str | bytes = b"", tty: bool = False) -> Ran:
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        stream = Stdin(io.BytesIO(raw), encoding="utf-8")
        stream.tty = tty
        monkeypatch.setattr("sys.stdin", stream)
        capsys.readouterr()
        code = main(list(arguments))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return go
