# SPDX-License-Identifier: Apache-2.0
"""The metrics endpoint: what is in it, its format, and that nobody can use it to hold up the controller."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.control.conftest import Rig, TestPaths, config
from xdpwall.clock import ManualClock
from xdpwall.config import Config
from xdpwall.control.checks.line import LineWatch
from xdpwall.control.nics import Losses, NicWatch, Softnet, lost_counters, parse_softnet
from xdpwall.control.schedule import Schedule
from xdpwall.control.sink import Inside
from xdpwall.dataplane.fake import FakeWall
from xdpwall.errors import ConfigError
from xdpwall.interface.sinks import http
from xdpwall.interface.sinks.metrics import MetricsSink
from xdpwall.listen import split_listen
from xdpwall.reasons import Reason


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Inside]:
    clock = ManualClock()
    listen = f"127.0.0.1:{free_port()}"
    rig = Rig(
        TestPaths("test", tmp_path),
        clock,
        FakeWall(clock),
        config(metrics={"enabled": True, "listen": listen}),
    )
    rig.engine.start()
    losses = Losses({"eth9": {"rx_queue_n_drops": 7}}, Softnet(100, 3, 1))
    nics = NicWatch(lambda _: losses)
    nics.look(["eth9"], 1)
    yield Inside(rig.engine, Schedule(100_000_000, clock.mono_ns()), nics, LineWatch(nics, clock, dict))
    assert rig.store.close()


def served(inside: Inside, work: Callable[[MetricsSink], Awaitable[Any]]) -> Any:
    """Run ``work`` while the sink is up."""

    async def main() -> Any:
        sink = MetricsSink()
        sink.second(inside)
        while sink._task is not None and not sink._task.done():
            await asyncio.sleep(0)
        try:
            return await work(sink)
        finally:
            await sink.close()

    return asyncio.run(main())


async def ask(port: int | None, request: bytes) -> tuple[bytes, bytes]:
    assert port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head, body


def scrape(inside: Inside) -> dict[str, Any]:
    """Families by name, as Prometheus's own parser reads them."""

    async def get(sink: MetricsSink) -> bytes:
        head, body = await ask(sink.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert f"Content-Length: {len(body)}".encode() in head
        return body

    text = served(inside, get).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Any], sample: str, **labels: str) -> float:
    found = [s.value for f in families.values() for s in f.samples if s.name == sample and s.labels == labels]
    assert len(found) == 1, (sample, labels, found)
    return float(found[0])


def test_what_is_in_it(inside: Inside) -> None:
    wall = inside.engine.wall
    assert isinstance(wall, FakeWall)
    wall.count(Reason.BANNED_SOURCE, 5, 300)
    wall.feed("203.0.113.9", 10, size=100)
    inside.engine.commit(
        inside.engine.desk.ban_add([{"prefix": "192.0.2.7"}], defaults={"reason": "x"})[1]
    ).result(10)
    clock = inside.engine.clock
    assert isinstance(clock, ManualClock)
    clock.advance_ms(100)
    inside.engine.keeper.look([])
    inside.engine.tick()
    families = scrape(inside)
    labels = {"interface": "eth9", "verdict": "drop", "reason": "banned_source"}
    assert value(families, "xdpwall_packets_total", **labels) == 5
    assert value(families, "xdpwall_bytes_total", **labels) == 300
    assert value(families, "xdpwall_map_entries", map="bans") == 1
    assert value(families, "xdpwall_map_entries", map="source_meters") == 1
    assert value(families, "xdpwall_map_capacity", map="bans") == 131_072
    assert value(families, "xdpwall_state", state="quiet") == 1
    assert sum(s.value for s in families["xdpwall_state"].samples) == 1
    assert value(families, "xdpwall_interface_attached", interface="eth9", mode="native") == 1
    assert (
        value(families, "xdpwall_nic_lost_packets_total", interface="eth9", counter="rx_queue_n_drops") == 7
    )
    assert value(families, "xdpwall_softnet_dropped_packets_total") == 3
    assert value(families, "xdpwall_update_errors_total", target="kernel") == 0
    assert value(families, "xdpwall_lane_budget_packets_per_second", lane="syn") == 400
    assert value(families, "xdpwall_incident_open") == 0
    assert value(families, "xdpwall_fingerprint_rules", policy="enforce") == 0
    assert value(families, "process_resident_memory_bytes") > 1_000_000


