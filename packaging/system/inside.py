# SPDX-License-Identifier: Apache-2.0
"""The system test, inside a booted systemd: install, start, flood, break, upgrade, purge; one row of figures for each.

python inside.py FOLDER    FOLDER holds old.deb, new.deb and layout.deb, and takes table.md and result
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import wire

CONFIG = Path("/etc/xdpwall/xdpwall.toml")
PINS = Path("/sys/fs/bpf/xdpwall/default")
GOOD = 'interfaces = ["wan"]\n\n[bans]\ntime = "1h"\n'
BANS = 1_001
"""1,000 single addresses and one prefix."""


class TestError(Exception):
    """Something is not as it must be."""


def run(*argv: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, input=text)
    if check and done.returncode:
        raise TestError(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def must(what: str, holds: object) -> None:
    """Fail unless it holds."""
    if not holds:
        raise TestError(what)


def wait(what: str, condition: Callable[[], object], seconds: float = 40.0) -> float:
    """Wait for it; gives how many milliseconds that took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise TestError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return (time.monotonic() - start) * 1000


def status() -> dict[str, Any]:
    """`xdpwall status -o json`."""
    found: dict[str, Any] = json.loads(run("xdpwall", "status", "-o", "json").stdout)
    return found


def property_of(unit: str, name: str) -> str:
    """A property of a unit."""
    return run("systemctl", "show", "-P", name, unit).stdout.strip()


def main_pid() -> int:
    """The controller's process."""
    return int(property_of("xdpwall.service", "MainPID"))


def answers(other_than: int = 0) -> bool:
    """Whether a controller answers, and is another process than the one named."""
    if main_pid() in (0, other_than):
        return False
    done = run("xdpwall", "status", "-o", "json", check=False)
    return done.returncode == 0 and bool(json.loads(done.stdout)["controller"]["running"])


def attached() -> bool:
    """Whether an XDP program is on the interface, asked of the kernel."""
    return "prog/xdp" in run("ip", "-d", "link", "show", "wan").stdout


def plug_in() -> None:
    """A fresh wire between the guarded host and the attacker."""
    run("ip", "link", "add", "wan", "type", "veth", "peer", "name", "att", "netns", "attacker")
    run("ip", "addr", "add", f"{wire.TARGET}/24", "dev", "wan")
    run("ip", "link", "set", "wan", "up")
    run("ip", "-n", "attacker", "link", "set", "att", "up")


