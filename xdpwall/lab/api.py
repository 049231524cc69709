# SPDX-License-Identifier: Apache-2.0
"""What the command line needs of the lab. Light to import: the heavy parts come in when a run starts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xdpwall.lab.progress import Progress

Result = dict[str, Any]
"""The JSON object of `xdpwall lab run` and `lab replay`; ``docs/guide/lab.md`` names every key."""


def list_scenarios() -> list[dict[str, Any]]:
    """Every scenario, in the order to show them.

    Returns:
        One object each: ``name``, ``summary``, ``seconds``, ``pps``, ``sources``, ``marks`` (list of text).
    """
    from xdpwall.lab.scenarios import REGISTRY  # noqa: PLC0415 - only this verb needs it

    return [scenario.describe() for scenario in REGISTRY.values()]


def run_scenario(
    name: str,
    *,
    progress: Progress | None = None,
    seconds: float | None = None,
    pps: int | None = None,
    config: Path | None = None,
    seed: int | None = None,
    report: Path | None = None,
) -> Result:
    """Build the lab, run one scenario against the wall in it, take the lab down.

    Args:
        name: one of :func:`list_scenarios`.
        progress: who watches; nobody when None.
        seconds: length of the attack; the scenario's own when None.
        pps: attack packets per second; the scenario's own when None.
        config: config file of the wall; its defaults when None. Its ``interfaces`` do not matter.
        seed: of everything random; the scenario's own when None.
        report: folder to write the HTML report of the incident to.

    Returns:
        The result, ready for JSON. ``report.passed(result)`` gives the marks that were missed.

    Raises:
        NotFoundError: no such scenario.
        PrivilegeError: not root.
        LabError: the lab could not be built or driven.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; everything is cleaned up by then.
    """
    from xdpwall.lab.run import run_named  # noqa: PLC0415

    return run_named(
        name, progress=progress, seconds=seconds, pps=pps, config=config, seed=seed, report=report
    )


def replay(
    path: Path,
    *,
    progress: Progress | None = None,
    seconds: float | None = None,
    pps: int | None = None,
    config: Path | None = None,
    port_open: bool = False,
    report: Path | None = None,
) -> Result:
    """Replay a capture against the wall, addressed to the lab's server, beside the legitimate client.

    Args:
        path: a pcap or pcapng file.
        progress: who watches; nobody when None.
        seconds: how long; the capture is looped. The capture's own length, at least 10 s, when None.
        pps: packets per second; the capture's own pace when None.
        config: config file of the wall; its defaults when None.
        port_open: somebody listens on the ports that are attacked, 16 at most.
        report: folder to write the HTML report of the incident to.

    Returns:
        The result, as of :func:`run_scenario`; ``scenario`` is ``"replay"``, ``capture`` tells about the file.

    Raises:
        InputError: the file cannot be read, or holds nothing that can be replayed.
        PrivilegeError: not root.
        LabError: the lab could not be built or driven.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; everything is cleaned up by then.
    """
    from xdpwall.lab.run import run_capture  # noqa: PLC0415

    return run_capture(
        path, progress=progress, seconds=seconds, pps=pps, config=config, port_open=port_open, report=report
    )


def run_series(
    names: Sequence[str],
    *,
    progress: Progress | None = None,
    seconds: float | None = None,
    pps: int | None = None,
    config: Path | None = None,
    seed: int | None = None,
) -> Result:
    """Run several scenarios one after the other.

    Args:
        names: of scenarios; ``"all"`` stands for every one.
        progress: as of :func:`run_scenario`, like the others.
        seconds: length of each attack.
        pps: attack packets per second.
        config: config file of the walls.
        seed: of everything random.

    Returns:
        ``{"schema": 1, "runs": [...], "passed": bool}``, each run as of :func:`run_scenario`, with its ``name``.

    Raises:
        NotFoundError: one of the names is no scenario; nothing has been run.
        PrivilegeError: not root.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM.
    """
    from xdpwall.lab import series  # noqa: PLC0415
    from xdpwall.lab.progress import Silent  # noqa: PLC0415
    from xdpwall.lab.run import known, run_named  # noqa: PLC0415

    watcher = progress or Silent()
    chosen = known(names)

    def job(name: str) -> Result:
        return run_named(name, progress=watcher, seconds=seconds, pps=pps, config=config, seed=seed)

    return series.run([(name, functools.partial(job, name)) for name in chosen], watcher)


def replay_series(
    paths: Sequence[Path],
    *,
    progress: Progress | None = None,
    seconds: float | None = None,
    pps: int | None = None,
    config: Path | None = None,
    port_open: bool = False,
) -> Result:
    """Replay several captures one after the other; arguments as of :func:`replay`, the answer as of :func:`run_series`.

    Raises:
        PrivilegeError: not root.
        KeyboardInterrupt: stopped by Ctrl-C or SIGTERM.
    """
    from xdpwall.lab import series  # noqa: PLC0415
    from xdpwall.lab.progress import Silent  # noqa: PLC0415

    watcher = progress or Silent()

    def job(path: Path) -> Result:
        return replay(path, progress=watcher, seconds=seconds, pps=pps, config=config, port_open=port_open)

    return series.run([(path.name, functools.partial(job, path)) for path in paths], watcher)
