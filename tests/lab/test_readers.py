# SPDX-License-Identifier: Apache-2.0
"""A group that may look: real users, told apart by the kernel."""

from __future__ import annotations

import grp
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.lab.traffic import wait_for
from xdpwall.lab.topology import Lab

NOBODY = 65534


@pytest.fixture
def walled(lab: Lab) -> Iterator[Lab]:
    lab.write_config('[control]\nreaders = "daemon"\n')
    lab.load()
    lab.start_controller()
    wait_for(lambda: lab.paths.socket.stat().st_mode & 0o777 == 0o660, "the socket is given to the group")
    yield lab
    shutil.rmtree(lab.paths.state, ignore_errors=True)


def as_user(lab: Lab, op: str, *, groups: list[int], **args: object) -> subprocess.CompletedProcess[str]:
    """One op, asked by a user who is not root. The check-out may be out of this user's reach: it is read before."""
    code = (
        "import os, sys\n"
        "from xdpwall.control import client, protocol\n"
        "from xdpwall.errors import XdpwallError\n"
        "from xdpwall.paths import Paths\n"
        f"os.setgroups({groups}); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "try:\n"
        f"    print(client.call(Paths({lab.name!r}), {op!r}, **{args!r}))\n"
        "except XdpwallError as error:\n"
        "    sys.exit(f'{type(error).__name__}: {error.message}')\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_who_may_look_and_who_may_not(walled: Lab) -> None:
    member = [grp.getgrnam("daemon").gr_gid]
    looked = as_user(walled, "overview", groups=member)
    assert looked.returncode == 0, looked.stderr
    assert "'may_write': False" in looked.stdout
    assert walled.ask("overview")["may_write"]
    for op, args in (("ban.add", {"items": ["203.0.113.9"]}), ("ban.flush", {}), ("reload", {})):
        refused = as_user(walled, op, groups=member, **args)
        assert "only root may change anything" in refused.stderr
    assert walled.ask("ban.list")["bans"] == []
    stranger = as_user(walled, "status", groups=[])
    assert "PrivilegeError" in stranger.stderr


def test_it_stays_open_and_can_be_shut(walled: Lab) -> None:
    walled.paths.runtime.chmod(0o700)  # as other verbs do
    wait_for(lambda: walled.paths.runtime.stat().st_mode & 0o777 == 0o710, "it is opened again")
    walled.write_config("")
    walled.ask("reload")
    wait_for(lambda: walled.paths.socket.stat().st_mode & 0o777 == 0o600, "it is shut")
    wait_for(lambda: walled.paths.runtime.stat().st_mode & 0o777 == 0o700, "the folder, too")
    walled.write_config('[control]\nreaders = "no-such-group"\n')
    walled.ask("reload")
    wait_for(
        lambda: any("no group" in text for text in walled.ask("status")["problems"]), "the mistake is told"
    )
    assert walled.paths.socket.stat().st_mode & 0o777 == 0o600
