# SPDX-License-Identifier: Apache-2.0
"""A trial with real connections: an observed ban cuts nobody off, and names whom it would have."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.lab.traffic import Field, sources, wait_for
from xdpwall.lab import namespaces
from xdpwall.lab.topology import Lab

USER = "198.51.100.77"
OFF = "pps = 0\nbps = 0\n"
FREE = "".join(
    f"[limits.{scope}]\n{OFF}syn = 0\nudp = 0\nicmp = 0\n" for scope in ("source", "prefix")
) + "".join(f"[lanes.{lane}]\n{OFF}" for lane in ("syn", "tcp", "udp", "icmp", "fragment", "other", "closed"))
"""No limit, no budget: only bans drop."""


@pytest.fixture
def trial(field: Field) -> Iterator[Field]:
    """A wall whose bans of sources only observe; a user with an address of his own."""
    lab = field.lab
    link = lab.wall_links[0]
    lab.exec_in("net", ["ip", "addr", "add", f"{USER}/32", "dev", link.net.ifname])
    lab.exec_in("wall", ["ip", "route", "add", f"{USER}/32", "via", link.net.v4])
    lab.write_config(f'observe = ["bans.source"]\n{FREE}')
    lab.load("-i", "wan0")
    yield field
    shutil.rmtree(lab.paths.state, ignore_errors=True)


class Echo:
    """A server behind the wall, and a user's connection to it."""

    def __init__(self, lab: Lab) -> None:
        self._server = namespaces.inside(
            lab.namespace("wall"), lambda: socket.create_server(("0.0.0.0", 8080))
        )
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        host = lab.wall_links[0].host.v4
        self.user = namespaces.inside(
            lab.namespace("net"),
            lambda: socket.create_connection((host, 8080), timeout=30, source_address=(USER, 0)),
        )

    def _serve(self) -> None:
        with self._server.accept()[0] as taken:
            while data := taken.recv(100):
                taken.sendall(data)

    def says(self) -> bool:
        """Whether the server answers."""
        self.user.sendall(b"hello")
        return self.user.recv(100) == b"hello"

    def close(self) -> None:
        """Hang up."""
        self.user.close()
        self._server.close()


def test_an_observed_ban_names_the_good_source_it_would_have_hit(trial: Field) -> None:
    lab = trial.lab
    lab.start_controller("-i", "wan0")
    with closing(Echo(lab)) as echo:
        assert echo.says()
        lab.wall("ban", "add", USER, *sources("5.3.8.1", 5))
        assert trial.send("5.3.8.1", packets=50) == 50, "strangers pass as well"

        def found() -> bool:
            assert echo.says(), "nobody is cut off"
            return bool(lab.wall_json("observed")["good_source_count"])

        wait_for(found, "the user is found among them")
    answer = lab.wall_json("observed")
    assert [entry["source"] for entry in answer["good_sources"]] == [USER]
    assert answer["good_sources"][0]["proof"] in ("flow", "handshake")
    assert answer["good_sources"][0]["reasons"] == ["banned_source"]
    (part,) = answer["parts"]
    assert (part["part"], part["observes"], part["good_sources"]) == ("bans.source", True, 1)
    assert part["packets"] > 50
    status = lab.wall_json("status")
    assert status["policy"] == "enforce"
    assert status["totals"]["dropped_packets"] == 0
    assert status["totals"]["would_drop_packets"] >= part["packets"]
    assert status["observed"]["good_sources"] == 1
    rows = {row["reason"]: row for row in lab.wall_json("verdicts")["verdicts"]}
    assert rows["banned_source"]["action"] == "would_drop"
    assert "1 known-good source among them" in lab.wall("status").stdout
    assert USER in lab.wall("observed").stdout


def test_without_a_controller_the_kernels_counts_are_told(trial: Field) -> None:
    lab = trial.lab
    lab.wall("ban", "add", "5.3.8.1")
    assert trial.send("5.3.8.1", packets=20) == 20
    answer = lab.wall_json("observed")
    assert answer["good_source_count"] is None
    assert [(part["part"], part["packets"]) for part in answer["parts"]] == [("bans.source", 20)]
    assert "nobody looked for good sources" in lab.wall("observed").stdout
    lab.write_config(FREE)
    lab.load("-i", "wan0")
    assert trial.send("5.3.8.1", packets=20) == 0, "the trial is over, and the ban holds"
    rows = [row for row in lab.wall_json("verdicts")["verdicts"] if row["reason"] == "banned_source"]
    assert [(row["action"], row["packets"]) for row in rows] == [("would_drop", 20), ("drop", 20)]
