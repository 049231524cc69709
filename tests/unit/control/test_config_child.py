# SPDX-License-Identifier: Apache-2.0
"""The controller's configuration is read by a child: the same values, the same faults, and no pydantic in here."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xdpwall.config import Config
from xdpwall.config_plain import Plain, plain
from xdpwall.config_sections import Section
from xdpwall.control import config_child, settings
from xdpwall.errors import ConfigError, InputError

MUCH = """\
interfaces = ["eth0", "eth1"]
policy = "observe"
[tick]
interval = "50ms"
[lanes]
ports = [{port = "udp/53", pps = 50000}, {port = "tcp/443", bps = 9000000}]
[allow]
prefixes = ["192.0.2.0/24", "2001:db8::/32"]
[geo]
database = "/var/lib/GeoIP/GeoLite2-Country.mmdb"
[notify]
on = ["open"]
"""
HEAVY = ("pydantic", "pyroute2", "bcc", "prometheus_client", "jinja2", "rich", "textual", "http.client")
OPENSSL = ("_ssl", "_hashlib")


def names_of(model: Section) -> list[str]:
    own = [name for name, member in vars(type(model)).items() if isinstance(member, property)]
    return [*type(model).model_fields, *own]


def same(model: Any, found: Any) -> None:
    """Every field and property is there, with the same value, all the way down."""
    if isinstance(model, Section):
        assert isinstance(found, Plain)
        for name in names_of(model):
            same(getattr(model, name), getattr(found, name))
    elif isinstance(model, tuple):
        assert isinstance(found, tuple)
        assert len(model) == len(found)
        for one, other in zip(model, found, strict=True):
            same(one, other)
    else:
        assert model == found
        assert type(model) is type(found)


@pytest.mark.parametrize("text", ["", MUCH])
def test_plain_objects_say_what_the_models_say(text: str) -> None:
    config = Config.parse(text)
    found = pickle.loads(pickle.dumps(plain(config)))
    same(config, found)
    assert found.dataplane_digest() == config.dataplane_digest()
    assert found.file_values() == config.file_values()
    assert found.geo.country_file == config.geo.country_file
    assert found == plain(config)


def test_plain_objects_are_frozen() -> None:
    found = plain(Config())
    with pytest.raises(AttributeError, match="policy"):
        found.policy = "observe"


def test_a_reload_is_told_apart_like_with_models() -> None:
    old, new = Config(), Config.parse(MUCH)
    assert settings.differences(plain(old), plain(new)) == settings.differences(old, new)  # type: ignore[arg-type]


def test_the_child_reads_a_file(tmp_path: Path) -> None:
    place = tmp_path / "wall.toml"
    place.write_text(MUCH, encoding="utf-8")
    same(Config.load(place), config_child.read(place))


def test_a_fault_comes_with_key_and_line(tmp_path: Path) -> None:
    place = tmp_path / "wall.toml"
    place.write_text('policy = "enforc"\n[tick]\ninterval = 5\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config_child.read(place)
    with pytest.raises(ConfigError) as meant:
        Config.load(place)
    assert caught.value.problems == meant.value.problems
    assert caught.value.message == meant.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: there is no such file"):
        config_child.read(tmp_path / "none.toml")


def test_the_controller_imports_nothing_that_it_does_not_need_for_months() -> None:
    code = (
        "import sys, xdpwall.interface.cli.run as run\n"
        "run._import_asyncio_without_tls()\n"
        "import xdpwall.control.config_child, xdpwall.control.daemon, xdpwall.dataplane.wall\n"
        "import xdpwall.interface.sinks.metrics, xdpwall.control.links\n"
        f"print(*[name for name in {HEAVY + OPENSSL!r} if name in sys.modules])\n"
        "import ssl\n"  # for who needs it
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
