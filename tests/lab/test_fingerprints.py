# SPDX-License-Identifier: Apache-2.0
"""A rule from an attack's first packets to its end, on a real wall: made, shown, changed, kept without a controller."""

from __future__ import annotations

import itertools
import random
import shutil
import socket
import time
from collections.abc import Iterator

import pytest

from tests.bpf.packets import UDP, ipv4, udp
from tests.lab.traffic import wait_for
from xdpwall.lab import namespaces
from xdpwall.lab.topology import Lab
from xdpwall.reasons import Reason

NTP = bytes.fromhex("d700032a")
PORT = 4001


@pytest.fixture
def walled(lab: Lab) -> Iterator[Lab]:
    """A loaded wall with a controller."""
    lab.write_config('[fingerprints]\ntime = "2m"\n')
    lab.load()
    yield lab
    shutil.rmtree(lab.paths.state, ignore_errors=True)


def frames(lab: Lab, count: int, *, port: int = 123, size: int = 440, seed: int = 1) -> list[bytes]:
    """Answers of time servers, each from another source. Of few distances, so that a few samples know them all."""
    ends = lab.wall_links[0]
    chance = random.Random(seed)
    head = bytes.fromhex(ends.host.mac.replace(":", "")) + bytes.fromhex("027877000002") + b"\x08\x00"
    made = []
    for _ in range(count):
        source = f"{chance.randint(11, 99)}.{chance.randint(0, 255)}.{chance.randint(0, 255)}.{chance.randint(1, 254)}"
        data = udp(NTP + chance.randbytes(size - 4), sport=port, dport=PORT)
        made.append(
            head + ipv4(data, UDP, source=source, target=ends.host.v4, ttl=chance.choice((46, 52, 58)))
        )
    return made


def send(lab: Lab, packets: list[bytes], times: int = 1) -> None:
    """From the net's side of the link."""

    def work() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((lab.wall_links[0].net.ifname, 0))
            for packet in itertools.chain.from_iterable([packets] * times):
                raw.send(packet)

    namespaces.inside(lab.namespace("net"), work)


def verdict(lab: Lab, reason: Reason) -> int:
    rows = lab.wall_json("verdicts")["verdicts"]
    return sum(row["packets"] for row in rows if row["reason"] == reason.label)


def settled(lab: Lab) -> int:
    """What a rule dropped, once no packet is on its way any more."""
    before = -1
    while (now := verdict(lab, Reason.FINGERPRINT)) != before:
        before = now
        time.sleep(0.5)
    return now


def test_the_life_of_a_rule(walled: Lab) -> None:
    controller = walled.start_controller()
    attack = frames(walled, 400)

    def rule_is_there() -> bool:
        send(walled, attack)
        return bool(walled.ask("rules.list")["rules"])

    wait_for(rule_is_there, "a rule is made")
    (rule,) = walled.wall_json("rules", "list")["rules"]
    assert (rule["lane"], rule["policy"]) == ("udp", "enforce")
    assert "udp from port 123" in rule["text"]
    assert rule["cover"] >= 0.9
    assert rule["collateral"] == 0

    before = settled(walled)
    send(walled, frames(walled, 500, seed=2))
    assert (met := settled(walled)) >= before + 400, "further packets meet the rule"
    closed = verdict(walled, Reason.CLOSED_UDP)
    send(walled, frames(walled, 5, port=4500, size=30, seed=3))
    assert settled(walled) == met, "others do not"
    assert walled.ask("rules.list")["rules"][0]["packets"] == met

    shown = walled.wall("rules").stdout
    assert "udp from port 123" in shown
    ident = str(rule["id"])
    assert "only observes now" in walled.wall("rules", "observe", ident).stdout
    send(walled, attack)
    wait_for(lambda: verdict(walled, Reason.CLOSED_UDP) > closed, "the budget decides again")
    # A second rule may have been made for what the first one does not cover.
    assert verdict(walled, Reason.FINGERPRINT) <= met + 100
    assert "drops now" in walled.wall("rules", "enforce", ident).stdout

    controller.kill()
    controller.wait(20)
    dropped = verdict(walled, Reason.FINGERPRINT)
    send(walled, frames(walled, 500, seed=4))
    wait_for(lambda: verdict(walled, Reason.FINGERPRINT) >= dropped + 400, "the rule needs no controller")
    alone = {held["id"]: held["text"] for held in walled.wall_json("rules")["rules"]}
    assert alone[rule["id"]] == rule["text"]

    walled.start_controller()
    assert rule["id"] in {held["id"] for held in walled.ask("rules.list")["rules"]}
    assert "out of force" in walled.wall("rules", "del", ident).stdout
    assert rule["id"] not in {held["id"] for held in walled.ask("rules.list")["rules"]}
    gone = walled.wall("rules", "del", ident, check=False)
    assert gone.returncode == 4
    assert "`xdpwall rules`" in gone.stderr
    events = [
        row["detail"]
        for row in walled.ask("history", limit=100)["history"]
        if row["event"].startswith("rule")
    ]
    assert any("udp from port 123" in detail for detail in events)
    assert any(detail.startswith("del rule") for detail in events)