class Test:
    """The table, and what stands on the wire."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[str] = []
        self.notes: list[str] = []
        run("ip", "netns", "add", "attacker")
        plug_in()
        # Somebody listens: packets to a closed port have a budget of their own, a small one.
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.listener.bind((wire.TARGET, wire.PORT))
        mac = Path("/sys/class/net/wan/address").read_text().strip()
        self.behind = wire.Behind("wan")
        self.sent = wire.Counters(folder / "sent").words
        self.send(mac)

    def send(self, mac: str) -> None:
        """Begin to send to this address."""
        self.sender = subprocess.Popen(
            ["ip", "netns", "exec", "attacker", sys.executable, wire.__file__, "att", mac, str(self.folder)]
        )

    def close(self) -> None:
        """End the sender."""
        self.sender.terminate()
        self.sender.wait()

    def figures(self) -> tuple[int, int, int, int]:
        """Sent and leaked of the flood, sent and arrived of the honest; once what is under way has arrived."""
        sent, honest = self.sent[0], self.sent[1]
        time.sleep(0.03)
        return sent, self.behind.flood + self.behind.overrun(), honest, self.behind.honest

    @contextmanager
    def event(
        self, name: str, *, leaks: bool = False, losses: bool = False, bans: int | None = BANS
    ) -> Iterator[list[str]]:
        """One row. The block appends how long the recovery took, and a remark if there is one."""
        print(f"test: {name}", flush=True)
        before = self.figures()
        said: list[str] = []
        yield said
        after = self.figures()
        sent, leaked, honest, arrived = (b - a for a, b in zip(before, after, strict=True))
        kept = "-" if bans is None else str(sum(status()["bans"][kind] for kind in ("exact", "prefix")))
        lost = max(0, honest - arrived)
        recover, remark = [*said, "-", ""][:2] if said else ("-", "")
        self.rows.append(
            f"| {name} | {sent} | {leaked} | {lost} of {honest} | {kept} | {recover} | {remark} |"
        )
        if not leaks:
            must(f"{name}: {leaked} packets of banned sources got through", leaked == 0)
        if not leaks and not losses:
            must(f"{name}: {lost} of {honest} honest packets were lost", lost <= honest * 0.05 + 20)
        if bans is not None:
            must(f"{name}: {kept} bans, and {bans} were expected", kept == str(bans))

    def write(self, result: str) -> None:
        """Write the table and the result."""
        head = [
            "| event | flood sent | leaked | honest lost | bans after | recovery ms | remark |",
            "|---|---|---|---|---|---|---|",
        ]
        (self.folder / "table.md").write_text("\n".join([*head, *self.rows, "", *self.notes, ""]))
        (self.folder / "result").write_text(result + "\n")


def install(test: Test) -> None:
    """The package, on a system without a config: nothing runs, nothing fails."""
    with test.event("install, no config yet", leaks=True, bans=None):
        run("dpkg", "-i", str(test.folder / "old.deb"))
    for unit in ("xdpwall-load.service", "xdpwall.service"):
        must(f"{unit} is enabled", property_of(unit, "UnitFileState") == "enabled")
        must(f"{unit} waits for a config", property_of(unit, "ActiveState") == "inactive")
    must("the user is there", run("id", "xdpwall").stdout)
    must(
        "verify finds no fault",
        not run("systemd-analyze", "verify", "--man=no", "xdpwall.service").stderr.strip(),
    )


def start(test: Test) -> None:
    """Start, and who runs it with which rights."""
    CONFIG.parent.mkdir(exist_ok=True)
    CONFIG.write_text(GOOD)
    with test.event("start", leaks=True, bans=0) as row:
        row.append(f"{wait_for(lambda: run('systemctl', 'start', 'xdpwall')):.0f}")
        must("it answers", answers())
    shown = Path(f"/proc/{main_pid()}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in shown.splitlines() if ":\t" in line)
    must("it is not root", fields["Uid"].split()[1] != "0")
    allowed = 1 << 12 | 1 << 38 | 1 << 39
    must(
        "it has no other capabilities", not (int(fields["CapBnd"], 16) | int(fields["CapEff"], 16)) & ~allowed
    )
    line = run("systemd-analyze", "security", "--no-pager", "xdpwall.service").stdout.strip().splitlines()[-1]
    score = float(line.split(":")[1].split()[0])
    test.notes.append(f"`systemd-analyze security`: {line.lstrip('→ ')}")
    must(f"its exposure is 2.5 or less: {score}", score <= 2.5)
    with test.event("ban 1,000 addresses and a prefix", leaks=True) as row:
        lines = "\n".join(f"100.64.{n // 250}.{n % 250 + 1}" for n in range(1_000))
        took = wait_for(lambda: run("xdpwall", "ban", "add", "-", "--for", "1h", text=lines))
        run("xdpwall", "ban", "add", f"{wire.BANNED_NET}0/24", "--for", "1h")
        row.append(f"{took:.0f}")


def wait_for(action: Callable[[], object]) -> float:
    """How many milliseconds an action took."""
    started = time.monotonic()
    action()
    return (time.monotonic() - started) * 1000


def flood(test: Test) -> None:
    """A source that nobody banned sends above its limit: the controller, which is not root, bans it."""
    with test.event("flood of a new source: it is banned", losses=True, bans=BANS + 1) as row:
        test.sent[3] = wire.NEWCOMERS
        took = wait("the new source is banned", lambda: banned(wire.NEWCOMER))
        test.sent[3] = 0
        row += [f"{took:.0f}", f"{test.sent[2]} sent, {test.behind.newcomer} passed before the limit"]
    run("xdpwall", "ban", "del", wire.NEWCOMER)


def cookies(test: Test) -> None:
    """A flood of requests from spoofed sources: the sandbox lets through the two settings that SYN cookies need."""
    setting = Path("/proc/sys/net/ipv4/tcp_syncookies")
    before = setting.read_text().strip()
    with (
        socket.create_server((wire.TARGET, wire.PORT), backlog=64),
        test.event("SYN flood: cookies", losses=True) as row,
    ):
        test.sent[3] = wire.REQUESTS
        took = wait("cookies are on", lambda: setting.read_text().strip() == "2")
        row += [f"{took:.0f}", f"net.ipv4.tcp_syncookies from {before} to 2"]
        time.sleep(1.0)
        test.sent[3] = 0
    run("systemctl", "stop", "xdpwall")
    must("it is put back", setting.read_text().strip() == before)
    run("systemctl", "start", "xdpwall")


def banned(address: str) -> bool:
    """Whether it is banned now."""
    return run("xdpwall", "ban", "test", address, check=False).returncode == 0


def break_it(test: Test) -> None:
    """Restart, kill, hang: the wall stands, and the controller comes back."""
    with test.event("restart of the service") as row:
        old = main_pid()
        run("systemctl", "restart", "xdpwall")
        row.append(f"{wait('it answers again', lambda: answers(old)):.0f}")
    with test.event("kill -9 of the controller") as row:
        old = main_pid()
        os.kill(old, signal.SIGKILL)
        row.append(f"{wait('it answers again', lambda: answers(old)):.0f}")
    with test.event("hang of the controller (watchdog)") as row:
        old = main_pid()
        os.kill(old, signal.SIGSTOP)
        row += [f"{wait('it answers again', lambda: answers(old)):.0f}", "includes the watchdog's 10 s"]
    must("systemd says it was the watchdog", "atchdog" in run("journalctl", "-u", "xdpwall.service").stdout)
    with test.event("stop of the service, start", bans=BANS + 1) as row:
        run("systemctl", "stop", "xdpwall")
        must("the wall stands without it", attached() and not status()["controller"]["running"])
        run("xdpwall", "ban", "add", "192.0.2.200", "--for", "1h")
        time.sleep(1.0)
        run("systemctl", "start", "xdpwall")
        row += [f"{wait('it answers again', answers):.0f}", "a ban made meanwhile is kept"]
    run("xdpwall", "ban", "del", "192.0.2.200")


def reload(test: Test) -> None:
    """Reload with a good config and with bad ones."""
    for name, text in (("control", "tick.reconcile"), ("data path", "limits.source.udp")):
        old, program = main_pid(), status()["interfaces"][0]["program_id"]
        table, key = text.rsplit(".", 1)
        value = '"4s"' if name == "control" else "9000"
        CONFIG.write_text(f"{GOOD}\n[{table}]\n{key} = {value}\n")
        with test.event(f"reload, good config ({name})") as row:
            row.append(f"{wait_for(lambda: run('systemctl', 'reload', 'xdpwall')):.0f}")
        must("it is the same process", main_pid() == old)
        must("the program was swapped", status()["interfaces"][0]["program_id"] != program)
    shown = status()["interfaces"][0]["program_id"]
    for name, text in (("a mistake", 'polcy = "observe"\n'), ("not TOML", "interfaces = [\n")):
        CONFIG.write_text(text)
        with test.event(f"reload, bad config ({name})") as row:
            done = run("systemctl", "reload", "xdpwall", check=False)
            row += ["-", "refused, nothing changed"]
        must("a bad config is refused", done.returncode)
        must("the same program is on", status()["interfaces"][0]["program_id"] == shown)
        must("it still runs", answers())
    CONFIG.write_text(GOOD)
    run("systemctl", "reload", "xdpwall")


def upgrade(test: Test) -> None:
    """A new version of the package."""
    with test.event("upgrade of the package") as row:
        old = main_pid()
        run("dpkg", "-i", str(test.folder / "new.deb"))
        row.append(f"{wait('the new one answers', lambda: answers(old)):.0f}")
    must("the wall's unit was not restarted", property_of("xdpwall-load.service", "ActiveState") == "active")


def upgrade_layout(test: Test) -> None:
    """A new version whose maps have another layout: it can't be swapped in, so the wall goes down and up."""
    with test.event("upgrade with another layout of the maps", leaks=True) as row:
        old = main_pid()
        run("dpkg", "-i", str(test.folder / "layout.deb"))
        took = wait("the new one answers", lambda: answers(old))
        wait("the bans are back", lambda: sum(status()["bans"][kind] for kind in ("exact", "prefix")) == BANS)
        row += [f"{took:.0f}", "leaked while it was down"]
    with test.event("after it"):
        time.sleep(1.0)


