# SPDX-License-Identifier: Apache-2.0
"""Turns a scenario or a capture into a run of the stage, and the run into a result."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xdpwall.config import Config
from xdpwall.errors import InputError, NotFoundError
from xdpwall.lab import botnet, capture, legit, network, origins, outcome, shares, stage, storm
from xdpwall.lab.flood import Pace, Program
from xdpwall.lab.progress import Progress, Silent
from xdpwall.lab.scenario import Attack, Marks, Pulse, Scenario, Storm
from xdpwall.lab.scenarios import REGISTRY
from xdpwall.lab.shapes.datagram import KINDS
from xdpwall.lab.topology import Lab

_REPLAY_LEAST = 10.0
_REPLAY_MOST = 60.0
_OPEN_AT_MOST = 16
"""Seconds that a capture is replayed when nobody says."""


def run_named(
    name: str,
    *,
    progress: Progress | None,
    seconds: float | None,
    pps: int | None,
    config: Path | None,
    seed: int | None,
    report: Path | None = None,
) -> dict[str, Any]:
    """See :func:`xdpwall.lab.api.run_scenario`."""
    known([name])
    return run(_changed(REGISTRY[name], seconds, pps, config, seed), progress or Silent(), report)


def known(names: Sequence[str]) -> list[str]:
    """The scenarios that are meant, each once, in the order given; ``"all"`` is every one.

    Raises:
        NotFoundError: one of them is none.
    """
    found: dict[str, None] = {}
    for name in names:
        if name != "all" and name not in REGISTRY:
            raise NotFoundError(
                f"there is no scenario {name!r}",
                hint=f"there are: {', '.join(REGISTRY)}; see `xdpwall lab list`",
            )
        found |= dict.fromkeys(REGISTRY if name == "all" else [name])
    return list(found)


def run(scenario: Scenario, progress: Progress, report: Path | None = None) -> dict[str, Any]:
    """Run any scenario, registered or not. Raises as :func:`xdpwall.lab.api.run_scenario`."""
    attack = scenario.attack
    bots = botnet.settle(attack, scenario.seed) if isinstance(attack, Attack) else []
    play = stage.Play(
        name=scenario.name,
        seconds=scenario.seconds,
        attack=(lambda lab: (_program(attack, bots, scenario.seed, lab), _pace(scenario, attack)))
        if attack
        else None,
        baseline_seconds=scenario.baseline_seconds,
        requests_per_second=scenario.requests_per_second,
        config=scenario.config,
        carpet=isinstance(attack, Storm) and attack.carpet,
        report=report,
    )
    figures = stage.perform(play, progress)
    return outcome.result(scenario.name, figures, _cast(scenario, bots, figures), scenario.marks)


def run_capture(
    path: Path,
    *,
    progress: Progress | None,
    seconds: float | None,
    pps: int | None,
    config: Path | None,
    port_open: bool = False,
    report: Path | None = None,
) -> dict[str, Any]:
    """See :func:`xdpwall.lab.api.replay`."""
    watcher = progress or Silent()
    # Where to is known before there is a lab: every lab has the same addresses.
    recorded = capture.read(path, target(network.wall_link()))
    for cause, count in recorded.skipped.items():
        watcher.note(f"{count:,} of {recorded.packets:,} packets are not replayed: {cause}")
    if recorded.filled:
        watcher.note(
            f"{recorded.filled:,} packets were cut short in the capture; they are filled up with zeros"
        )
    own = recorded.round_ns / 1e9
    if seconds is None:
        seconds = min(max(own, _REPLAY_LEAST), _REPLAY_MOST)
        if own > _REPLAY_MOST and pps is None:
            watcher.note(
                f"the capture lasts {own:.0f} s; its first {seconds:g} s are replayed (see --seconds, --pps)"
            )
    pace = Pace(
        pps=pps or 0,
        seconds=seconds,
        at_most_seconds=seconds,
        offsets_ns=[frame.offset_ns for frame in recorded.frames],
        round_ns=recorded.round_ns,
    )
    program = Program(
        name="frames",
        defines={"FRAMES": len(recorded.frames), "SLOT": recorded.slot},
        maps={"frames": recorded.frames_map(), "plan": recorded.plan_map()},
        frame=recorded.slot,
        tallies=4,
    )
    open_ports = _attacked(recorded.ports) if port_open else ()
    play = stage.Play(
        name="replay",
        seconds=seconds,
        attack=lambda _lab: (program, pace),
        baseline_seconds=3.0,
        requests_per_second=50.0,
        config=read_config(config),
        open_ports=open_ports,
        report=report,
    )
    figures = stage.perform(play, watcher)
    cast = outcome.Cast(tuple(recorded.by_kind.items()), recorded.sources, [], rows="kinds")
    found = outcome.result("replay", figures, cast, Marks())
    found["capture"] = {"file": path.name, "pps": pps, "open_ports": list(open_ports)} | recorded.describe()
    return found


def _attacked(ports: dict[str, int]) -> tuple[str, ...]:
    """The ports that most packets of a capture go to, besides those where the lab listens anyway."""
    ours = {f"tcp/{legit.PORT}", f"udp/{legit.UDP_PORT}"}
    return tuple([port for port in ports if port not in ours and not port.endswith("/0")][:_OPEN_AT_MOST])


def target(link: network.Link) -> botnet.Target:
    """The lab's server, as packets address it on one of the wall's links."""
    host = link.host
    return botnet.Target(
        mac=bytes.fromhex(host.mac.replace(":", "")),
        v4=socket.inet_pton(socket.AF_INET, host.v4),
        v6=socket.inet_pton(socket.AF_INET6, host.v6),
        port=legit.PORT,
    )


def read_config(path: Path | None) -> str:
    """Text of a config file for the lab's wall; its ``interfaces`` are overruled.

    Raises:
        InputError: it cannot be read.
        ConfigError: it has faults; found here, so that they carry the name of the file that was given.
    """
    if path is None:
        return ""
    Config.load(path)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def bots_program(attack: Attack, bots: list[botnet.Bot], seed: int, to: botnet.Target) -> Program:
    """The packet program for a botnet."""
    frame = botnet.frame_length(attack)
    return Program(
        name="bots",
        defines={"SOURCES": len(bots), "FRAME": frame},
        maps={
            "sources": botnet.sources_map(bots),
            "personas": botnet.personas_map(attack),
            "plan": botnet.plan_map(to, seed),
        },
        frame=frame,
        tallies=len(attack.classes),
    )


def _cast(scenario: Scenario, bots: list[botnet.Bot], figures: stage.Figures) -> outcome.Cast:
    attack = scenario.attack
    if isinstance(attack, Storm):
        rows = figures.report.tallies or [(0,)] * len(attack.streams)
        counts = [origins.count(stream, row[0]) for stream, row in zip(attack.streams, rows, strict=True)]
        names = [stream.name for stream in attack.streams]
        return outcome.Cast(
            classes=tuple(zip(names, counts, strict=True)),
            sources=sum(counts),
            countries=origins.countries(attack, scenario.seed),
            kinds=KINDS,
        )
    return outcome.Cast(
        classes=tuple((part.name, part.bots) for part in attack.classes) if attack else (),
        sources=len(bots),
        countries=shares.countries_sent(attack, bots, figures.reports) if attack else [],
    )


def _program(attack: Attack | Storm, bots: list[botnet.Bot], seed: int, lab: Lab) -> Program:
    if isinstance(attack, Storm):
        return storm.program(attack, target(lab.wall_links[0]), seed)
    return bots_program(attack, bots, seed, target(lab.wall_links[0]))


def _pace(scenario: Scenario, attack: Attack | Storm) -> Pace:
    if isinstance(attack, Storm):
        pulse = attack.pulse or Pulse(0.0, 0.0)
        return Pace(
            pps=attack.pps,
            seconds=scenario.seconds,
            at_most_seconds=scenario.seconds,
            on_seconds=pulse.on_seconds,
            off_seconds=pulse.off_seconds,
        )
    return Pace(
        pps=attack.pps,
        seconds=scenario.seconds,
        at_least=scenario.packets,
        at_most_seconds=scenario.at_most_seconds,
        ramp_seconds=attack.ramp_seconds,
    )


def _changed(
    scenario: Scenario, seconds: float | None, pps: int | None, config: Path | None, seed: int | None
) -> Scenario:
    """The scenario with what the caller wants otherwise."""
    if seconds is not None:
        # A run of another length is another run: it is not stretched until the full run's mark is met.
        marks = dataclasses.replace(scenario.marks, sent_at_least=None)
        scenario = dataclasses.replace(scenario, seconds=seconds, packets=0, marks=marks)
    if pps is not None and scenario.attack is not None:
        scenario = dataclasses.replace(scenario, attack=dataclasses.replace(scenario.attack, pps=pps))
    if config is not None:
        scenario = dataclasses.replace(scenario, config=read_config(config))
    if seed is not None:
        scenario = dataclasses.replace(scenario, seed=seed)
    return scenario
