# SPDX-License-Identifier: Apache-2.0
"""Whom this host must not cut off: where that is found, how long it holds, and what it does to bans."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from xdpwall.config_protect import ProtectConfig
from xdpwall.control import admin_sessions, protect
from xdpwall.control.admin_sessions import Announced
from xdpwall.control.protect import Wanted
from xdpwall.control.protection import Found, Kept, Kind, Memory, Protected, merged, single, to_text
from xdpwall.control.upstream import upstream
from xdpwall.dataplane.interface import Flow
from xdpwall.dataplane.tcp_sockets import Connection
from xdpwall.errors import StoreError
from xdpwall.model import Prefix
from xdpwall.ssh_connection import ssh_connection

ADMIN = Prefix.parse("198.51.100.7")
HERE = "198.51.100.7 50000 192.0.2.1 22"


def admin(address: str = "198.51.100.7") -> Found:
    return Found(Prefix.parse(address), Kind.ADMIN, "root is logged in from there", "a test")


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


# --- where it is found ---


def test_servers_of_this_host(tmp_path: Path) -> None:
    packet = bytes(236) + b"\x63\x82\x53\x63" + b"\x35\x01\x05\x00\x36\x04\xc0\x00\x02\x43\xff"
    write(
        tmp_path,
        {
            "etc/resolv.conf": (
                "# a comment\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n"
                "nameserver 127.0.0.53\nnameserver\n"
            ),
            "run/systemd/resolve/resolv.conf": "nameserver 192.0.2.54\n",
            "etc/chrony/chrony.conf": "pool time.example iburst\nserver 192.0.2.123 iburst\n! server 192.0.2.99\n",
            "etc/systemd/timesyncd.conf": "[Time]\nNTP=192.0.2.124 time.example\n#NTP=192.0.2.98\n",
            "etc/ntp.conf": "server -4 192.0.2.125\n",
            "run/systemd/netif/leases/2": (
                "# private\nADDRESS=192.0.2.5\nSERVER_ADDRESS=192.0.2.67\n"
                "ROUTER=192.0.2.254\nDNS=192.0.2.55\n"
            ),
            "var/lib/dhcp/dhclient.eth0.leases": (
                'lease {\n  interface "eth0";\n  option dhcp-server-identifier 192.0.2.65;\n}\n'
                'lease {\n  interface "eth0";\n  option dhcp-server-identifier 192.0.2.66;\n}\n'
            ),
            "var/lib/dhcpcd/eth0.lease": packet,
            "var/lib/dhcpcd/eth1.lease": packet[:246],
            "var/lib/dhcpcd/eth2.lease": b"no lease",
        },
    )
    found = {(str(piece.prefix), piece.kind) for piece in upstream(tmp_path).found}
    assert found == {
        ("192.0.2.53", Kind.RESOLVER),
        ("fe80::1", Kind.RESOLVER),
        ("192.0.2.54", Kind.RESOLVER),
        ("192.0.2.55", Kind.RESOLVER),
        ("192.0.2.123", Kind.TIME),
        ("192.0.2.124", Kind.TIME),
        ("192.0.2.125", Kind.TIME),
        ("192.0.2.67", Kind.DHCP),
        ("192.0.2.66", Kind.DHCP),
        ("192.0.2.254", Kind.GATEWAY),
    }
    assert upstream(tmp_path / "missing").found == []


def test_a_lease_that_the_server_answered(tmp_path: Path) -> None:
    options = b"\x00\x35\x01\x05\x36\x04\xc0\x00\x02\x43\xff"
    write(tmp_path, {"var/lib/dhcpcd/eth0.lease": bytes(236) + b"\x63\x82\x53\x63" + options})
    assert [str(piece.prefix) for piece in upstream(tmp_path).found] == ["192.0.2.67"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.0/24", None),
        ("127.0.0.53", None),
        ("::1", None),
        ("0.0.0.0", None),
        ("224.0.0.1", None),
        ("ff02::1", None),
        ("time.example", None),
        ("", None),
    ],
)
def test_only_addresses_that_can_come_from_outside(text: str, expected: str | None) -> None:
    found = single(text)
    assert (None if found is None else str(found)) == expected


def test_sessions_of_logind(tmp_path: Path) -> None:
    head = "# This is private data. Do not parse.\n"
    write(
        tmp_path,
        {
            "1": head
            + "UID=1000\nUSER=ann\nACTIVE=1\nSTATE=active\nREMOTE=1\n"
            + "REMOTE_HOST=198.51.100.7\nREALTIME=1700000000123456\n",
            "2": head + "UID=0\nSTATE=online\nREMOTE=1\nREMOTE_HOST=2001:db8::7\n",
            "3": head + "USER=bob\nSTATE=closing\nREMOTE=1\nREMOTE_HOST=198.51.100.9\n",
            "4": head + "USER=bob\nSTATE=active\nREMOTE=0\nREMOTE_HOST=198.51.100.10\n",
            "5": head + "USER=bob\nSTATE=active\nREMOTE=1\nREMOTE_HOST=host.example\n",
            "6": "",
        },
    )
    os.mkfifo(tmp_path / "1.ref")
    found = admin_sessions.of_logind(tmp_path)
    assert [(str(piece.prefix), piece.since_ms, piece.why) for piece in found] == [
        ("198.51.100.7", 1_700_000_000_123, "ann is logged in from there"),
        ("2001:db8::7", None, "uid 0 is logged in from there"),
    ]
    assert admin_sessions.of_logind(tmp_path / "missing") == []


def test_logins_of_utmp(monkeypatch: pytest.MonkeyPatch) -> None:
    class User:
        def __init__(self, host: str, pid: int) -> None:
            self.name, self.host, self.pid, self.started = "ann", host, pid, 1_700_000_000.0

    gone = 4_190_000
    users = [
        User("198.51.100.7", os.getpid()),
        User("203.0.113.4 via mosh [12]", os.getpid()),
        User("tmux(12).%0", os.getpid()),
        User("198.51.100.8", gone),
        User("", os.getpid()),
    ]
    monkeypatch.setattr("psutil.users", lambda: users)
    assert [str(piece.prefix) for piece in admin_sessions.of_utmp()] == ["198.51.100.7", "203.0.113.4"]


@pytest.mark.parametrize(
    ("title", "user"),
    [
        ("sshd: root@pts/0", "root"),
        ("sshd: ann@notty", "ann"),
        ("sshd-session: ann@internal-sftp", "ann"),
        ("sshd: ann@example.com@pts/3", "ann@example.com"),
        ("sshd: ann [priv]", None),
        ("sshd-session: ann [priv]", None),
        ("sshd: ann [net]", None),
        ("sshd: unknown [preauth]", None),
        ("sshd: a@b [preauth]", None),
        ("sshd: a@b [priv]", None),
        ("sshd: [accepted]", None),
        ("sshd-auth: ann", None),
        ("sshd: /usr/sbin/sshd -D [listener] 1 of 10-100 startups", None),
        ("/usr/sbin/sshd -D -o AuthorizedKeysFile=x@y", None),
    ],
)
def test_only_titles_past_authentication(title: str, user: str | None) -> None:
    match = admin_sessions.PAST_LOGIN.match(title)
    assert (None if match is None else match["user"]) == user


def test_a_title_alone_is_not_enough(tmp_path: Path) -> None:
    """A process that calls itself sshd, with a connection open, is not one: the file that it runs says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        code = "import sys; print(flush=True); sys.stdin.read()"
        link = tmp_path / "sshd"
        link.symlink_to(sys.executable)
        with subprocess.Popen(
            ["sshd: root@pts/9", "-c", code], executable=link, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert process.pid not in {found.pid for found, _ in admin_sessions.sshd_sessions()}
            process.stdin.close()  # type: ignore[union-attr]


def test_connections_are_listed_only_for_an_sshd(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_connections() -> list[Connection]:
        raise AssertionError

    monkeypatch.setattr(admin_sessions, "sshd_sessions", lambda: iter(()))
    assert admin_sessions.of_sshd(no_connections) == []


def test_what_a_session_says_of_itself() -> None:
    session = Announced.parse(HERE)
    assert session is not None
    assert session.flow == Flow(6, bytes([192, 0, 2, 1]), 22, bytes([198, 51, 100, 7]), 50_000)
    for text in (
        "",
        "198.51.100.7",
        "198.51.100.7 0 192.0.2.1 22",
        "127.0.0.1 5 127.0.0.1 22",
        "a b c d",
        "::1 5 ::1 6",
    ):
        assert Announced.parse(text) is None
    assert Announced.parse("198.51.100.7 50000 2001:db8::1 22") is None


def test_a_session_behind_sudo(tmp_path: Path) -> None:
    assert ssh_connection({"SSH_CONNECTION": HERE}) == HERE
    parent = os.getppid()
    write(
        tmp_path,
        {
            f"{parent}/environ": b"TERM=dumb\0",
            f"{parent}/stat": f"{parent} (sudo (x) y) S 4242 1 1",
            "4242/environ": f"A=b\0SSH_CONNECTION={HERE}\0".encode(),
            "4242/stat": "4242 (bash) S 1 1 1",
        },
    )
    assert ssh_connection({}, tmp_path) == HERE
    assert ssh_connection({}, tmp_path / "missing") == ""


def test_all_of_it_never_fails(tmp_path: Path) -> None:
    evidence = protect.collect(Wanted(), tmp_path)
    assert not [piece for piece in evidence.found if piece.prefix.length not in (32, 128)]
    only_own = protect.collect(Wanted(admins=False, services=False), tmp_path)
    assert {piece.kind for piece in only_own.found} <= {Kind.OWN}


# --- how long it holds ---


def test_one_entry_for_each_address() -> None:
    found = merged([Found(ADMIN, Kind.RESOLVER, "b", "y", 50), Found(ADMIN, Kind.GATEWAY, "a", "x")], 100)
    assert found[ADMIN] == Protected(ADMIN, Kind.GATEWAY, "a; b", "x; y", 50)


def test_who_was_logged_in_stays_for_a_while() -> None:
    memory = Memory()
    assert memory.see([admin()], 1_000, 500)[ADMIN].until_ms is None
    assert memory.see([admin()], 2_000, 500)[ADMIN].since_ms == 1_000
    assert memory.see([], 3_000, 500)[ADMIN].until_ms == 3_500
    assert memory.see([], 3_400, 500)[ADMIN].until_ms == 3_500
    back = memory.see([admin()], 3_450, 500)[ADMIN]
    assert (back.until_ms, back.since_ms) == (None, 1_000)
    assert ADMIN in memory.see([], 3_460, 500)
    assert memory.see([], 3_960, 500) == {}


def test_others_go_at_once() -> None:
    memory = Memory()
    memory.see([replace(admin(), kind=Kind.RESOLVER)], 1_000, 500)
    assert memory.see([], 1_001, 500) == {}


def test_a_clock_that_is_set_does_not_stretch_it() -> None:
    memory = Memory()
    memory.see([admin()], 1_000_000, 500)
    memory.see([], 1_000_000, 500)
    assert memory.see([], 1_000, 500)[ADMIN].until_ms == 1_500
    memory.shift(10_000)
    assert memory.see([], 11_000, 500)[ADMIN].until_ms == 11_500


def test_the_next_controller_knows() -> None:
    memory = Memory()
    entries = memory.see([admin(), replace(admin("192.0.2.9"), kind=Kind.DHCP)], 1_000, 500)
    kept = Kept.parse(to_text(entries, ProtectConfig()))
    assert [entry.prefix for entry in kept.entries] == [ADMIN]
    fresh = Memory()
    fresh.recall(kept.entries, 5_000, 500)
    assert fresh.see([], 5_000, 500)[ADMIN].until_ms == 5_500
    fresh.forget([Prefix.parse("198.51.100.0/24")])
    assert fresh.see([], 5_001, 500) == {}
    with pytest.raises(StoreError):
        Kept.parse("[]")
