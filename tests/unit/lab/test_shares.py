# SPDX-License-Identifier: Apache-2.0
"""What each country sent when its bots joined one after the other."""

from __future__ import annotations

import pytest

from xdpwall.lab.botnet import Bot
from xdpwall.lab.flood import Report
from xdpwall.lab.scenario import Attack, BotClass, Traffic
from xdpwall.lab.shares import countries_sent

ATTACK = Attack(
    pps=100,
    classes=(BotClass(name="all", bots=4, share=1.0, traffic=Traffic(udp=1.0, syn=0.0, ack=0.0)),),
    countries={"RU": 0.5, "BR": 0.5},
)
BOTS = [Bot(b"\1\1\1\1", country, 0) for country in ("RU", "BR", "BR", "RU")]


def shares(*reports: Report) -> dict[object, object]:
    return {row["code"]: row["share"] for row in countries_sent(ATTACK, BOTS, reports)}


def test_all_from_the_beginning() -> None:
    assert shares(Report(generated=400, joined=1.0)) == {"RU": 0.5, "BR": 0.5}


def test_who_joined_first_sent_more() -> None:
    # 100 of the first alone, then 200 of the first two.
    found = shares(Report(generated=100, joined=0.25), Report(generated=300, joined=0.5))
    assert found["RU"] == pytest.approx(200 / 300, abs=1e-4)
    assert found["BR"] == pytest.approx(100 / 300, abs=1e-4)
