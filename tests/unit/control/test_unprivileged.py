# SPDX-License-Identifier: Apache-2.0
"""What is run for somebody else has none of our rights. The real setpriv, a real child."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from xdpwall.control import unprivileged

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="gives up root's rights: needs root")
WITHOUT = ("CapInh", "CapPrm", "CapEff", "CapAmb")


def status(user: str = "") -> dict[str, str]:
    done = subprocess.run(
        unprivileged.wrapped(["cat", "/proc/self/status"], user),
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return {
        key: value.strip() for key, _, value in (line.partition(":") for line in done.stdout.splitlines())
    }


def test_no_capability_is_left() -> None:
    told = status()
    assert {told[name] for name in WITHOUT} == {"0" * 16}
    assert told["NoNewPrivs"] == "1"


@ROOT
def test_root_becomes_nobody_without_groups() -> None:
    nobody = pwd.getpwnam("nobody")
    told = status()
    assert told["Uid"].split() == [str(nobody.pw_uid)] * 4
    assert told["Gid"].split() == [str(nobody.pw_gid)] * 4
    assert told["Groups"] == ""
    assert told["CapBnd"] == "0" * 16


@ROOT
def test_root_becomes_whom_the_configuration_names() -> None:
    told = status("daemon")
    assert told["Uid"].split() == [str(pwd.getpwnam("daemon").pw_uid)] * 4


@ROOT
def test_capabilities_of_a_service_do_not_go_on_either() -> None:
    """As the service's user: not root, but with capabilities that children inherit."""
    user = pwd.getpwnam("daemon")
    inner = (
        "from xdpwall.control import unprivileged as u; import os;"
        "c = u.wrapped(['cat', '/proc/self/status'], ''); os.execv(c[0], c)"
    )
    done = subprocess.run(
        [
            "setpriv",
            f"--reuid={user.pw_uid}",
            f"--regid={user.pw_gid}",
            "--clear-groups",
            "--inh-caps=+net_admin,+bpf",
            "--ambient-caps=+net_admin,+bpf",
            "/usr/bin/env",
            f"PYTHONPATH={Path.cwd()}",
            "/usr/bin/python3",
            "-c",
            inner,
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    for name in WITHOUT:
        assert f"{name}:\t{'0' * 16}" in done.stdout


@ROOT
def test_an_unknown_user_is_an_error_and_nothing_runs() -> None:
    with pytest.raises(OSError, match="there is no user 'nosuchuser'"):
        unprivileged.wrapped(["true"], "nosuchuser")


def test_without_setpriv_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(OSError, match="util-linux"):
        unprivileged.wrapped(["true"], "")


def test_arguments_are_not_read_by_a_shell() -> None:
    assert unprivileged.wrapped(["a b", "$(id)", "--reuid=0"], "")[-4:] == ["--", "a b", "$(id)", "--reuid=0"]
