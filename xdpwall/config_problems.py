# SPDX-License-Identifier: Apache-2.0
"""Turns everything that is wrong with a config into messages: key, line, what is wrong, what was meant."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from xdpwall.config_lines import key_lines
from xdpwall.config_types import PROBLEM, describe
from xdpwall.errors import ConfigProblem

Place = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")
_HOMES = 3
"""A key that stands in the wrong place may belong to many tables: name so many."""
_RANGES = {
    "greater_than_equal": ("ge", "must be {limit} or more"),
    "less_than_equal": ("le", "must be {limit} or less"),
}
_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text in quotes",
    "tuple_type": "a list in square brackets",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
}


@dataclass(frozen=True, slots=True)
class CrossRule(Generic[Model]):
    """A rule over several keys.

    Args:
        keys: the dotted keys it looks at. It is checked only when each of them is fine by itself, and its fault is
            reported at the last of them that the file names.
        fault: gives what is wrong, or None.
    """

    keys: tuple[str, ...]
    fault: Callable[[Model], str | None]


def check_mapping(
    model: type[Model], data: dict[str, Any], text: str, rules: tuple[CrossRule[Model], ...]
) -> tuple[Model | None, list[ConfigProblem]]:
    """Validate parsed TOML, collecting every fault at once.

    Args:
        model: the root model.
        data: what tomllib made of the text.
        text: the text, for line numbers; empty when there is none.
        rules: rules over several keys.

    Returns:
        The model, or None when there is any problem; and the problems in file order.
    """
    lines = key_lines(text) if text else {}
    problems: list[ConfigProblem] = []
    bad: set[str] = set()
    try:
        result = model.model_validate(data)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        for fault in faults:
            place: Place = tuple(fault["loc"])
            problems.append(ConfigProblem(dotted(place), _line(lines, place), _message(model, place, fault)))
            bad.add(".".join(str(part) for part in place if isinstance(part, str)))
        result = model.model_validate(_without(data, [tuple(fault["loc"]) for fault in faults]))
    for rule in rules:
        if any(key == name or key.startswith(f"{name}.") for key in rule.keys for name in bad):
            continue
        fault_text = rule.fault(result)
        if fault_text:
            named = [key for key in rule.keys if tuple(key.split(".")) in lines]
            key = named[-1] if named else rule.keys[-1]
            problems.append(ConfigProblem(key, _line(lines, tuple(key.split("."))), fault_text))
    problems.sort(key=lambda problem: problem.line or 1 << 30)
    return (None if problems else result), problems


def syntax_problem(raw: bytes | str, error: ValueError | RecursionError) -> ConfigProblem:
    """The one fault of a text that is not TOML, or none that can be read; what comes after it cannot be checked."""
    if isinstance(error, UnicodeDecodeError):
        assert isinstance(raw, bytes)
        line = raw.count(b"\n", 0, error.start) + 1
        return ConfigProblem("", line, f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8")
    if isinstance(error, RecursionError):
        return ConfigProblem("", 0, "brackets or braces are nested too deeply")
    if not isinstance(error, tomllib.TOMLDecodeError):
        return ConfigProblem("", 0, "a number has too many digits")
    message = str(error)
    match = _TOML_PLACE.search(message)
    size = raw.count(b"\n" if isinstance(raw, bytes) else "\n") + 1  # type: ignore[arg-type]
    line = int(match[1]) if match and match[1] else size
    what = message[: match.start()] if match else message
    return ConfigProblem("", line, f"not TOML: {what[:1].lower()}{what[1:]} (what follows was not checked)")


def dotted(place: Place) -> str:
    """``("allow", "prefixes", 2)`` as ``allow.prefixes[2]``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def known_keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every dotted key of a model, tables left out."""
    for name, field in model.model_fields.items():
        key = f"{above}{field.alias or name}"
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from known_keys(kind, f"{key}.")
        else:
            yield key


def _line(lines: dict[Place, int], place: Place) -> int:
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 0)


def _message(model: type[BaseModel], place: Place, fault: Any) -> str:
    kind, context, value = fault["type"], fault.get("ctx", {}), fault["input"]
    if kind == PROBLEM:
        return str(fault["msg"])
    if kind == "extra_forbidden":
        return _unknown(model, dotted(place), value)
    if kind in _RANGES:
        name, form = _RANGES[kind]
        return f"{form.format(limit=context[name])}, not {value}"
    if kind == "literal_error":
        return f"must be {_quoted(context['expected'])}, not {describe(value)}"
    if kind == "finite_number":
        return f"must be a number, not {value}"
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {describe(value)}"
    return str(fault["msg"])


def _quoted(expected: str) -> str:
    return expected.replace("'", '"')


def _unknown(model: type[BaseModel], key: str, value: object) -> str:
    what = "unknown table" if isinstance(value, dict) else "unknown key"
    keys = list(known_keys(model))
    tables = {known.rpartition(".")[0] for known in keys} - {""}
    tables |= {table.partition(".")[0] for table in tables}
    if isinstance(value, dict):
        close = difflib.get_close_matches(key, sorted(tables), 1)
        return (
            f"{what}; did you mean [{close[0]}]?"
            if close
            else f"{what}; there are {', '.join(sorted(tables))}"
        )
    table, _, name = key.rpartition(".")
    siblings = [known.rpartition(".")[2] for known in keys if known.rpartition(".")[0] == table]
    close = difflib.get_close_matches(name, siblings, 1)
    if close:
        return f"{what}; did you mean {close[0]}?"
    elsewhere = [known for known in keys if known.rpartition(".")[2] == name]
    if elsewhere:
        homes = " or ".join(f"[{known.rpartition('.')[0]}]" for known in elsewhere[:_HOMES])
        if len(elsewhere) > _HOMES:
            homes += f" or {len(elsewhere) - _HOMES} more tables"
        return f"{what} here; it belongs to {homes}"
    far = difflib.get_close_matches(key, keys, 1, 0.75)
    return (
        f"{what}; did you mean {far[0]}?" if far else f"{what}; `xdpwall config init -` shows all there are"
    )


def _without(data: dict[str, Any], places: list[Place]) -> dict[str, Any]:
    """A copy without the faulty keys; a fault within a list takes the whole list out."""
    rest = deepcopy(data)
    for place in places:
        keys: list[str] = []
        for part in place:
            if isinstance(part, int):
                break
            keys.append(part)
        node: Any = rest
        for key in keys[:-1]:
            node = node.get(key, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict) and keys:
            node.pop(keys[-1], None)
    return rest
