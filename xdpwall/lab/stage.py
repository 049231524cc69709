# SPDX-License-Identifier: Apache-2.0
"""One run from the first namespace to the last figure: what is done in which order, and what is read when."""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xdpwall.errors import LabError, NoControllerError
from xdpwall.lab import attach, counter, crowd, flood, legit, observe, signals
from xdpwall.lab.aftermath import Aftermath, look_back
from xdpwall.lab.counter import Counter, Passed
from xdpwall.lab.progress import Progress, Sample
from xdpwall.lab.topology import Lab

_STEP_SECONDS = 0.2
_SETTLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Play:
    """What to run.

    Args:
        name: of the scenario, for people.
        seconds: length of the attack, or of the quiet.
        attack: makes the program to push with and its pace, once the lab's addresses are known; None: no attack.
        baseline_seconds: the legitimate users alone.
        requests_per_second: new connections of the legitimate users.
        config: text of the wall's config file.
        carpet: the protected host has a whole /24 of addresses.
        open_ports: somebody listens there, besides the web server; like ``"udp/27015"``.
        report: folder for the HTML report of the incident; None: none is written.
    """

    name: str
    seconds: float
    attack: Callable[[Lab], tuple[flood.Program, flood.Pace]] | None
    baseline_seconds: float
    requests_per_second: float
    config: str
    carpet: bool = False
    open_ports: tuple[str, ...] = ()
    report: Path | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """What had come through behind the wall at one moment (CLOCK_MONOTONIC)."""

    ns: int
    report: flood.Report
    passed: Passed


@dataclass(slots=True)
class Figures:
    """Everything that was measured. Times are CLOCK_MONOTONIC nanoseconds."""

    mode: str = ""
    policy: str = "enforce"
    began_ns: int = 0
    attack_ns: int = 0
    ended_ns: int = 0
    report: flood.Report = field(default_factory=flood.Report)
    reports: list[flood.Report] = field(default_factory=list)
    passed: Passed = field(default_factory=lambda: Passed(()))
    moments: list[Moment] = field(default_factory=list)
    stack_received: int = 0
    wall_dropped: dict[str, int] = field(default_factory=dict)
    """By reason, from the attack's beginning on."""
    wall_dropped_before: int = 0
    first_drop_ns: int | None = None
    aftermath: Aftermath | None = None
    visits: list[legit.Visit] = field(default_factory=list)
    bans: int = 0
    controller_cpu_ms: int = 0
    controller_rss_kb: int = 0
    controller_alive: bool = False
    cpu_busy: dict[str, float] = field(default_factory=dict)
    """Share of each CPU's time that was not idle during the attack, by its number."""


