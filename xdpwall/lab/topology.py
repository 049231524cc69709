# SPDX-License-Identifier: Apache-2.0
"""The lab itself: three namespaces, the wall in one of them, and everything cleaned up whatever happens.

    with Lab() as lab:
        lab.load()
        lab.start_controller()
        lab.wall("ban", "add", "192.0.2.7")

A lab is made by one process and belongs to it. Should that process die without cleaning up (kill -9, a crash of the
machine's user session), the next lab that starts sweeps what it left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from xdpwall.control import client
from xdpwall.errors import LabError, NoControllerError, PrivilegeError
from xdpwall.lab import leftovers, namespaces, network, signals
from xdpwall.paths import Paths

Role = Literal["wall", "net", "client"]
ROLES: tuple[Role, ...] = ("wall", "net", "client")

_GRACE_SECONDS = 5.0
_made = 0


class Lab:
    """Namespaces ``<name>-wall``, ``<name>-net``, ``<name>-client``; ``name`` is also the wall's instance.

    Args:
        links: how many links the wall has into ``net`` (1 to 9): ``wan0``, ``wan1``, ...
        mtu: of every link, bytes.
        config: text of the wall's config file; ``interfaces`` is added when it is not there.

    Use it as a context manager. Not for several threads.
    """

    def __init__(self, *, links: int = 1, mtu: int = 1500, config: str = "") -> None:
        global _made  # noqa: PLW0603 - numbers the labs of this process, so that names never meet
        _made += 1
        self.name = f"{leftovers.PREFIX}{os.getpid()}-{_made}"
        self.paths = Paths(self.name)
        self.wall_links = [network.wall_link(number) for number in range(links)]
        self.client_link = network.CLIENT_LINK
        self._mtu = mtu
        self._config = config
        self._stack = ExitStack()
        self._processes: list[subprocess.Popen[Any]] = []
        self.folder = Path()

    # --- life ---

    def __enter__(self) -> Lab:
        if os.geteuid() != 0:
            raise PrivilegeError(
                "the lab makes network namespaces and loads XDP programs: it needs root", hint="use sudo"
            )
        if not Path("/proc/sys/net/ipv6").exists():
            raise LabError(
                "IPv6 is switched off in this kernel, and the lab attacks over both families",
                hint="boot without ipv6.disable=1",
            )
        leftovers.sweep()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop every process, unload the wall, remove namespaces, pins and folders. May be called twice.

        Ctrl-C and SIGTERM wait until it is done: half a clean-up would be worse than a slow one.
        """
        with signals.held():
            try:
                self._stop_all()
            finally:
                self._stack.close()

    def at_end(self, work: Callable[[], object]) -> None:
        """Have something done when the lab is taken down."""
        self._stack.callback(work)

    def _build(self) -> None:
        self._stack.callback(leftovers.remove, self.name)
        self.folder = leftovers.claim(self.name)
        for role in ROLES:
            namespaces.create(self.namespace(role))
            network.set_up(self.namespace(role), router=role == "net")
        for number, link in enumerate(self.wall_links):
            network.connect(
                link,
                host=self.namespace("wall"),
                net=self.namespace("net"),
                mtu=self._mtu,
                v4_length=24 if number == 0 else 28,
            )
            # Gives the wall's end its receive ring with or without an XDP program on it: frames can then be pushed
            # at a wall that is not loaded, or loaded in generic mode.
            network.offload(self.namespace("wall"), link.host.ifname, "generic-receive-offload", True)
        network.connect(
            self.client_link, host=self.namespace("client"), net=self.namespace("net"), mtu=self._mtu
        )
        network.default_route(self.namespace("wall"), self.wall_links[0].net)
        network.default_route(self.namespace("client"), self.client_link.net)
        network.blackhole(self.namespace("net"))
        self.write_config(self._config)

    # --- places ---

    def namespace(self, role: Role) -> str:
        """Full name of a namespace, as `ip netns` shows it."""
        return f"{self.name}-{role}"

    @property
    def server4(self) -> str:
        """IPv4 address of the protected host."""
        return self.wall_links[0].host.v4

    @property
    def server6(self) -> str:
        """IPv6 address of the protected host."""
        return self.wall_links[0].host.v6

    @property
    def config_path(self) -> Path:
        """The wall's config file."""
        return self.folder / "lab.toml"

    def write_config(self, text: str) -> Path:
        """Write the wall's config file; adds ``interfaces`` when the text does not name them."""
        if not any(line.split("=")[0].strip() == "interfaces" for line in text.splitlines()):
            names = json.dumps([link.host.ifname for link in self.wall_links])
            text = f"interfaces = {names}\n{text}"
        self.config_path.write_text(text, encoding="utf-8")
        return self.config_path

    # --- processes ---

    def argv(self, role: Role, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` in a namespace, with the same file system and bpffs."""
        return ["nsenter", f"--net={namespaces.path_of(self.namespace(role))}", "--", *argv]

    def exec_in(
        self,
        role: Role,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 60.0,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end.

        Raises:
            LabError: it took longer than ``timeout`` seconds, or failed and ``check`` is set.
        """
        try:
            done = subprocess.run(
                self.argv(role, argv),
                input=stdin or "",
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"in {role}: {' '.join(argv)} did not end within {timeout:g} s") from None
        if check and done.returncode != 0:
            raise LabError(
                f"in {role}: {' '.join(argv)} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}"
            )
        return done

    def popen_in(self, role: Role, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process that ends with the lab at the latest. In a session of its own: Ctrl-C is for the lab."""
        process = subprocess.Popen(self.argv(role, argv), start_new_session=True, **options)
        self._processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[Any], *, grace: float = _GRACE_SECONDS) -> int:
        """SIGTERM, and SIGKILL when it has not ended after ``grace`` seconds. Gives its exit code."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                process.kill()
        code = process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                # A signal may have come between writing to it and flushing: there is nobody to flush to any more.
                with suppress(BrokenPipeError):
                    stream.close()
        if process in self._processes:
            self._processes.remove(process)
        return code

    # --- the wall, as its users drive it ---

    def wall_argv(self, *arguments: str) -> list[str]:
        """`xdpwall --instance <lab> ...` of this installation."""
        return [sys.executable, "-m", "xdpwall", "--instance", self.name, *arguments]

    def wall(
        self, *arguments: str, check: bool = True, timeout: float = 60.0, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb in the wall's namespace. See :meth:`exec_in`."""
        return self.exec_in("wall", self.wall_argv(*arguments), check=check, timeout=timeout, stdin=stdin)

    def wall_json(self, *arguments: str, timeout: float = 60.0) -> dict[str, Any]:
        """Run a verb with ``-o json`` and read what it prints."""
        done = self.wall(*arguments, "-o", "json", timeout=timeout)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def load(self, *arguments: str) -> None:
        """`xdpwall load -c lab.toml ...`: puts the wall on its interfaces; unloaded with the lab."""
        self._stack.callback(self._unload)
        self.wall("load", "-c", str(self.config_path), *arguments)

    def start_controller(self, *arguments: str, timeout: float = 20.0) -> subprocess.Popen[Any]:
        """`xdpwall run -c lab.toml ...`, and wait until it answers on its socket.

        Raises:
            LabError: it ended, or did not answer within ``timeout`` seconds; its last words are in the message.
        """
        log = self.folder / "controller.log"
        with log.open("ab") as sink:
            process = self.popen_in(
                "wall",
                self.wall_argv("run", "-c", str(self.config_path), *arguments),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        deadline = time.monotonic() + timeout
        while True:
            try:
                if client.call(self.paths, "ping")["pid"] == process.pid:
                    return process
            except NoControllerError:
                pass  # not up yet: the deadline below decides
            if process.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
                state = "ended" if process.poll() is not None else f"did not answer within {timeout:g} s"
                raise LabError(f"the controller {state}: {words or 'it said nothing'}")
            time.sleep(0.02)

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """One op on the controller's socket."""
        return client.call(self.paths, op, **arguments)

    def receive_on(self, cpu: int) -> bool:
        """Let one CPU receive everything that goes to the wall, as the interrupt of a NIC's queue would.

        A veth is polled by whichever CPU sent the last packet; two of them taking turns overflow the ring. So what the
        client sends is handed to this CPU before it is forwarded (RPS). Gives whether the kernel can do that.
        """
        entry = f"{self.client_link.net.ifname}/queues/rx-0/rps_cpus"
        # A bitmap in hexadecimal, in groups of 32 bits.
        groups = [f"{1 << cpu % 32:x}"] + ["00000000"] * (cpu // 32)
        return namespaces.write_sys(self.namespace("net"), entry, ",".join(groups))

    # --- clean-up ---

    def _unload(self) -> None:
        if self.paths.pins.exists():
            self.wall("unload", check=False, timeout=30.0)

    def _stop_all(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in list(self._processes):
            self.stop(process)
