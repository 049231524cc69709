# SPDX-License-Identifier: Apache-2.0
"""`xdpwall geo`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.incident.test_origin import mmdb
from tests.unit.interface.conftest import Run
from xdpwall.paths import Paths


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Paths, "state", property(lambda self: tmp_path / "state"))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("TERM", "dumb")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    path.write_text("")
    return path


def test_status_names_date_licence_and_attribution(run: Run, config: Path) -> None:
    text = run("geo", "status", "-c", str(config)).out
    for word in (
        "countries:",
        "networks:",
        "2026-06-17",
        "CC BY 4.0",
        "nro.net",
        "routeviews.org",
        "db-ip.com",
        "shipped",
    ):
        assert word in text
    answer = run("-o", "json", "geo", "status", "-c", str(config)).json
    assert [one["half"] for one in answer["databases"]] == ["country", "network"]
    assert answer["databases"][0]["age_days"] > 0


def test_update_and_back(run: Run, tmp_path: Path, config: Path) -> None:
    file = mmdb(tmp_path / "n.mmdb", "GeoLite2-Country", {"8.8.8.0/24": {"country": {"iso_code": "FR"}}})
    done = run("geo", "update", str(file))
    assert done.code == 0
    assert "GeoLite2 End User License Agreement" in done.out
    assert "FR France" in run("geo", "lookup", "8.8.8.8", "-c", str(config)).out
    assert run("-o", "json", "geo", "update", "--shipped").json["removed"] is True
    place = run("-o", "json", "geo", "lookup", "8.8.8.8", "-c", str(config)).json["places"][0]
    assert place == {"address": "8.8.8.8", "country": "US", "asn": 15169, "as_name": "Google LLC"}


def test_own_file_from_the_config(run: Run, tmp_path: Path, config: Path) -> None:
    file = mmdb(tmp_path / "n.mmdb", "mine", {"8.8.8.0/24": {"country_code": "FR"}})
    config.write_text(f'[geo]\ndatabase = "{file}"\n')
    assert "FR France" in run("geo", "lookup", "8.8.8.8", "-c", str(config)).out
    assert "named in the config" in run("geo", "status", "-c", str(config)).out
    config.write_text('[geo]\ndatabase = "mine.mmdb"\n')
    assert "must be a whole path" in run("geo", "status", "-c", str(config)).err
    config.write_text('[geo]\ndatabase = "/nowhere.mmdb"\n')
    failed = run("geo", "status", "-c", str(config))
    assert (failed.code, "/nowhere.mmdb" in failed.err) == (2, True)


def test_usage(run: Run, tmp_path: Path) -> None:
    assert run("geo", "update").code == 2
    assert run("geo", "update", "x", "--shipped").code == 2
    assert run("geo", "lookup").code == 2
    missing = run("geo", "update", str(tmp_path / "missing.mmdb"))
    assert (missing.code, "missing.mmdb" in missing.err) == (2, True)
    bad = run("geo", "lookup", "no-address")
    assert (bad.code, "is not an IP address" in bad.err) == (2, True)
