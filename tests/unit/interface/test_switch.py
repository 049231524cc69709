# SPDX-License-Identifier: Apache-2.0
"""`off`, `on` and `observed`: what is asked, what is told, which exit code."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.interface.conftest import Controller, Run
from tests.unit.interface.test_screens import STATUS
from xdpwall.control import switch_verbs
from xdpwall.interface.cli.units import count

OFF = {"since_ms": 1_700_000_000_000, "until_ms": None, "by": "alice (root)", "reason": ""}
DONE = {
    "changed": True,
    "off": OFF,
    "interfaces": ["eth0", "eth1"],
    "warnings": ["done, but nobody was told"],
}
OBSERVED: dict[str, Any] = {
    "policy": "enforce",
    "since_ms": 1_700_000_000_000,
    "parts": [
        {
            "part": "bans.source", "observes": True, "packets": 1_234_567, "bytes": 9_000, "good_sources": 2,
            "reasons": [{"reason": "banned_source", "packets": 1_234_567, "bytes": 9_000}],
        }
    ],
    "rules": [{"id": 3, "text": "udp from port 123", "packets": 5, "bytes": 6, "proven_packets": 1}],
    "good_sources": [
        {
            "source": "198.51.100.7", "proof": "handshake", "reasons": ["banned_source"], "samples": 4,
            "first_ms": 1_700_000_000_000, "last_ms": 1_700_000_001_000,
        }
    ],
    "good_source_count": 2,
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the verbs asked for; nothing is switched."""
    calls: list[dict[str, Any]] = []

    def turn(_: object, __: object, **args: Any) -> dict[str, Any]:
        calls.append(args)
        return {**DONE, "off": OFF if "for_ms" in args else None}

    monkeypatch.setattr(switch_verbs, "turn_off", turn)
    monkeypatch.setattr(switch_verbs, "turn_on", turn)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return calls


def test_off(run: Run, asked: list[dict[str, Any]]) -> None:
    ran = run("off", "--reason", "is it us?")
    assert (asked[0]["for_ms"], asked[0]["reason"]) == (None, "is it us?")
    assert (ran.code, ran.out) == (0, "OFF until `xdpwall on`: everything passes on eth0, eth1\n")
    assert "nobody was told" in ran.err


def test_off_for_a_while(run: Run, asked: list[dict[str, Any]]) -> None:
    assert run("off", "--for", "10m").out == "OFF for 10m: everything passes on eth0, eth1\n"
    assert asked[0]["for_ms"] == 600_000
    assert run("off", "-o", "json").json["off"] == OFF


@pytest.mark.parametrize("text", ["perm", "0s", "soon", "-5m", "99999d"])
def test_off_for_nonsense(run: Run, asked: list[dict[str, Any]], text: str) -> None:
    assert run("off", f"--for={text}").code == 2
    assert not asked


def test_on(run: Run, asked: list[dict[str, Any]]) -> None:
    assert run("on").out == "on: the wall filters on eth0, eth1\n"


@pytest.mark.parametrize("verb", ["off", "on"])
def test_only_root_may(
    run: Run, asked: list[dict[str, Any]], verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert run(verb).code == 1
    assert not asked


def test_status_is_loud(run: Run, controller: Controller) -> None:
    controller.answers["status"] = {**STATUS, "state": "OFF", "off": OFF}
    controller.answers["overview"] = {}
    assert "OFF" in run("status").out.splitlines()[0]
    ran = run("status", "--check")
    assert ran.code == 1
    assert (
        "XDPWALL WARNING - the wall is OFF: everything passes since 2023-11-14 22:13:20 UTC by alice"
        in ran.out
    )


def test_status_tells_of_a_trial(run: Run, controller: Controller) -> None:
    trial = {
        "parts": ["bans.source"], "since_ms": 1, "would_drop_packets": 1_234, "would_drop_bytes": 5, "good_sources": 1,
    }  # fmt: skip
    controller.answers["status"] = {**STATUS, "observed": trial}
    controller.answers["overview"] = {}
    out = run("status").out
    assert (
        f"bans.source: {count(1_234)} packets would have been dropped, 1 known-good source among them" in out
    )
    controller.answers["status"] = {**STATUS, "observed": {**trial, "parts": [], "would_drop_packets": 0}}
    assert "observing" not in run("status").out


def test_observed(run: Run, controller: Controller) -> None:
    controller.answers["observed"] = OBSERVED
    out = run("observed").out
    for part in (
        "bans.source",
        "observe",
        count(1_234_567),
        "198.51.100.7",
        "handshake",
        "udp from port 123",
        "2 known-good",
    ):
        assert part in out
    assert run("observed", "-o", "json").json["parts"] == OBSERVED["parts"]


def test_observed_without_anything(run: Run, controller: Controller) -> None:
    controller.answers["observed"] = {**OBSERVED, "parts": [], "rules": []}
    assert "every part is enforced" in run("observed").out
    controller.answers["observed"] = {**OBSERVED, "good_source_count": None, "good_sources": []}
    assert "nobody looked for good sources" in run("observed").out
    controller.answers["observed"] = {**OBSERVED, "good_source_count": 0, "good_sources": []}
    assert "no source that is known to be good" in run("observed").out
