# SPDX-License-Identifier: Apache-2.0
"""The texts that are made from the config's models."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Literal, get_args, get_origin

from xdpwall.config import Config
from xdpwall.config_plain import DATAPLANE_KEYS
from xdpwall.config_problems import known_keys
from xdpwall.config_text import effective, reference, tables, template, toml_value


def test_the_written_file_changes_nothing() -> None:
    assert Config.parse(template()) == Config()


def test_every_default_in_the_written_file_is_the_default() -> None:
    """With each key's comment sign taken away the file still says nothing new, and says everything."""
    text = re.sub(r"(?m)^#(?=\w)", "", template())
    assert Config.parse(text) == Config()
    data = tomllib.loads(text)
    for key in known_keys(Config):
        node = data
        for part in key.split("."):
            node = node[part]


def test_every_key_says_what_it_means() -> None:
    keys = [key for table in tables() for key in table.keys]
    assert [key.name for key in keys] == list(known_keys(Config))
    assert all(key.meaning.endswith((".", "off.")) for key in keys)
    assert {key.name for key in keys if key.needs_load} == set(DATAPLANE_KEYS)


def test_choices_are_named() -> None:
    for name, field in Config.model_fields.items():
        if get_origin(field.annotation) is Literal:
            assert all(f'"{choice}"' in (field.description or "") for choice in get_args(field.annotation)), (
                name
            )


def test_the_guide_holds_the_reference(checkout: Path) -> None:
    """docs/guide/configuration.md is made with `python -m xdpwall.config_text`."""
    assert reference() in (checkout / "docs/guide/configuration.md").read_text(encoding="utf-8")


def test_effective_tells_the_file_from_the_default() -> None:
    rows = {
        row.name: row for row in effective(Config.parse('[bans]\ntime = "10m"\n[tick]\ninterval = "90ms"'))
    }
    assert set(rows) == set(known_keys(Config))
    assert {name for name, row in rows.items() if not row.is_default} == {"bans.time", "tick.interval"}
    assert rows["tick.interval"].value == "90ms"


def test_values_are_toml() -> None:
    for value in (True, 0, 12, 400_000_000, 2.0, 'a"b\\ü', ["x", "y"], []):
        assert tomllib.loads(f"k = {toml_value(value)}") == {"k": value}
