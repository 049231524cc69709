# SPDX-License-Identifier: Apache-2.0
"""Attempts to lock the operator out, against a real sshd: floods and bans in his name."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import sshd as ssh
from tests.lab.sshd import Sshd
from tests.lab.traffic import Field, more, wait_for
from xdpwall.lab.flood import flood_cpu
from xdpwall.lab.network import CLIENT_LINK
from xdpwall.lab.scenario import Traffic

ADMIN, NEIGHBOUR = CLIENT_LINK.host.v4, CLIENT_LINK.net.v4
REFUSED = 5
CONFIG = """
[limits.source]
pps = 2000
syn = 100
[limits.prefix]
pps = 0
bps = 0
syn = 0
udp = 0
icmp = 0
"""


@pytest.fixture
def server(field: Field, checkout: Path) -> Iterator[Sshd]:
    """A loaded wall with a controller, and an sshd behind it."""
    found = ssh.find(checkout)
    field.lab.write_config(CONFIG)
    field.lab.load("-i", "wan0")
    yield Sshd(field.lab, *found)


def protected(field: Field) -> dict[str, dict[str, Any]]:
    return {row["prefix"]: row for row in field.lab.wall_json("allow", "list")["protected"]}


def is_admin(field: Field, address: str = ADMIN) -> bool:
    return protected(field).get(address, {}).get("kind") == "admin"


def banned(field: Field) -> list[str]:
    return [ban["prefix"] for ban in field.lab.wall_json("ban", "list")["bans"]]


@pytest.mark.parametrize("user", ["root", ssh.USER])
@pytest.mark.parametrize("controller", [True, False])
def test_who_is_logged_in_cannot_be_banned(field: Field, server: Sshd, user: str, controller: bool) -> None:
    if controller:
        field.lab.start_controller("-i", "wan0")
    assert not is_admin(field)
    session = server.login(user=user)
    wait_for(lambda: is_admin(field), "he is found")
    row = protected(field)[ADMIN]
    assert user in row["reason"]
    assert "sshd" in row["source"]
    for target in (ADMIN, "203.0.113.0/24", "203.0.112.0/20"):
        done = field.lab.wall("ban", "add", target, check=False)
        assert done.returncode == REFUSED
        assert ADMIN in done.stdout + done.stderr
        assert user in done.stdout + done.stderr
    assert banned(field) == []
    session.echo()
    session.close()


def test_a_connection_is_not_a_login(field: Field, server: Sshd) -> None:
    """Anybody can open one. Before the key was checked it speaks for nobody, whatever name it asks for."""
    field.lab.start_controller("-i", "wan0")

    def connect() -> socket.socket:
        made = socket.create_connection((field.lab.server4, 22), timeout=30)
        assert made.recv(100).startswith(b"SSH-2.0-")
        return made

    with ssh.inside(field.lab, connect):
        session = server.login(source=ADMIN)
        session.close()
        with ssh.inside(field.lab, connect):
            looks = len(protected(field))
            assert looks
            # He was logged in: protected, and running out. The bare connections keep nothing alive.
            wait_for(
                lambda: not is_admin(field) or protected(field)[ADMIN]["until_ms"] is not None,
                "only the grace time is left",
            )


def test_bare_connections_alone(field: Field, server: Sshd) -> None:
    field.lab.start_controller("-i", "wan0")

    def connect() -> socket.socket:
        made = socket.create_connection((field.lab.server4, 22), timeout=30)
        assert made.recv(100).startswith(b"SSH-2.0-")
        return made

    with ssh.inside(field.lab, connect):
        field.lab.wall("ban", "add", "192.0.2.200")  # makes sure that the controller is at work
        before = field.lab.ask("status")["controller"]["ticks"]
        wait_for(lambda: field.lab.ask("status")["controller"]["ticks"] > before + 120, "two looks more")
        assert not is_admin(field)
        assert field.lab.wall("ban", "add", ADMIN).returncode == 0


def test_what_cannot_be_banned_on_any_host(field: Field, server: Sshd) -> None:
    """Own address, gateway, and the resolvers of this machine: by the controller, and without it."""
    lab = field.lab
    for controller in (False, True):
        if controller:
            lab.start_controller("-i", "wan0")
            wait_for(lambda: lab.server4 in protected(field), "the controller has looked")
        kinds = {row["kind"] for row in protected(field).values()}
        assert {"own", "gateway"} <= kinds
        for prefix in protected(field):
            assert lab.wall("ban", "add", prefix, check=False).returncode == REFUSED, prefix
        assert (
            lab.wall(
                "ban", "add", f"{lab.wall_links[0].net.v4}/24".replace(".1/", ".0/"), check=False
            ).returncode
            == REFUSED
        )
    assert banned(field) == []


def test_a_session_lives_through_a_flood_in_its_name(
    field: Field, server: Sshd, record_property: Any
) -> None:
    """Twenty times over the limit, of every kind. The session goes on, a new login works, nobody is banned."""
    lab = field.lab
    if (cpu := flood_cpu()) is not None:
        lab.receive_on(cpu)  # the limits are those of a CPU: the session must not have one for itself
    lab.start_controller("-i", "wan0")
    session = server.login(user=ssh.USER)
    quiet = [session.echo() for _ in range(20)]
    wait_for(lambda: is_admin(field), "he is found")
    attack = field.flood([ADMIN], pps=40_000, seconds=120.0, traffic=Traffic(udp=0.4, syn=0.3, ack=0.3))
    attack.go()
    wait_for(lambda: attack.latest().sent > 20_000, "the flood is on")
    during = [session.echo(120) for _ in range(50)]
    login = server.run()
    more(attack, 10_000)
    bans = banned(field)
    dropped = lab.wall_json("status")["totals"]["dropped_packets"]
    report = attack.finish()
    assert bans == []
    assert is_admin(field)
    assert dropped > 10_000
    record_property("attack_sent", report.sent)
    record_property("dropped", dropped)
    print(
        f"attack sent {report.sent} packets in his name, {dropped} dropped; "
        f"50 of 50 lines echoed, worst {max(during) * 1000:.0f} ms (quiet {max(quiet) * 1000:.0f} ms); "
        f"a new login took {login:.1f} s"
    )
    session.echo()
    session.close()


def test_a_ban_from_before_goes_when_he_logs_in(field: Field, server: Sshd) -> None:
    """His address was banned, he came in by another way (here: through the allowlist) and the ban is cut around him."""
    lab = field.lab
    lab.start_controller("-i", "wan0")
    lab.wall("ban", "add", "203.0.113.0/24", "--reason", "a botnet")
    lab.wall("allow", "add", ADMIN)
    session = server.login()
    wait_for(lambda: is_admin(field), "he is found")
    lab.wall("allow", "del", ADMIN)
    assert session.echo() < 30
    bans = banned(field)
    assert len(bans) == 8
    assert lab.wall("ban", "test", ADMIN, check=False).returncode == 4
    assert lab.wall("ban", "test", NEIGHBOUR, check=False).returncode == 0
    events = [(row["event"], row["prefix"]) for row in lab.ask("history", limit=50)["history"]]
    assert ("cut", "203.0.113.0/24") in events
    session.close()