def replug(test: Test) -> None:
    """The interface goes and comes back, as with a driver that is loaded anew: the controller attaches again."""
    test.close()
    with test.event("interface gone and back", leaks=True) as row:
        run("ip", "link", "del", "wan")
        wait("the controller says so", lambda: not status()["interfaces"][0]["attached"])
        plug_in()
        row += [
            f"{wait('the wall is on it again', attached):.0f}",
            "attached by the controller, which is not root",
        ]
    test.behind = wire.Behind("wan")
    test.send(Path("/sys/class/net/wan/address").read_text().strip())
    with test.event("after it"):
        time.sleep(1.0)


def down_and_up(test: Test) -> None:
    """What a reboot is for the wall: everything in the kernel is gone, the state folder is there."""
    with test.event("wall down and up (as a reboot)", leaks=True) as row:
        run("systemctl", "stop", "xdpwall-load")
        must("the wall is down", not attached() and not PINS.exists())
        must("the controller stopped with it", property_of("xdpwall.service", "ActiveState") == "inactive")
        took = wait_for(lambda: run("systemctl", "start", "xdpwall"))
        wait("the bans are back", lambda: sum(status()["bans"][kind] for kind in ("exact", "prefix")) == BANS)
        row += [f"{took:.0f}", "leaked while it was down"]
    with test.event("after it"):
        time.sleep(1.0)


