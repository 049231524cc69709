# SPDX-License-Identifier: Apache-2.0
"""The controller as a process, on a real wall: told to stop, reloaded, robbed of its interface, its wall, its disk."""

from __future__ import annotations

import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.traffic import wait_for
from xdpwall.control import client
from xdpwall.errors import NoControllerError
from xdpwall.lab.topology import Lab

ONE, TWO = "203.0.113.9", "45.5.0.0/16"
BASE = '[allow]\nprefixes = ["192.0.2.0/24"]\n'


@pytest.fixture
def walled(lab: Lab) -> Iterator[Lab]:
    """A loaded wall; no controller. Nothing is left of its state afterwards."""
    lab.write_config(BASE)
    lab.load()
    yield lab
    shutil.rmtree(lab.paths.state, ignore_errors=True)


def log(lab: Lab) -> str:
    return (lab.folder / "controller.log").read_text()


def bans(lab: Lab) -> set[str]:
    return {row["prefix"] for row in lab.ask("ban.list")["bans"]}


def problems(lab: Lab) -> str:
    return "\n".join(lab.ask("status")["problems"])


def refused(lab: Lab, address: str) -> bool:
    return bool(lab.ask("ban.add", items=[address])["refused"])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop(walled: Lab, how: signal.Signals) -> None:
    controller = walled.start_controller()
    walled.ask("ban.add", items=[ONE])
    controller.send_signal(how)
    assert controller.wait(20) == 0
    assert "the wall stays up" in log(walled)
    assert not walled.paths.socket.exists()
    with pytest.raises(NoControllerError):
        client.call(walled.paths, "ping")
    status = walled.wall_json("status")
    assert status["interfaces"][0]["attached"]
    assert status["bans"]["exact"] == 1


def test_the_next_controller_takes_over(walled: Lab) -> None:
    walled.start_controller().kill()
    wait_for(lambda: not answers(walled), "the first is gone")
    assert walled.paths.socket.exists()  # killed: it could not clean up
    walled.wall("ban", "add", ONE, "--reason", "in between")
    second = walled.start_controller()
    assert walled.ask("ban.test", prefix=ONE)["ban"]["reason"] == "in between"
    third = walled.wall("run", "-c", str(walled.config_path), check=False)
    assert third.returncode == 1
    assert f"controller (pid {second.pid})" in third.stderr
    assert answers(walled)


def answers(lab: Lab) -> bool:
    try:
        return bool(lab.ask("ping"))
    except NoControllerError:
        return False


def test_run_loads_first(lab: Lab) -> None:
    lab.write_config(BASE)
    lab.start_controller(timeout=60)
    try:
        assert lab.ask("status")["interfaces"][0]["attached"]
        assert lab.ask("allow.list")["allow"][0]["prefix"] == "192.0.2.0/24"
    finally:
        lab.wall("unload", check=False)


def test_hangup_reads_the_config_again(walled: Lab) -> None:
    controller = walled.start_controller()
    walled.write_config('policy = "observe"\n[bans]\ntime = "3m"\n')
    controller.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration read again" in log(walled), "the reload")
    assert "needs `xdpwall load` to take effect: policy" in log(walled)
    assert walled.ask("allow.list")["allow"] == []
    walled.ask("ban.add", items=[ONE])
    assert walled.ask("ban.test", prefix=ONE)["ban"]["remaining_ms"] <= 180_000
    walled.write_config('policy = "maybe"\n[tick]\ninterval = "5x"\n')
    controller.send_signal(signal.SIGHUP)
    wait_for(lambda: "the configuration stays as it was" in log(walled), "the refusal")
    assert "policy" in log(walled)
    assert "tick.interval" in log(walled)
    assert answers(walled)