def test_labels_are_bounded(inside: Inside) -> None:
    """A flood from many sources makes no new series, and no address gets into the text."""
    wall = inside.engine.wall
    assert isinstance(wall, FakeWall)
    before = sum(len(family.samples) for family in scrape(inside).values())
    for number in range(200):
        wall.feed(f"198.51.100.{number}", 10)
    inside.engine.desk.ban_add([{"prefix": f"192.0.2.{n}"} for n in range(1, 200)], defaults={"reason": "x"})
    families = scrape(inside)
    assert sum(len(family.samples) for family in families.values()) == before
    values = {v for f in families.values() for s in f.samples for v in s.labels.values()}
    assert not any("198.51" in text or "192.0.2" in text for text in values)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"HEAD /metrics HTTP/1.0\r\n\r\n", b"HTTP/1.1 200"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200"),
        (b"GET /metrics?name=x HTTP/1.1\r\n\r\n", b"HTTP/1.1 200"),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"HTTP/1.1 404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 405"),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 400"),
    ],
)
def test_requests(request_: bytes, answer: bytes, inside: Inside) -> None:
    head, body = served(inside, lambda sink: ask(sink.port, request_))
    assert head.startswith(answer)
    assert not (request_.startswith(b"HEAD") and body)


def test_who_says_nothing_is_hung_up_on(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SECONDS", 0.05)
    assert served(inside, lambda sink: ask(sink.port, b"GET /metr")) == (b"", b"")


def test_a_taken_port_is_told_and_tried_again(inside: Inside) -> None:
    address, port = split_listen(inside.engine.config.metrics.listen)

    async def nothing(sink: MetricsSink) -> int | None:
        return sink.port

    with socket.socket() as other:
        other.bind((address, port))
        other.listen()
        assert served(inside, nothing) is None
    assert any("metrics are not served" in text for text in inside.engine.health.problems)
    assert served(inside, nothing) == port
    assert inside.engine.health.problems == []


def test_a_reload_turns_it_off(inside: Inside) -> None:
    async def off(sink: MetricsSink) -> int | None:
        inside.engine.configure(config())
        sink.second(inside)
        assert sink._task is not None
        await sink._task
        return sink.port

    assert served(inside, off) is None


@pytest.mark.parametrize(
    "text", ["9779", "localhost:9779", "127.0.0.1:0", "127.0.0.1:99999", "::1:9779", "[::1]", ""]
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Config.from_mapping({"metrics": {"listen": text}})
    assert raised.value.problems[0].key == "metrics.listen"


def test_good_addresses() -> None:
    assert split_listen("[::1]:9779") == ("::1", 9779)
    assert split_listen("0.0.0.0:1") == ("0.0.0.0", 1)


def test_lost_packets_of_different_drivers() -> None:
    names = [
        "rx_packets", "rx_bytes", "rx_queue_0_drops", "rx_queue_1_drops", "rx_queue_0_xdp_drops", "tx_dropped",
        "rx_missed_errors", "port.rx_dropped", "rx_out_of_buffer", "[0]: rx_discards", "rx12_alloc_fail",
    ]  # fmt: skip
    assert lost_counters((name, 3) for name in names) == {
        "rx_queue_N_drops": 6, "rx_missed_errors": 3, "port.rx_dropped": 3, "rx_out_of_buffer": 3,
        "[N]: rx_discards": 3,
        "rxN_alloc_fail": 3,
    }  # fmt: skip


def test_softnet() -> None:
    text = "005386a1 00000002 00000001 0 0\n0e31044e 000001bf 0000003c 0 0\n"
    assert parse_softnet(text) == Softnet(0x5386A1 + 0xE31044E, 2 + 0x1BF, 0x3D)


def test_growing_losses_are_told() -> None:
    seen = [
        Losses({"eth0": {"rx_drops": 10, "rxN_drops": 10}}, Softnet(0, 5, 0)),
        Losses({"eth0": {"rx_drops": 60, "rxN_drops": 60}}, Softnet(0, 5, 0)),
        Losses(
            {"eth0": {"rx_drops": 5_060, "rxN_drops": 5_060}, "eth1": {"rx_drops": 9_000}},
            Softnet(0, 2_005, 0),
        ),
    ]
    watch = NicWatch(lambda _: seen.pop(0))
    assert watch.look(["eth0"], 1_000_000_000) == []
    assert watch.look(["eth0"], 2_000_000_000) == [], "a burst that met a small ring"
    told = watch.look(["eth0", "eth1"], 7_000_000_000)
    assert [text.split(" packets/s")[0] for text in told] == [
        "eth0: the NIC loses 1,000",
        "the kernel loses 400",
    ]
