# SPDX-License-Identifier: Apache-2.0
"""A botnet from two far countries floods an organisation's platform, in the shape of an attack of 2019.

Tens of millions of packets within a minute, 60 % of them from Russian and 25 % from Brazilian addresses. One bot in ten
is heavy: 540 packets a second, four fifths of them SYN, far over any sane limit per source. The others stay under every
limit per source: 7 packets a second each. All of them live in prefixes of their own, so limits per prefix do not see
them either. They join within ten seconds, as a botnet does that is told to attack.
"""

from __future__ import annotations

from xdpwall.lab.scenario import Attack, BotClass, Marks, Scenario, Traffic

_ELSEWHERE = ("US", "CN", "IN", "ID", "VN", "UA", "TR", "TH", "MX", "DE")

SCENARIO = Scenario(
    name="labour2019",
    summary="20,000 bots, most of them Russian and Brazilian: UDP, SYN and ACK at 1.2 million packets a second",
    seconds=35.0,
    # Each heavy bot gets its burst of SYN through before it is banned, some 170 packets. The share that is stopped says
    # something only when it sends many times that.
    packets=27_000_000,
    attack=Attack(
        pps=1_200_000,
        classes=(
            BotClass("heavy", bots=2_000, share=0.9, traffic=Traffic(udp=0.1, syn=0.8, ack=0.1)),
            BotClass("thin", bots=18_000, share=0.1, traffic=Traffic(udp=0.7, syn=0.1, ack=0.2)),
        ),
        countries={"RU": 0.60, "BR": 0.25} | dict.fromkeys(_ELSEWHERE, 0.015),
        v6_share=0.1,
        ramp_seconds=10.0,
    ),
    marks=Marks(sent_at_least=20_000_000, recall={"heavy": 0.98}, legit_at_least=0.999),
    seed=2019,
)
