# SPDX-License-Identifier: Apache-2.0
"""Options, exit codes, and the shape of failures."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import click
import pytest

from tests.unit.interface.conftest import Controller, Run
from xdpwall import __version__
from xdpwall.errors import (
    CompileError,
    ConfigError,
    ConfigProblem,
    NoControllerError,
    NotFoundError,
    RefusedError,
    VerifierError,
    XdpwallError,
)
from xdpwall.interface.cli import main as main_module
from xdpwall.interface.cli.command import Verb, Verbs
from xdpwall.interface.cli.main import VERBS, asks_for_json, cli

VERDICTS = {"policy": "enforce", "verdicts": []}


def every_command(
    group: click.Group = cli, above: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append(((*above, name), command))
        if isinstance(command, click.Group):
            found += every_command(command, (*above, name))
    return found


def test_help_lists_every_verb_without_importing_one() -> None:
    code = (
        "import sys; from xdpwall.interface.cli.main import main; main(['--help'])\n"
        "print(*[m for m in sys.modules if m.startswith('xdpwall.')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for verb in VERBS:
        assert f"\n  {verb} " in done.stdout
    loaded = {name.rpartition(".")[2] for name in done.stderr.split()}
    assert not loaded & (set(VERBS) - {"config"})
    assert "xdpwall.interface.cli.config" not in done.stderr.split()


def test_every_verb_takes_the_global_options_and_explains_itself() -> None:
    commands = every_command()
    assert len(commands) >= 25
    for words, command in commands:
        assert isinstance(command, Verb | Verbs), words
        options = {flag for param in command.params for flag in param.opts}
        assert {"-o", "--output", "--instance"} <= options, words
        assert command.help, words
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help, (words, param.name)


def test_the_modules_of_the_verbs() -> None:
    for name, (module, summary) in VERBS.items():
        assert importlib.import_module(f"xdpwall.interface.cli.{module}").command
        assert summary.endswith((".", "?")), name


@pytest.mark.parametrize(
    "arguments",
    [
        ("-o", "json", "verdicts"),
        ("verdicts", "-o", "json"),
        ("--output=json", "verdicts"),
        ("-o", "human", "verdicts", "-ojson"),
    ],
    ids=" ".join,
)
def test_output_before_and_after_the_verb(
    arguments: tuple[str, ...], run: Run, controller: Controller
) -> None:
    controller.answers["verdicts"] = dict(VERDICTS)
    assert run(*arguments).json["verdicts"] == []


def test_options_between_the_words_of_a_verb(run: Run, controller: Controller) -> None:
    controller.answers["ban.list"] = {"bans": []}
    assert run("ban", "-o", "json", "list").json["bans"] == []
    assert run("ban", "list").out == "nothing is banned\n"


def test_the_instance_reaches_the_error(run: Run, controller: Controller) -> None:
    controller.running = False
    for arguments in (("--instance", "two", "sources"), ("sources", "--instance", "two")):
        ran = run(*arguments)
        assert ran.code == 3
        assert "'two'" in ran.err
        assert "hint: start it with `xdpwall --instance two run`" in ran.err


def test_a_bad_instance(run: Run) -> None:
    ran = run("--instance", "../etc", "status")
    assert ran.code == 2
    assert "'../etc'" in ran.err


def test_version(run: Run) -> None:
    assert run("--version").out == f"xdpwall {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("statsu",), "did you mean 'status'?"),
        (("zzz",), "there are: load, unload"),
        (("ban", "lst"), "did you mean 'list'?"),
        (("status", "--nope"), "no such option"),
        (("sources", "--limit", "x"), "not a valid integer"),
        (("sources", "--sort", "x"), "not one of"),
        (("ban", "test"), "missing argument"),
        (("-o", "xml", "status"), "not one of 'human', 'json'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_usage_errors(arguments: tuple[str, ...], said: str, run: Run) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    first, second = ran.err.lower().splitlines()
    assert first.startswith("xdpwall: ")
    assert said.lower() in first
    assert second.startswith("hint: try `xdpwall")
    assert second.endswith("--help`")


def test_usage_errors_for_programs(run: Run) -> None:
    ran = run("status", "--nope", "-o", "json")
    assert ran.code == 2
    error = ran.json["error"]
    assert error["exit_code"] == 2
    assert "--nope" in error["message"]
    assert "xdpwall: " in ran.err


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["-o", "json"], True),
        (["status", "-ojson"], True),
        (["--output=json"], True),
        (["--output", "json"], True),
        (["-o", "human"], False),
        (["ban", "add", "--", "-o", "json"], False),
        (["-o"], False),
        ([], False),
    ],
)
def test_json_is_known_from_bare_arguments(arguments: list[str], answer: bool) -> None:
    assert asks_for_json(arguments) is answer


@pytest.mark.parametrize("arguments", [(), ("ban",)])
def test_no_verb_shows_help(arguments: tuple[str, ...], run: Run) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert "Verbs:" in ran.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError("it is not there", hint="look elsewhere"), 4),
        (RefusedError("no"), 5),
        (NoControllerError("gone"), 3),
        (XdpwallError("broken"), 1),
    ],
)
def test_errors_of_the_controller(error: XdpwallError, code: int, run: Run, controller: Controller) -> None:
    controller.answers["status"] = error
    human = run("status")
    assert (human.code, human.out) == (code, "")
    assert human.err.splitlines() == [
        f"xdpwall: {error.message}",
        *([f"hint: {error.hint}"] if error.hint else []),
    ]
    machine = run("status", "-o", "json")
    assert machine.code == code
    assert machine.json["error"] == {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "exit_code": code,
    }


def test_config_errors_name_every_place(run: Run, controller: Controller) -> None:
    controller.answers["status"] = ConfigError(
        "/etc/x.toml", [ConfigProblem("bans.time", 7, "too long"), ConfigProblem("", 0, "odd")]
    )
    ran = run("status", "-o", "json")
    assert ran.code == 2
    assert ran.err.splitlines()[:3] == [
        "/etc/x.toml:7: bans.time: too long",
        "/etc/x.toml: odd",
        "xdpwall: /etc/x.toml: 2 problems in the configuration",
    ]
    assert ran.json["error"]["config"]["problems"][0] == {
        "key": "bans.time",
        "line": 7,
        "message": "too long",
    }


@pytest.mark.parametrize("kind", [CompileError, VerifierError])
def test_logs_are_shown_from_their_end(
    kind: type[CompileError | VerifierError], run: Run, controller: Controller
) -> None:
    log = "\n".join(f"line {number}" for number in range(100))
    controller.answers["status"] = kind("it did not work", log)
    ran = run("status", "-o", "json")
    assert "line 69" not in ran.err
    assert "70 lines of the log before these" in ran.err
    assert ran.err.index("line 99") < ran.err.index("xdpwall: it did not work")
    assert ran.json["error"]["log"] == log


def test_a_bug_shows_its_traceback(run: Run, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("in here")

    monkeypatch.setattr(main_module.cli, "invoke", broken)
    ran = run("status", "-o", "json")
    assert ran.code == 1
    assert "Traceback" in ran.err
    assert "this is a bug: ZeroDivisionError: in here" in ran.err
    assert ran.json["error"]["exit_code"] == 1


def test_ctrl_c(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module.cli, "invoke", interrupted)
    ran = run("status")
    assert ran.code == 130
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "arguments", [["config", "show", "-o", "json"], ["config", "init", "-"], ["config", "nope", "-o", "json"]]
)
def test_a_reader_that_went_away(arguments: list[str]) -> None:
    """A closed pipe is no traceback, neither ours nor the interpreter's at exit."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "xdpwall", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode == (2 if "nope" in arguments else 141)


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["load", "-i", "eth0"], ["unload"], ["run"], ["lab", "run", "x"], ["ban", "list"]],
)
def test_without_root(arguments: list[str], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at once and in words, before anything is tried."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("xdpwall.interface.cli.ask._effective_capabilities", lambda: 0)
    ran = run(*arguments)
    assert ran.code == 1
    assert f"`xdpwall {arguments[0]}" in ran.err
    assert "needs root" in ran.err
    assert "hint: run it with sudo" in ran.err


def test_a_verb_that_asks_imports_nothing_heavy() -> None:
    """No pydantic either, and in JSON not even rich."""
    code = (
        "import sys, os; os.geteuid = lambda: 0\n"
        "from xdpwall.interface.cli.main import main\n"
        "main(['status', '-o', 'json', '--instance', 'nothing-here'])\n"
        "print('\\nloaded:', *({'bcc', 'pyroute2', 'numpy', 'pydantic', 'rich', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"
