# SPDX-License-Identifier: Apache-2.0
"""Root obeys no configuration that somebody else could have written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xdpwall.config import Config
from xdpwall.errors import InputError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users: needs root")

STRANGER = 12345


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o755)
    path = folder / "xdpwall.toml"
    path.write_text('policy = "observe"\n')
    path.chmod(0o644)
    return path


def test_roots_own_file_is_read(place: Path) -> None:
    assert Config.load(place).policy == "observe"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_is_refused(place: Path, mode: int) -> None:
    place.chmod(mode)
    with pytest.raises(InputError, match="changed by others") as caught:
        Config.load(place)
    assert str(place) in str(caught.value)
    assert caught.value.hint == f"sudo chmod go-w {place}"


def test_a_strangers_file_is_refused(place: Path) -> None:
    os.chown(place, STRANGER, STRANGER)
    with pytest.raises(InputError, match="belongs to user 12345"):
        Config.load(place)


@pytest.mark.parametrize("name", ["SUDO_UID", "PKEXEC_UID"])
def test_but_not_that_of_who_asked_root(place: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    os.chown(place, STRANGER, STRANGER)
    monkeypatch.setenv(name, str(STRANGER))
    assert Config.load(place).policy == "observe"


def test_a_folder_that_others_can_write_is_refused(place: Path) -> None:
    place.parent.chmod(0o777)
    with pytest.raises(InputError, match=str(place.parent)):
        Config.load(place)
    place.parent.chmod(0o1777)  # as /tmp: what is root's there stays root's
    assert Config.load(place).policy == "observe"


def test_a_link_is_judged_by_where_it_is_and_where_it_leads(place: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(place)
    assert Config.load(link).policy == "observe"
    place.parent.chmod(0o777)
    with pytest.raises(InputError, match="changed by others"):
        Config.load(link)
    place.parent.chmod(0o755)
    tmp_path.chmod(0o777)
    with pytest.raises(InputError, match="changed by others"):
        Config.load(link)


def test_a_pipe_or_a_folder_is_no_configuration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InputError):
            Config.load(path)