def purge(test: Test) -> None:
    """Nothing is left but the user."""
    with test.event("purge", leaks=True, bans=None):
        run("dpkg", "--purge", "xdpwall")
    must("no program is left on the interface", not attached())
    left = [
        p
        for p in (PINS.parent, Path("/var/lib/xdpwall"), CONFIG.parent, Path("/usr/lib/xdpwall"))
        if p.exists()
    ]
    must(f"nothing is left: {left}", not left)
    must("no unit is left", property_of("xdpwall.service", "LoadState") == "not-found")


def main(folder: Path) -> None:
    """Run everything; the first failure ends it."""
    test = Test(folder)
    result = "failed"
    try:
        for part in (
            install,
            start,
            flood,
            cookies,
            break_it,
            reload,
            upgrade,
            upgrade_layout,
            replug,
            down_and_up,
            purge,
        ):
            part(test)
        result = "passed"
    except Exception as error:  # noqa: BLE001 - shown whole, and the run has failed
        print(error if isinstance(error, TestError) else traceback.format_exc(), flush=True)
        journal = run("journalctl", "-b", "--no-pager", "-n", "60", "-u", "xdpwall*", check=False).stdout
        print(journal, flush=True)
        owned = [
            "/var/lib/xdpwall/default",
            "/run/xdpwall/default",
            str(PINS.parent),
            str(PINS),
            str(PINS / "maps"),
        ]
        print(run("ls", "-ld", *owned, check=False).stdout, flush=True)
    finally:
        test.close()
        test.write(result)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
