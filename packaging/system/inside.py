# SPDX-License-Identifier: Apache-2.0
"""The system test, inside a booted systemd: install, start, flood, break, upgrade, purge; one row of figures for each.

python inside.py FOLDER    FOLDER holds old.deb, new.deb and layout.deb, and takes table.md and result

It runs twice: the machine is turned off and on in the middle (see reboot.py).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import reboot
import wire
from host import (
    BANS,
    CONFIG,
    GOOD,
    PINS,
    TestError,
    answers,
    attached,
    held,
    in_journal,
    main_pid,
    must,
    plug_in,
    property_of,
    run,
    status,
    wait,
    wait_for,
)


class Test:
    """The table, and what stands on the wire."""

    def __init__(self, folder: Path, said: reboot.Said) -> None:
        self.folder = folder
        self.rows, self.notes = said
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
        kept = "-" if bans is None else str(held())
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


def flood(test: Test) -> None:
    """A source that nobody banned sends above its limit: the controller, which is not root, bans it."""
    with test.event("flood of a new source: it is banned", losses=True, bans=BANS + 1) as row:
        test.sent[3] = wire.NEWCOMERS
        took = wait("the new source is banned", lambda: banned(wire.NEWCOMER))
        test.sent[3] = 0
        row += [f"{took:.0f}", f"{test.sent[2]} sent, {test.behind.newcomer} passed before the limit"]
    wait("the journal finds the ban by its source", lambda: in_journal(EVENT="ban", SOURCE=wire.NEWCOMER))
    run("xdpwall", "ban", "del", wire.NEWCOMER)
    wait("and what the operator did", lambda: in_journal(EVENT="operator unban", SOURCE=wire.NEWCOMER))


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
        wait("the journal has the incident", lambda: in_journal(EVENT="incident"))
        must("and names it", all("XDPWALL_INCIDENT" in line for line in in_journal(EVENT="incident")))
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


def program_id() -> int:
    """As status has it, which looks once a second."""
    return int(status()["interfaces"][0]["program_id"])


def reload(test: Test) -> None:
    """Reload with a good config and with bad ones."""
    for name, text in (("control", "tick.reconcile"), ("data path", "limits.source.udp")):
        old, program = main_pid(), program_id()
        table, key = text.rsplit(".", 1)
        value = '"4s"' if name == "control" else "9000"
        CONFIG.write_text(f"{GOOD}\n[{table}]\n{key} = {value}\n")
        with test.event(f"reload, good config ({name})") as row:
            row.append(f"{wait_for(lambda: run('systemctl', 'reload', 'xdpwall')):.0f}")
        must("it is the same process", main_pid() == old)
        wait("status tells of another program", lambda before=program: program_id() != before)
    shown = program_id()
    for name, text in (("a mistake", 'polcy = "observe"\n'), ("not TOML", "interfaces = [\n")):
        CONFIG.write_text(text)
        with test.event(f"reload, bad config ({name})") as row:
            done = run("systemctl", "reload", "xdpwall", check=False)
            row += ["-", "refused, nothing changed"]
        must("a bad config is refused", done.returncode)
        must("the same program is on", program_id() == shown)
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
        wait("the bans are back", lambda: held() == BANS)
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
        wait("the bans are back", lambda: held() == BANS)
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


FIRST = (
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
)


def main(folder: Path) -> None:
    """Run everything; the first failure ends it."""
    again = reboot.said_before(folder)
    test = Test(folder, again or ([], []))
    result = "failed"
    try:
        for part in (*FIRST, reboot.before) if again is None else (reboot.after, purge):
            part(test)
        result = "passed" if again else "again"
    except Exception as error:  # noqa: BLE001 - shown whole, and the run has failed
        print(error if isinstance(error, TestError) else traceback.format_exc(), flush=True)
        journal = run("journalctl", "-b", "--no-pager", "-n", "60", "-u", "xdpwall*", check=False).stdout
        print(journal, flush=True)
        owned = [
            "/var/lib/xdpwall/default",
            "/run/xdpwall/default",
            *map(str, (PINS.parent, PINS, PINS / "maps")),
        ]
        print(run("ls", "-ld", *owned, check=False).stdout, flush=True)
    finally:
        test.close()
        test.write(result)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
