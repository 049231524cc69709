# SPDX-License-Identifier: Apache-2.0
"""A real sshd on the protected host of a lab, and sessions with it. It changes nothing outside the lab's folder.

Debian's openssh-server; where it is not installed, `packaging/test-tools` fetches it. It wants a user of its own and a
folder in /run: both are shown to it in a mount namespace.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.traffic import PATIENCE, wait_for
from xdpwall.lab import namespaces
from xdpwall.lab.topology import Lab

USER = "operator"
_IDS = 65_531
_SCRIPT = """
set -eu
mount -t tmpfs -o mode=755 none /run
mkdir -m 755 /run/sshd
cp "$1/user.pub" /run/sshd/authorized
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/shadow" /etc/shadow
exec "$1/sshd" -D -e -f "$1/sshd_config"
"""


def find(checkout: Path) -> tuple[Path, str]:
    """The program, and where its libraries lie; skips where there is none."""
    tools = checkout / ".venv" / "tools"
    for root in (Path("/"), tools):
        if (root / "usr/sbin/sshd").is_file() and shutil.which("ssh") and shutil.which("ssh-keygen"):
            libraries = [str(path) for path in (tools / "usr/lib").glob("*-linux-gnu*")]
            return root / "usr/sbin/sshd", ":".join(libraries)
    pytest.skip("NOT TESTED with a real sshd: openssh-server is not here; packaging/test-tools fetches it")


class Session:
    """One ssh session that echoes lines."""

    def __init__(self, process: subprocess.Popen[Any]) -> None:
        self._process = process
        self._rest = b""
        self._count = 0

    def echo(self, seconds: float = PATIENCE) -> float:
        """Send a line and wait until it is back. Gives the seconds that took."""
        self._count += 1
        line = f"line {self._count}\n".encode()
        began = time.monotonic()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
        while line not in self._rest:
            left = began + seconds - time.monotonic()
            ready, _, _ = select.select([self._process.stdout], [], [], max(left, 0))
            assert ready, f"no echo within {seconds:g} s"
            data = os.read(self._process.stdout.fileno(), 65_536)
            assert data, "the session broke off"
            self._rest += data
        self._rest = self._rest.partition(line)[2]
        return time.monotonic() - began

    def close(self) -> None:
        """Log out."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)


class Sshd:
    """The server, with one user who logs in by key, and root."""

    def __init__(self, lab: Lab, program: Path, libraries: str) -> None:
        self.lab = lab
        self.folder = lab.folder / "ssh"
        self.folder.mkdir(mode=0o755)
        shutil.copy(program, self.folder / "sshd")
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)], check=True
            )
        (self.folder / "passwd").write_text(
            "root:x:0:0::/:/bin/sh\n"
            f"sshd:x:{_IDS}:{_IDS}::/run/sshd:/usr/sbin/nologin\n"
            f"{USER}:x:{_IDS - 1}:{_IDS - 1}::/:/bin/sh\n"
        )
        (self.folder / "shadow").write_text(
            "root:*:19000::::::\nsshd:!:19000::::::\noperator:*:19000::::::\n"
        )
        (self.folder / "sshd_config").write_text(
            f"ListenAddress {lab.server4}\nHostKey {self.folder / 'host'}\nAuthorizedKeysFile /run/sshd/authorized\n"
            "PermitRootLogin yes\nUsePAM no\nStrictModes no\nPidFile none\nUseDNS no\nMaxStartups 100\n"
            "LoginGraceTime 600\nClientAliveInterval 0\nPasswordAuthentication no\n"
        )
        with (self.folder / "log").open("wb") as log:
            lab.popen_in(
                "wall",
                [
                    "unshare",
                    "--mount",
                    "--propagation",
                    "private",
                    "sh",
                    "-c",
                    _SCRIPT,
                    "sh",
                    str(self.folder),
                ],
                env={**os.environ, "LD_LIBRARY_PATH": libraries},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: "Server listening" in self.log, "sshd listens")

    @property
    def log(self) -> str:
        """What it said so far."""
        return (self.folder / "log").read_text(errors="replace")

    def argv(self, command: str, user: str, source: str | None) -> list[str]:
        """The client's command line."""
        options = [
            "BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR",
            "ConnectTimeout=60", "ConnectionAttempts=3", "ServerAliveInterval=0", "IdentitiesOnly=yes",
        ]  # fmt: skip
        if source is not None:
            options.append(f"BindAddress={source}")
        return [
            "ssh", "-F", "none", "-i", str(self.folder / "user"),
            *(word for option in options for word in ("-o", option)),
            f"{user}@{self.lab.server4}", command,
        ]  # fmt: skip

    def login(self, *, user: str = "root", source: str | None = None) -> Session:
        """Log in from the client's namespace, and stay."""
        process = self.lab.popen_in(
            "client", self.argv("cat", user, source), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        session = Session(process)
        session.echo()
        return session

    def run(self, command: str = "true", *, user: str = "root") -> float:
        """Log in, run a command, log out. Gives the seconds that took."""
        began = time.monotonic()
        self.lab.exec_in("client", self.argv(command, user, None), timeout=240)
        return time.monotonic() - began


def inside(lab: Lab, work: Any) -> Any:
    """Run something in the client's namespace."""
    return namespaces.inside(lab.namespace("client"), work)
