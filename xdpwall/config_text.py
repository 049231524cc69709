# SPDX-License-Identifier: Apache-2.0
"""The config for people: the commented file, the reference table, the effective values. All made from the models."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from xdpwall.config import Config
from xdpwall.config_plain import DATAPLANE_KEYS
from xdpwall.config_types import Duration

_WIDTH = 100
_HEAD = """\
Configuration of xdpwall. Every key stands here with its default, commented out: without any change this is a working
wall, once it is told its interfaces. `xdpwall config check` finds every mistake, with its line.
A running controller takes a changed file over on SIGHUP (`systemctl reload xdpwall`); keys marked (load) are compiled
into the data path and take effect with the next `xdpwall load`, which swaps the program without a gap."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file.

    Args:
        name: dotted.
        default: as TOML and JSON would hold it.
        allowed: the range, as text; empty when the meaning says it all.
        meaning: what it is for.
        needs_load: whether a change takes effect only with `xdpwall load`.
    """

    name: str
    default: Any
    allowed: str
    meaning: str
    needs_load: bool


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the file: its dotted name (empty for the top), what it is for, its keys."""

    name: str
    meaning: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Effective:
    """One key's value in force, and whether the file says it."""

    name: str
    value: Any
    is_default: bool


def tables() -> Iterator[Table]:
    """Every table with its keys, in the order of the models."""
    yield from _tables(Config, "", "")


def template() -> str:
    """A file with every key, its meaning, range and default, commented out. Parses to ``Config()``."""
    lines = [f"# {line}" for line in _HEAD.splitlines()]
    for table in tables():
        if table.name:
            lines += ["", f"[{table.name}]", *_comment(table.meaning)]
        for key in table.keys:
            extra = f" {key.allowed}" if key.allowed else ""
            lines += ["", *_comment(f"{key.meaning}{extra}{' (load)' if key.needs_load else ''}")]
            lines.append(f"#{key.name.rpartition('.')[2]} = {toml_value(key.default)}")
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The table of all keys for the guide, in Markdown."""
    lines: list[str] = []
    for table in tables():
        lines += ["", f"### `[{table.name}]`" if table.name else "### Top of the file", "", table.meaning, ""]
        lines = [line for line, after in zip(lines, [*lines[1:], "x"], strict=True) if line or after]
        lines += ["| key | default | meaning |", "|---|---|---|"]
        for key in table.keys:
            extra = f" {key.allowed}" if key.allowed else ""
            load = " (load)" if key.needs_load else ""
            name = key.name.rpartition(".")[2]
            lines.append(f"| `{name}` | `{toml_value(key.default)}` | {key.meaning}{extra}{load} |")
    return "\n".join(lines).strip() + "\n"


def effective(config: Config) -> list[Effective]:
    """Every key with the value in force."""
    rows: list[Effective] = []
    for table in tables():
        section: Any = config
        for part in filter(None, table.name.split(".")):
            section = getattr(section, part)
        aliases = {field.alias or name: name for name, field in type(section).model_fields.items()}
        for key in table.keys:
            name = aliases[key.name.rpartition(".")[2]]
            rows.append(Effective(key.name, config.value(key.name), name not in section.model_fields_set))
    return rows


def toml_value(value: Any) -> str:
    """A value as TOML writes it. JSON agrees with TOML on texts, numbers and lists; long numbers are grouped."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}" if value >= 10_000 else str(value)
    return json.dumps(value, ensure_ascii=False)


def _tables(model: type[BaseModel], above: str, meaning: str) -> Iterator[Table]:
    defaults = model().model_dump(mode="json", by_alias=True)
    keys: list[Key] = []
    inner: list[tuple[type[BaseModel], str, str]] = []
    for name, field in model.model_fields.items():
        alias = field.alias or name
        dotted = f"{above}.{alias}" if above else alias
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            inner.append((kind, dotted, (kind.__doc__ or "").strip()))
        else:
            text = field.description or ""
            keys.append(Key(dotted, defaults[alias], _allowed(field), text, dotted in DATAPLANE_KEYS))
    if keys:
        yield Table(above, meaning, tuple(keys))
    for kind, dotted, doc in inner:
        yield from _tables(kind, dotted, doc)


def _allowed(field: FieldInfo) -> str:
    durations = [entry for entry in field.metadata if isinstance(entry, Duration)]
    if durations:
        return f'From "{durations[0].shortest}" to "{durations[0].longest}".'
    # annotated_types.Ge and Le, which pydantic makes of ge= and le=.
    low = [entry.ge for entry in field.metadata if hasattr(entry, "ge")]
    high = [entry.le for entry in field.metadata if hasattr(entry, "le")]
    return f"From {toml_value(low[0])} to {toml_value(high[0])}." if low and high else ""


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]


if __name__ == "__main__":
    sys.stdout.write(reference())
