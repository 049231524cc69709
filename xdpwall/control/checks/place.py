# SPDX-License-Identifier: Apache-2.0
"""Judges how the wall stands on an interface: from what was asked to what is wrong, with the way out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from xdpwall.dataplane.standing import Standing

Repair = Literal["", "renew", "listen"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong. ``key``: which of its kind. ``repair``: what may be tried against it, on ``interface``."""

    check: str
    key: str
    text: str
    repair: Repair = ""
    interface: str = ""


def judge(standing: Standing, *, off: bool = False) -> list[Finding]:
    """What is wrong with one interface.

    A wall that is missing there altogether is the business of ``control.keeper``, which puts it back.

    Args:
        standing: what was asked.
        off: the wall is meant to pass everything just now.
    """
    found: list[Finding] = []
    if standing.link_index:
        found += _name(standing)
        found += _program(standing, off=off)
        if standing.link_name == standing.name:
            found += _mode(standing)
    if standing.index and not standing.fits and standing.loaded is not None:
        found.append(
            Finding(
                "mtu",
                standing.name,
                f"{standing.name}: the MTU is {standing.mtu} now and was {standing.loaded.mtu} when it was loaded; "
                "that takes another program: `xdpwall load` puts it up",
            )
        )
    if standing.egress is not None and standing.egress_pinned not in standing.egress:
        found.append(
            Finding(
                "egress",
                standing.name,
                f"{standing.name}: the filter that listens to what this host sends is gone: above a budget only flows "
                "with a socket are known. It is put back; if it does not stay, see `tc filter show dev "
                f"{standing.name} egress`",
                "listen",
                standing.name,
            )
        )
    return found


def _name(standing: Standing) -> list[Finding]:
    name, now = standing.name, standing.link_name
    if now == name:
        return []
    other = (
        f" Another interface is called {name} now, and nothing filters there."
        if standing.index and standing.index != standing.link_index
        else ""
    )
    if not now:
        text = (
            f"{name}: the interface is in another network namespace now, and the wall with it.{other} Bring it back, "
            f"or take it out of the configuration and run `xdpwall unload -i {name}`"
        )
    else:
        text = (
            f"{name}: the interface is called {now} now; the wall still runs on it.{other} Name it back "
            f"(`ip link set dev {now} name {name}`), or write {now} into the configuration, then `xdpwall unload -i "
            f"{name}` and `xdpwall load`"
        )
    return [Finding("attached", f"{name} name", text)]


def _program(standing: Standing, *, off: bool) -> list[Finding]:
    name = standing.name
    if standing.program != standing.expected:
        return [
            Finding(
                "program",
                name,
                f"{name}: program {standing.program} runs there, and not ours (id {standing.expected}): somebody "
                "exchanged it. It is put back; if it does not stay, see who works with BPF here: `bpftool prog show id "
                f"{standing.program}`",
            )
        ]
    if standing.loaded is not None and standing.pinned_tag != standing.loaded.tag:
        return [
            Finding(
                "program",
                name,
                f"{name}: the program is not the one that the load put there: its tag is {standing.pinned_tag} and not "
                f"{standing.loaded.tag}, so somebody exchanged it and its pin. Nobody knows what it does: `xdpwall "
                "load` puts ours back",
            )
        ]
    on_interface = standing.link_name == name and standing.kernel_mode in ("native", "generic")
    if on_interface and standing.kernel_program != standing.program and not off:
        return [
            Finding(
                "program",
                name,
                f"{name}: the kernel says that program {standing.kernel_program} runs there, and our link says "
                f"{standing.program}: `xdpwall unload` and `xdpwall load` put that right",
            )
        ]
    return []


def _mode(standing: Standing) -> list[Finding]:
    if standing.mode != "native" or standing.kernel_mode in ("native", "hardware"):
        return []
    now = {None: "no mode at all", "several": "several modes at once"}.get(
        standing.kernel_mode, "generic mode"
    )
    return [
        Finding(
            "mode",
            standing.name,
            f"{standing.name}: the wall was put up in native mode and runs in {now}, several times slower. It is put "
            "up anew; if that does not help, `xdpwall doctor` says what the driver lacks",
            "renew" if standing.kernel_mode == "generic" else "",
            standing.name,
        )
    ]


def judge_stages(believed: Mapping[str, int], now: Mapping[str, int], *, lanes: bool) -> list[Finding]:
    """What is wrong with the programs that the wall goes on in beyond a budget.

    Args:
        believed: id by name, as they were when this wall was opened.
        now: as they are.
        lanes: whether there should be any.
    """
    if not lanes:
        return []
    if not now and not believed:
        return [Finding("stages", "all", _STAGES.format("are missing"))]
    gone = sorted(name for name, ident in believed.items() if ident and not now.get(name))
    other = sorted(
        name for name, ident in believed.items() if ident and now.get(name) not in (ident, 0, None)
    )
    found = []
    if gone:
        found.append(Finding("stages", "gone", _STAGES.format(f"are missing: {', '.join(gone)}")))
    if other:
        found.append(Finding("stages", "other", _STAGES.format(f"were exchanged: {', '.join(other)}")))
    return found


_STAGES = "programs that the wall goes on in {}: what is over a budget passes. `xdpwall load` puts them back"


def judge_unlisted(names: list[str]) -> list[Finding]:
    """Interfaces that we hold, and that the kernel's table of them has lost."""
    return [
        Finding(
            "attached",
            f"{name} table",
            f"{name}: the wall runs there, but the table of interfaces does not know it: nobody looks after it. "
            f"`xdpwall load -i {name}` enters it again",
        )
        for name in names
    ]
