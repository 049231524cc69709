# SPDX-License-Identifier: Apache-2.0
"""The metrics of a real controller under a real flood, scraped and judged by Debian's prometheus.

Every expression of the dashboard and of the alert rules is asked of that prometheus. Needs promtool and prometheus:
`packaging/test-tools` fetches them.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.traffic import Field, sources, wait_for
from xdpwall.lab import namespaces
from xdpwall.lab.topology import Lab
from xdpwall.reasons import Reason

CONFIG = '[metrics]\nenabled = true\n[bans]\ncollapse_sources = 0\n[tick]\ninterval = "50ms"\n'
METRICS = "http://127.0.0.1:9779/metrics"
PROMETHEUS = "http://127.0.0.1:9790"


@pytest.fixture(scope="session")
def shipped(checkout: Path) -> Path:
    return checkout / "packaging" / "prometheus"


@pytest.fixture(scope="session")
def tools(checkout: Path) -> dict[str, str]:
    """Where promtool and prometheus are."""
    path = f"{checkout / '.venv' / 'tools' / 'usr' / 'bin'}:/usr/bin:/usr/local/bin"
    found = {name: shutil.which(name, path=path) for name in ("promtool", "prometheus")}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        pytest.skip(
            f"NOT TESTED against a real prometheus: no {' and no '.join(missing)}: packaging/test-tools"
        )
    return {name: str(place) for name, place in found.items()}


def promtool(tools: dict[str, str], *arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        [tools["promtool"], *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def get(lab: Lab, url: str) -> str:
    def work() -> str:
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 80, timeout=20)
        try:
            connection.request("GET", f"{parts.path}?{parts.query}")
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status == 503:
            raise ConnectionError(f"not ready yet: {text}")
        return text

    return namespaces.inside(lab.namespace("wall"), work)


def query(lab: Lab, expression: str) -> list[dict[str, Any]]:
    """What prometheus answers. An expression that it does not take fails the test with its own words."""
    answer = json.loads(
        get(lab, f"{PROMETHEUS}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    )
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


@pytest.fixture
def walled(lab: Lab) -> Iterator[Lab]:
    lab.write_config(CONFIG)
    lab.load()
    lab.start_controller()
    yield lab
    shutil.rmtree(lab.paths.state, ignore_errors=True)


def test_the_rules(tools: dict[str, str], shipped: Path) -> None:
    assert "rules found" in promtool(tools, "check", "rules", str(shipped / "xdpwall.rules.yml"))
    promtool(tools, "check", "config", str(shipped / "prometheus.yml"))
    promtool(tools, "test", "rules", str(shipped / "xdpwall.rules.test.yml"))


def test_names_and_format(tools: dict[str, str], walled: Lab) -> None:
    """promtool finds nothing to say about names, types and helps."""
    wait_for(lambda: served(walled), "the metrics are served")
    text = get(walled, METRICS)
    assert promtool(tools, "check", "metrics", stdin=text) == ""
    for series in text.splitlines():
        if not series.startswith("#"):
            assert re.match(r"(xdpwall|process)_[a-z0-9_]+[ {]", series), series


def served(lab: Lab) -> bool:
    try:
        return "xdpwall_ticks_total" in get(lab, METRICS)
    except OSError:
        return False


def prometheus(lab: Lab, tools: dict[str, str], shipped: Path, folder: Path) -> None:
    """Start one in the wall's namespace with what is shipped, but a scrape each second."""
    text = (shipped / "prometheus.yml").read_text().replace("scrape_interval: 5s", "scrape_interval: 1s")
    (folder / "prometheus.yml").write_text("global: {evaluation_interval: 1s}\n" + text)
    rules = (shipped / "xdpwall.rules.yml").read_text().replace("for: 30s", "for: 1s")
    (folder / "xdpwall.rules.yml").write_text(rules)
    with (folder / "log").open("wb") as sink:
        lab.popen_in(
            "wall",
            [
                tools["prometheus"],
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={PROMETHEUS.removeprefix('http://')}",
            ],
            stdout=sink,
            stderr=sink,
        )


def answers(lab: Lab, expression: str) -> bool:
    try:
        return bool(query(lab, expression))
    except OSError:
        return False


def test_a_flood_in_a_real_prometheus(
    tools: dict[str, str], shipped: Path, walled: Lab, tmp_path: Path
) -> None:
    walled.ask("ban.add", items=["203.0.113.9"])
    prometheus(walled, tools, shipped, tmp_path)
    wait_for(lambda: answers(walled, 'up{job="xdpwall"} == 1'), "prometheus scrapes")
    field = Field(walled)
    try:
        with field.under_flood(sources("45.1.0.1", 2), pps=80_000):
            flood = 'sum(rate(xdpwall_packets_total{verdict="drop"}[10s])) > 10000'
            wait_for(lambda: answers(walled, flood), "the flood shows in the series")
            alert = 'ALERTS{alertname="XdpwallUnderAttack",alertstate="firing"}'
            wait_for(lambda: answers(walled, alert), "the alert goes off")
            the_dashboard(walled, shipped)
            the_names_in_the_rules(walled, shipped)
    finally:
        field.close()
    (bans,) = query(walled, 'xdpwall_map_entries{map="bans"}')
    assert float(bans["value"][1]) >= 1
    reasons = {row["metric"]["reason"] for row in query(walled, "xdpwall_packets_total")}
    assert reasons <= {reason.label for reason in Reason}
    series = query(walled, 'count({__name__=~"xdpwall_.*"})')
    assert float(series[0]["value"][1]) < 400, "labels are bounded"


def the_dashboard(lab: Lab, shipped: Path) -> None:
    """Every panel has data."""
    dashboard = json.loads((shipped / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [entry["expr"] for entry in dashboard["annotations"]["list"]]
    assert len(expressions) > 20
    empty = []
    for expression in expressions:
        # What Grafana puts in for "all", and a window that fits a short test.
        asked = expression.replace("$instance", ".*").replace("[1m]", "[15s]")
        if not query(lab, asked):
            empty.append(expression)
    assert empty == []
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(panel["title"] for panel in dashboard["panels"])


def the_names_in_the_rules(lab: Lab, shipped: Path) -> None:
    """Each series that a rule names is one that the controller serves, or a rule records."""
    text = (shipped / "xdpwall.rules.yml").read_text()
    recorded = set(re.findall(r"record: (\S+)", text))
    names = set(re.findall(r"\b(xdpwall[_:][a-z0-9_:]+)", " ".join(re.findall(r"expr: (?:\|\n)?(.*)", text))))
    assert len(names) > 8
    there = set(re.findall(r"^([a-z_]+)[ {]", get(lab, METRICS), re.MULTILINE))
    assert names - there - recorded == set()
