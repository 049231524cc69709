# SPDX-License-Identifier: Apache-2.0
"""What each country of a botnet sent, when its bots joined one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from xdpwall.lab.botnet import Bot
from xdpwall.lab.flood import Report
from xdpwall.lab.scenario import Attack


def countries_sent(attack: Attack, bots: list[Bot], reports: Sequence[Report]) -> list[dict[str, object]]:
    """Share of the packets by country, as they were sent, largest first: ``[{"code", "share"}]``.

    At each moment the bots that have joined send alike, those of each class in their order. So the first ones have
    sent more in the end, and a run that was cut short has another mixture than the whole.

    Args:
        attack: what was sent.
        bots: all of them, in the order in which they join, class by class.
        reports: of the generator, oldest first.
    """
    weights: dict[str, float] = {}
    for number, part in enumerate(attack.classes):
        members = [bot.country for bot in bots if bot.klass == number]
        sent = [0.0] * (len(members) + 1)  # what bots from here to the end did not get: differences
        before = 0
        for report in reports:
            joined = max(1, int(len(members) * report.joined))
            each = (report.sent - before) / joined
            sent[0] += each
            sent[joined] -= each
            before = report.sent
        total = sum(sent[at] * (len(members) - at) for at in range(len(members))) or 1.0
        level = 0.0
        for at, country in enumerate(members):
            level += sent[at]
            weights[country] = weights.get(country, 0.0) + part.share * level / total
    ranked = sorted(weights.items(), key=lambda item: -item[1])
    return [{"code": code, "share": round(share, 4)} for code, share in ranked]
