# SPDX-License-Identifier: Apache-2.0
"""Which ports count as open."""

from __future__ import annotations

import pytest

from xdpwall.dataplane.sockets import ALL_PORTS, DHCP_CLIENTS, Sockets, open_ports

FOUND = Sockets(frozenset({22, 443}), frozenset({53}), [])


@pytest.mark.parametrize(
    ("closed_ports", "forwarding", "known"),
    [
        ("auto", False, True),
        ("auto", True, False),
        ("always", False, True),
        ("always", True, True),
        ("never", False, False),
        ("never", True, False),
    ],
)
def test_who_forwards_cannot_know_its_ports(closed_ports: str, forwarding: bool, known: bool) -> None:
    tcp, udp = open_ports(FOUND, closed_ports, forwarding=forwarding)  # type: ignore[arg-type]
    if known:
        assert (tcp, udp) == ({22, 443}, {53, *DHCP_CLIENTS})
    else:
        assert set(tcp) == set(udp) == set(ALL_PORTS) == set(range(65536))


def test_a_port_that_the_config_names_is_open() -> None:
    tcp, udp = open_ports(FOUND, "auto", forwarding=False, named=["tcp/80", "udp/443"])
    assert (tcp, udp) == ({22, 80, 443}, {53, 443, *DHCP_CLIENTS})
