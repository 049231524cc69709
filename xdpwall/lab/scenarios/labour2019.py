# SPDX-License-Identifier: Apache-2.0
"""A botnet from two far countries floods an organisation's platform, in the shape of an attack of 2019.

Tens of millions of packets within minutes, 60 % of them from Russian and 25 % from Brazilian addresses. One bot in ten
is heavy: some 1,100 packets a second, half of them SYN, far over any limit per source. The others stay under every
limit per source: some 14 packets a second each. All of them live in prefixes of their own, so limits per prefix do not
see them either.
"""

from __future__ import annotations

from xdpwall.lab.scenario import Attack, BotClass, Marks, Scenario, Traffic

_ELSEWHERE = ("US", "CN", "IN", "ID", "VN", "UA", "TR", "TH", "MX", "DE")

SCENARIO = Scenario(
    name="labour2019",
    summary="20,000 bots, most of them Russian and Brazilian: UDP, SYN and ACK at 1.2 million packets a second",
    seconds=30.0,
    # Each heavy bot gets its first second's worth of SYN through before it is banned: some 200 packets. The share that
    # is stopped only says something when it sends many times that.
    packets=25_000_000,
    attack=Attack(
        pps=1_200_000,
        classes=(
            BotClass("heavy", bots=2_000, share=0.9, traffic=Traffic(udp=0.15, syn=0.7, ack=0.15)),
            BotClass("thin", bots=18_000, share=0.1, traffic=Traffic(udp=0.7, syn=0.1, ack=0.2)),
        ),
        countries={"RU": 0.60, "BR": 0.25} | dict.fromkeys(_ELSEWHERE, 0.015),
        v6_share=0.1,
        ramp_seconds=10.0,
    ),
    marks=Marks(sent_at_least=20_000_000, recall={"heavy": 0.98}, legit_at_least=0.999),
    seed=2019,
)
