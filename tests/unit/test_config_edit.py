# SPDX-License-Identifier: Apache-2.0
"""Changing a config file: exactly what was asked for, and nothing else."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest

from xdpwall.config import Config
from xdpwall.config_edit import difference, replace_file, with_values
from xdpwall.config_text import template
from xdpwall.errors import InputError, XdpwallError

VALUES = {"lanes.udp.pps": 25_000, "lanes.udp.bps": 300_000_000, "lanes.syn.pps": 900}

FORMS = {
    "empty": "",
    "nothing of it": '# mine\ninterfaces = ["eth0"] # the uplink\n\n[bans]\ntime = "5m" # short\n',
    "tables": "[lanes.syn]\npps = 400 # was 200\n\n[lanes.udp]\n# my words\npps = 1\n\n[control]\n",
    "one table": '[lanes]\nburst = "200ms"\n\n[lanes.icmp]\npps = 50\n\n[bans]\ntime = "5m"\n',
    "inline": '[lanes]\nudp = { pps = 5, bps = 7 } # both\n\n[bans]\ntime = "5m"\n',
    "dotted": "[lanes]\nudp.pps = 5\nsyn.pps = 7\n",
    "top dotted": 'lanes.udp.pps = 5\npolicy = "observe"\n\n[bans]\ntime = "5m"\n',
    "ports": '[[lanes.ports]]\nport = "udp/53"\npps = 7\n\n[bans]\ntime = "5m"\n',
    "template": template(),
    "windows": "[lanes.udp]\r\npps = 5\r\n\r\n[bans]\r\ntime = '5m'\r\n",
    "underscores": "[ lanes . udp ]\npps = 10_000\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_only_what_was_asked_for_changes(text: str) -> None:
    changed = with_values(text, VALUES)
    wanted = tomllib.loads(text)
    for key, value in VALUES.items():
        _, lane, name = key.split(".")
        wanted.setdefault("lanes", {}).setdefault(lane, {})[name] = value
    assert tomllib.loads(changed) == wanted
    config = Config.parse(changed)
    assert (config.lanes.udp.pps, config.lanes.udp.bps, config.lanes.syn.pps) == (25_000, 300_000_000, 900)
    comments = [line.partition("#")[2] for line in text.splitlines() if "#" in line]
    kept = [line.partition("#")[2] for line in changed.splitlines() if "#" in line]
    lost = [line for line in comments if line not in kept]
    assert lost == (["pps = 10_000", "bps = 200_000_000"] if text == template() else [])
    assert with_values(changed, VALUES) == changed


def test_the_commented_line_comes_to_life() -> None:
    before = template()
    after = with_values(before, VALUES)
    assert len(after.splitlines()) == len(before.splitlines())
    diff = difference(before, after, "xdpwall.toml")
    assert "-#pps = 400\n+pps = 900\n" in diff
    assert "-#pps = 10_000\n+pps = 25000\n" in diff
    assert sum(line.startswith(("+", "-")) for line in diff.splitlines()) == 2 + 6


def test_a_form_that_cannot_be_changed_is_refused() -> None:
    with pytest.raises(InputError):
        with_values("lanes = 5\n", VALUES)


def test_the_file_is_replaced_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "xdpwall.toml"
    path.write_text("a = 1\n")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12, 34)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    kept = replace_file(link, "a = 1\n", "a = 2\n")
    assert link.is_symlink()
    assert path.read_text() == "a = 2\n"
    assert kept is not None
    assert kept.read_text() == "a = 1\n"
    for file in (path, kept):
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        if os.geteuid() == 0:
            assert (file.stat().st_uid, file.stat().st_gid) == (12, 34)
    again = replace_file(path, "a = 2\n", "a = 3\n")
    assert again != kept
    assert again is not None
    assert {p.name for p in tmp_path.iterdir()} == {path.name, link.name, kept.name, again.name}


def test_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "xdpwall.toml"
    assert replace_file(path, None, "a = 2\n") is None
    assert path.read_text() == "a = 2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_somebody_elses_change_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "xdpwall.toml"
    path.write_text("a = 1\n")
    for before in (None, "a = 0\n"):
        with pytest.raises(XdpwallError, match="changed meanwhile"):
            replace_file(path, before, "a = 2\n")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "a = 1\n"