def test_an_interface_goes_and_comes_back(walled: Lab) -> None:
    walled.start_controller()
    name = walled.wall_links[0].host.ifname
    walled.exec_in("wall", ["ip", "link", "del", name])
    wait_for(lambda: f"{name}: the interface is missing" in problems(walled), "it is missed")
    walled.exec_in("wall", ["ip", "link", "add", name, "type", "veth", "peer", "name", "other"])
    wait_for(lambda: walled.ask("status")["interfaces"][0]["attached"], "the wall is put up again")
    assert name not in problems(walled)
    assert "came back" in log(walled)


def test_own_addresses_follow_the_interfaces(walled: Lab) -> None:
    walled.start_controller()
    name = walled.wall_links[0].host.ifname
    wait_for(
        lambda: bool(walled.ask("ban.add", items=[walled.server4])["refused"]), "the first address is known"
    )
    assert not walled.ask("ban.add", items=["10.99.1.2"])["refused"]
    walled.ask("ban.flush")
    walled.exec_in("wall", ["ip", "address", "add", "10.99.1.2/24", "dev", name])
    for address in ("10.99.1.2", "10.99.1.255", "10.99.0.0/16"):
        wait_for(lambda: refused(walled, address), f"{address} is protected")  # noqa: B023  (called at once)
    gateway = walled.wall_links[0].net.v4
    assert "gateway" in walled.ask("ban.add", items=[gateway])["refused"][0]["message"]


def test_the_wall_is_unloaded_and_loaded_under_it(walled: Lab) -> None:
    walled.start_controller()
    walled.ask("ban.add", items=[ONE, TWO])
    walled.wall("unload")
    wait_for(lambda: "no wall is loaded" in problems(walled), "it is missed")
    assert walled.ask("ban.add", items=["203.0.113.10"])["warnings"]
    walled.load()
    wait_for(lambda: "no wall is loaded" not in problems(walled), "it is found")
    held = {row["prefix"] for row in walled.wall_json("ban", "list")["bans"]}
    assert held == {ONE, TWO, "203.0.113.10"}


def test_a_damaged_state_file_is_kept_aside(walled: Lab) -> None:
    walled.wall("ban", "add", ONE)
    walled.paths.database.write_bytes(b"nonsense" * 1_000)
    walled.start_controller()
    assert bans(walled) == {ONE}  # the kernel still knew
    assert walled.ask("ban.list")["bans"][0]["origin"] == "kernel"
    assert "could not be used" in log(walled)
    assert list(walled.paths.state.glob("state.db.kept-*"))


def test_a_list_from_stdin(walled: Lab) -> None:
    walled.start_controller()
    lines = [f"45.{n // 250 // 250}.{n // 250 % 250}.{n % 250 + 1}" for n in range(20_000)]
    walled.wall("ban", "add", "-", "--reason", "a list", stdin="\n".join(lines), timeout=120)
    assert bans(walled) == set(lines)
    assert walled.ask("status")["controller"]["tick_lag_ms"] < 1_000
    walled.ask("ban.flush")
    assert bans(walled) == set()


def test_systemd_hears_of_it(walled: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        controller = walled.start_controller()
        heard = [sock.recv(1_000).decode() for _ in range(3)]
        assert heard[0].startswith("READY=1")
        assert all("WATCHDOG=1" in text for text in heard[1:])
        controller.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while "RELOADING=1" not in sock.recv(1_000).decode():
            assert time.monotonic() < deadline
        controller.terminate()
        while "STOPPING=1" not in sock.recv(1_000).decode():
            assert time.monotonic() < deadline
        assert controller.wait(20) == 0


def test_nobody_but_root_may_connect(walled: Lab) -> None:
    walled.start_controller()
    mode = walled.paths.socket.stat().st_mode & 0o777
    assert (mode, walled.paths.runtime.stat().st_mode & 0o777) == (0o600, 0o700)
    assert walled.paths.database.stat().st_mode & 0o777 == 0o600
    assert walled.paths.state.stat().st_mode & 0o777 == 0o700
