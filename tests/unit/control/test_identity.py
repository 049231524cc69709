# SPDX-License-Identifier: Apache-2.0
"""Whom an instance belongs to, and root at work on one that is not its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from xdpwall import owner
from xdpwall.control import identity
from xdpwall.control.database import Database
from xdpwall.control.sysctl import Change, Memory
from xdpwall.paths import Paths

SOMEONE = owner.Owner(61234, 61234)
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="SKIPPED: only root can hand files over; run as root"
)


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    """An instance whose folders are in a temporary folder that everybody may pass through."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    monkeypatch.setattr(Paths, "state", property(lambda _: tmp_path / "state"))
    monkeypatch.setattr(Paths, "runtime", property(lambda _: tmp_path / "run" / "x"))
    yield Paths("identity")
    assert os.geteuid() == os.getuid()


def effective_capabilities() -> int:
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    raise AssertionError("no CapEff")


def test_an_instance_without_a_state_folder_is_roots(paths: Paths) -> None:
    assert owner.of_instance(paths) == owner.Owner(0, 0)


@needs_root
def test_the_owner_of_the_state_folder_owns_the_instance(paths: Paths) -> None:
    owner.private_folder(paths.state, SOMEONE)
    assert owner.of_instance(paths) == SOMEONE
    assert paths.state.stat().st_mode & 0o777 == 0o700


@needs_root
def test_parents_of_a_private_folder_let_its_owner_through(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        owner.private_folder(tmp_path / "a" / "b", SOMEONE)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "a").stat().st_uid == 0


@needs_root
def test_a_link_is_handed_over_itself_and_never_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch()
    link.symlink_to(target)
    owner.give(link, SOMEONE)
    assert (link.lstat().st_uid, target.stat().st_uid) == (SOMEONE.uid, 0)


@needs_root
def test_root_works_as_the_owner_and_keeps_what_bpf_needs(paths: Paths) -> None:
    owner.private_folder(paths.state, SOMEONE)
    everything = effective_capabilities()
    with identity.as_owner(paths):
        assert os.geteuid() == SOMEONE.uid
        held = effective_capabilities()
        assert {bit for bit in range(64) if held >> bit & 1} == {2, 12, 38, 39} & {
            bit for bit in range(64) if everything >> bit & 1
        }
        Database(paths.database).close()
        with pytest.raises(PermissionError):
            (paths.state.parent / "elsewhere").touch()
    assert effective_capabilities() == everything
    assert paths.database.stat().st_uid == SOMEONE.uid
    assert paths.runtime.stat().st_uid == SOMEONE.uid


@needs_root
def test_root_is_root_again_after_an_error(paths: Paths) -> None:
    owner.private_folder(paths.state, SOMEONE)
    with pytest.raises(ZeroDivisionError), identity.as_owner(paths):
        raise ZeroDivisionError
    assert (os.geteuid(), os.getegid()) == (0, os.getgid())


def test_nothing_changes_for_roots_own_instance(paths: Paths) -> None:
    before = (os.geteuid(), effective_capabilities())
    with identity.as_owner(paths):
        assert (os.geteuid(), effective_capabilities()) == before


def test_root_puts_back_nothing_but_settings_of_the_network(tmp_path: Path) -> None:
    """The note is the service's user's to write, and an unload acts on it as root."""
    memory = Memory(tmp_path, boot_id="boot", namespace=7)
    good = {"net.ipv4.tcp_syncookies": Change(1, 2)}
    memory.write(good)
    assert memory.read() == good
    for name in ("kernel.panic", "/etc/x", "net.ipv4.x/../../../etc"):
        memory.write({**good, name: Change(0, 1)})
        with pytest.raises(ValueError, match="no setting of the network"):
            memory.read()