def perform(play: Play, progress: Progress) -> Figures:
    """Run it.

    Raises:
        LabError: something of the lab, not of the wall, failed.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    with signals.stoppable():
        progress.phase("building the lab: namespaces, links, server")
        with Lab(config=play.config) as lab:
            return _Run(lab, play, progress).go()


class _Run:
    def __init__(self, lab: Lab, play: Play, progress: Progress) -> None:
        self._lab = lab
        self._play = play
        self._progress = progress
        self._figures = Figures()
        self._cpus = flood.other_cpus()

    def go(self) -> Figures:
        lab, play, figures = self._lab, self._play, self._figures
        server = self._populate()
        names = [link.host.ifname for link in lab.wall_links]
        flags = [part for name in names for part in ("-i", name)]
        self._progress.phase("loading the wall")
        lab.load(*flags)
        controller = lab.start_controller(*flags)
        os.sched_setaffinity(controller.pid, self._cpus)
        behind = Counter(lab.namespace("wall"), names)
        status = lab.ask("status")
        figures.mode = ",".join(sorted({str(i["mode"]) for i in status["interfaces"]}))
        figures.policy = status["policy"]
        receiving = flood.flood_cpu()
        if receiving is not None and not lab.receive_on(receiving):
            self._progress.note(
                "this kernel has no RPS: two CPUs receive, and some packets may not reach the wall"
            )
        attack = self._prepare()

        visitor = legit.Users(lab, play.requests_per_second, self._cpus)
        visitor.wait()
        self._progress.phase(f"the legitimate users alone, for {play.baseline_seconds:g} s")
        figures.began_ns = time.monotonic_ns()
        for _ in _steps(play.baseline_seconds):
            self._show("baseline", figures.began_ns, play.baseline_seconds, visitor)

        dropped_before = observe.dropped(lab)
        figures.wall_dropped_before = sum(dropped_before.values())
        received_before = counter.ip_received(server.pid)
        passed_before = behind.read()
        busy_before = observe.cpu_times()
        watch = observe.FirstDrop(lab.paths)
        figures.attack_ns = time.monotonic_ns()
        if attack is not None:
            self._progress.phase("the attack begins")
            attack.go()
            self._watch_attack(attack, behind, passed_before, visitor)
            figures.report = attack.finish()
            figures.reports = attack.reports
        else:
            self._progress.phase(f"nobody attacks, for {play.seconds:g} s")
            for _ in _steps(play.seconds):
                self._show("quiet", figures.attack_ns, play.seconds, visitor)
        figures.ended_ns = time.monotonic_ns()
        busy_after = observe.cpu_times()
        self._read_controller(controller)
        time.sleep(_SETTLE_SECONDS)

        figures.first_drop_ns = watch.finish()
        figures.visits = visitor.finish()
        figures.passed = behind.read().since(passed_before)
        figures.stack_received = counter.ip_received(server.pid) - received_before
        figures.wall_dropped = observe.dropped_since(lab, dropped_before)
        figures.cpu_busy = observe.busy(busy_before, busy_after)
        behind.close()
        figures.aftermath = self._look_back()
        self._progress.phase("taking the lab down")
        return figures

    def _look_back(self) -> Aftermath | None:
        self._progress.phase("asking the wall what happened")
        return look_back(self._lab, self._play.report)

    def _populate(self) -> subprocess.Popen[str]:
        """Addresses, services, and the wire beyond the wall; gives the web server."""
        lab, play = self._lab, self._play
        server = legit.serve(lab, self._cpus)
        legit.listen(lab, sorted({f"udp/{legit.UDP_PORT}", *play.open_ports}), self._cpus)
        crowd.settle(lab.namespace("client"), lab.namespace("net"))
        if play.carpet:
            crowd.carpet(lab.namespace("wall"), lab.wall_links[0].host.ifname)
        for link in lab.wall_links:
            lab.at_end(functools.partial(os.close, attach.wire(lab.namespace("net"), link, lab.client_link)))
        return server

    def _prepare(self) -> flood.Flood | None:
        if self._play.attack is None:
            return None
        self._progress.phase("making the attackers ready")
        program, pace = self._play.attack(self._lab)
        attack = flood.Flood(self._lab, program, pace)
        attack.prepare()
        return attack

    def _watch_attack(
        self, attack: flood.Flood, behind: Counter, before: Passed, visitor: legit.Users
    ) -> None:
        figures = self._figures
        seconds = self._play.seconds
        deadline = time.monotonic() + max(attack.pace.at_most_seconds, seconds) + 10
        while True:
            time.sleep(_STEP_SECONDS)
            report = attack.latest()
            now = time.monotonic_ns()
            figures.moments.append(Moment(now, report, behind.read().since(before)))
            self._show("attack", figures.attack_ns, seconds, visitor)
            if report.done:
                return
            if time.monotonic() > deadline:
                raise LabError("the packet generator does not come to an end")

    def _show(self, phase: str, since_ns: int, seconds: float, visitor: legit.Users) -> None:
        visits = [visit for visit in visitor.look() if visit.start_ns >= since_ns]
        now = time.monotonic_ns()
        recent = [visit.ms for visit in visits if visit.ok and visit.start_ns > now - 3_000_000_000]
        moments = self._figures.moments if phase == "attack" else []
        sent = leaked = sent_pps = leaked_pps = 0
        if moments:
            sent, leaked = moments[-1].report.sent, moments[-1].passed.marked
            # A second back: reports come in steps of a tenth.
            then = moments[max(0, len(moments) - 1 - round(1 / _STEP_SECONDS))]
            sent_pps = _rate(then.report.sent, then.report.ns, sent, moments[-1].report.ns)
            leaked_pps = _rate(then.passed.marked, then.ns, leaked, moments[-1].ns)
        self._progress.sample(
            Sample(
                phase=phase,
                elapsed_ms=(now - since_ns) // 1_000_000,
                of_ms=int(seconds * 1000),
                sent=sent,
                sent_pps=sent_pps,
                leaked=leaked,
                leaked_pps=leaked_pps,
                attempted=len(visits),
                succeeded=sum(visit.ok for visit in visits),
                p50_ms=statistics.median(recent) if recent else None,
                bans=self._bans(),
            )
        )

    def _bans(self) -> int:
        try:
            bans = self._lab.ask("status", timeout=1.0)["bans"]
        except NoControllerError:
            return self._figures.bans
        self._figures.bans = int(bans["exact"]) + int(bans["prefix"])
        return self._figures.bans

    def _read_controller(self, controller: subprocess.Popen[Any]) -> None:
        self._bans()
        self._figures.controller_alive = controller.poll() is None
        if not self._figures.controller_alive:
            words = (self._lab.folder / "controller.log").read_text(encoding="utf-8", errors="replace")
            self._progress.note(
                f"the controller ended by itself, with {controller.returncode}: {words[-3000:]}"
            )
            return
        stat = Path(f"/proc/{controller.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks = int(stat[11]) + int(stat[12])  # utime and stime, proc_pid_stat(5)
        self._figures.controller_cpu_ms = ticks * 1000 // os.sysconf("SC_CLK_TCK")
        status = Path(f"/proc/{controller.pid}/status").read_text(encoding="utf-8")
        self._figures.controller_rss_kb = next(
            int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")
        )


def _rate(before: int, before_ns: int, after: int, after_ns: int) -> int:
    return 0 if after_ns <= before_ns else (after - before) * 1_000_000_000 // (after_ns - before_ns)


def _steps(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(_STEP_SECONDS, left))
        yield
