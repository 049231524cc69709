# SPDX-License-Identifier: Apache-2.0
"""Who lives behind an interface, on made-up hosts: kinds that not every kernel has."""

from __future__ import annotations

import pytest

from xdpwall.dataplane.behind import Link, is_shared

ETH = Link("eth0", xdp=True)


@pytest.mark.parametrize(
    ("links", "shared"),
    [
        ({2: ETH}, False),
        ({2: Link("eth0", master=3, slave_kind="bridge", xdp=True), 3: Link("br0", kind="bridge")}, True),
        ({2: Link("eth0", master=3, slave_kind="openvswitch", xdp=True), 3: Link("ovs-system")}, True),
        ({2: Link("eth0", master=3, slave_kind="bridge"), 3: Link("br0", kind="bridge")}, False),
        # A VLAN of ours in a bridge.
        (
            {2: ETH, 4: Link("eth0.5", kind="vlan", lower=2, master=3, slave_kind="bridge"), 3: Link("br0")},
            True,
        ),
        ({2: ETH, 4: Link("eth0.5", kind="vlan", lower=2)}, False),
        # A bond of ours in a bridge, and one with a VLAN that has a macvlan.
        (
            {
                2: Link("eth0", master=5, slave_kind="bond", xdp=True),
                5: Link("bond0", kind="bond", master=3, slave_kind="bridge"),
                3: Link("br0", kind="bridge"),
            },
            True,
        ),
        (
            {
                2: Link("eth0", master=5, slave_kind="bond", xdp=True),
                5: Link("bond0", kind="bond"),
                6: Link("bond0.7", kind="vlan", lower=5),
                7: Link("mv", kind="macvlan", lower=6),
            },
            True,
        ),
        ({2: ETH, 7: Link("iv", kind="ipvlan", lower=2)}, True),
        ({2: ETH, 7: Link("peer", kind="veth", lower=2)}, False),
        ({2: Link("eth0", master=9, slave_kind="vrf", xdp=True), 9: Link("red", kind="vrf")}, False),
        # A ring of peers, and a master that is not listed, end the search.
        ({2: Link("a", lower=3, kind="vlan", xdp=True), 3: Link("b", lower=2, kind="vlan")}, False),
        ({2: Link("a", master=44, xdp=True)}, False),
        ({}, False),
    ],
)
def test_who_lives_behind(links: dict[int, Link], shared: bool) -> None:
    assert is_shared(links, ()) is shared


def test_named_interfaces_count_without_a_program() -> None:
    links = {2: Link("eth0", master=3, slave_kind="bridge"), 3: Link("br0", kind="bridge")}
    assert is_shared(links, ["eth0"])
    assert not is_shared(links, ["eth1"])
