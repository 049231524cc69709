# SPDX-License-Identifier: Apache-2.0
"""Where the bots live."""

from __future__ import annotations

import ipaddress
from collections import Counter

import pytest

from xdpwall.errors import LabError
from xdpwall.lab import botnet
from xdpwall.lab.scenario import Attack, BotClass, Traffic
from xdpwall.lab.scenarios import REGISTRY

TRAFFIC = Traffic(udp=0.5, syn=0.25, ack=0.25)


def labour() -> Attack:
    attack = REGISTRY["labour2019"].attack
    assert isinstance(attack, Attack)
    return attack


def test_the_same_seed_settles_alike() -> None:
    assert botnet.settle(labour(), 7) == botnet.settle(labour(), 7)
    assert botnet.settle(labour(), 7) != botnet.settle(labour(), 8)


def test_labour2019_is_what_it_says() -> None:
    """20,000 bots, by class and country; each alone in its /24 or /48, so that no limit per prefix sees it."""
    bots = botnet.settle(labour(), 2019)
    assert Counter(bot.klass for bot in bots) == {0: 2_000, 1: 18_000}
    places = [bot.address[:3] if len(bot.address) == 4 else bot.address[:6] for bot in bots]
    assert len(set(places)) == len(bots) == 20_000
    shares = {str(row["code"]): row["share"] for row in botnet.countries(labour(), bots)}
    assert shares["RU"] == pytest.approx(0.60, abs=0.001)
    assert shares["BR"] == pytest.approx(0.25, abs=0.001)
    heavy, thin = labour().classes
    assert heavy.share == pytest.approx(0.9)
    per_heavy = labour().pps * heavy.share / heavy.bots
    per_thin = labour().pps * thin.share / thin.bots
    assert per_heavy * heavy.traffic.syn > 300, "far over the limit of 100 SYN a second"
    assert per_thin < 50, "under every limit"


def test_bots_live_in_prefixes_of_their_country() -> None:
    known = botnet.prefixes()
    attack = Attack(1, (BotClass("all", 300, 1.0, TRAFFIC),), {"RU": 0.5, "UA": 0.5}, v6_share=0.2)
    for bot in botnet.settle(attack, 1):
        address = ipaddress.ip_address(bot.address)
        assert any(address in network for network in known[bot.country] if network.version == address.version)


def test_no_prefix_is_reserved() -> None:
    networks = [network for found in botnet.prefixes().values() for network in found]
    assert len(networks) > 1_000
    assert all(network.is_global and not network.is_multicast for network in networks)


@pytest.mark.parametrize(
    ("bots", "country", "said"), [(10, "XX", "no prefixes of country 'XX'"), (10_000_000, "DE", "are full")]
)
def test_impossible_attacks(bots: int, country: str, said: str) -> None:
    with pytest.raises(LabError, match=said):
        botnet.settle(Attack(1, (BotClass("all", bots, 1.0, TRAFFIC),), {country: 1.0}), 1)


def test_few_bots_share_out_as_well_as_they_can() -> None:
    attack = Attack(1, (BotClass("all", 10, 1.0, TRAFFIC),), {"RU": 0.55, "BR": 0.25, "US": 0.2})
    assert Counter(bot.country for bot in botnet.settle(attack, 1)) == {"RU": 6, "BR": 2, "US": 2} or Counter(
        bot.country for bot in botnet.settle(attack, 1)
    ) == {"RU": 5, "BR": 3, "US": 2}
