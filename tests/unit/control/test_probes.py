# SPDX-License-Identifier: Apache-2.0
"""Own services are tried in a thread; what they answered is there to take."""

from __future__ import annotations

import socket
import time

from xdpwall.config_incident import ProbesConfig
from xdpwall.control.probes import Prober
from xdpwall.incident.users import ProbeResult


def results(prober: Prober, count: int) -> list[ProbeResult]:
    found: list[ProbeResult] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        found += prober.take()
        time.sleep(0.02)
    return found


def test_what_answers_and_what_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door, socket.socket() as shut:
        shut.bind(("127.0.0.1", 0))  # nobody listens on it
        good, bad = door.getsockname()[1], shut.getsockname()[1]
        config = ProbesConfig.model_validate(
            {
                "interval": "1s",
                "timeout": "1s",
                "tcp": [f"127.0.0.1:{good}", f"127.0.0.1:{bad}"],
                "http": [f"http://127.0.0.1:{bad}/"],
            }
        )
        prober = Prober(config)
        prober.start()
        found = {result.name: result for result in results(prober, 3)}
        prober.stop()
    assert found[f"tcp 127.0.0.1:{good}"].ok
    assert not found[f"tcp 127.0.0.1:{bad}"].ok
    assert "refused" in found[f"tcp 127.0.0.1:{bad}"].error
    assert not found[f"http http://127.0.0.1:{bad}/"].ok


def test_nothing_to_probe_starts_nothing() -> None:
    prober = Prober(ProbesConfig())
    prober.start()
    assert prober._thread is None
    assert prober.take() == []
