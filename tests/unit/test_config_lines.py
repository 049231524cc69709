# SPDX-License-Identifier: Apache-2.0
"""The scan that finds the line of each key."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpwall.config_lines import key_lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nb = 2", {("a",): 1, ("b",): 2}),
        ("\n\n[t]\n# c = 1\nd = 1 # ]", {("t",): 3, ("t", "d"): 5}),
        ("[t.u]\nx = 1\n[t.v]", {("t",): 1, ("t", "u"): 1, ("t", "u", "x"): 2, ("t", "v"): 3}),
        ('a."b c".d = 1', {("a",): 1, ("a", "b c"): 1, ("a", "b c", "d"): 1}),
        ("a = { b = 1, c = [\n2,\n3] }", {("a",): 1, ("a", "b"): 1, ("a", "c"): 1, ("a", "c", 0): 2, ("a", "c", 1): 3}),
        ('a = """x\n] = "" ""\ny"""\nb = 1', {("a",): 1, ("b",): 4}),
        ("a = '''x\n\\'''\nb = 1", {("a",): 1, ("b",): 3}),
        ('a = "\\"\\\\"\nb = "#"', {("a",): 1, ("b",): 2}),
        ('a = """"q""""\nb = 1', {("a",): 1, ("b",): 2}),
        ("[[x]]\na = 1\n[[x]]\na = 2", {("x",): 1, ("x", 0): 1, ("x", 0, "a"): 2, ("x", 1): 3, ("x", 1, "a"): 4}),
        ("[[x]]\n[x.y]\nz = 1", {("x",): 1, ("x", 0): 1, ("x", 0, "y"): 2, ("x", 0, "y", "z"): 3}),
        ("a = [[1,\n2], [\n3]]", {("a",): 1, ("a", 0): 1, ("a", 0, 0): 1, ("a", 0, 1): 2, ("a", 1): 2, ("a", 1, 0): 3}),
        ("a = 1\r\n\r\nb = 2\r\n", {("a",): 1, ("b",): 3}),
        ("a = 2024-01-01T00:00:00Z\nb = +inf", {("a",): 1, ("b",): 2}),
        ("", {}),
        ("# only this", {}),
    ],
)  # fmt: skip
def test_lines(text: str, expected: dict[tuple[str | int, ...], int]) -> None:
    tomllib.loads(text)
    assert key_lines(text) == expected


KEYS = st.text("abcdef_-0123", min_size=1, max_size=6)
STRINGS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12)
SCALARS = st.one_of(st.integers(-1000, 1000), st.booleans(), STRINGS)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=8)


def written(value: Any, gap: str) -> str:
    """A value as TOML, with line ends and comments wherever a list allows them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "[" + gap + ("," + gap).join(written(entry, gap) for entry in value) + gap + "]"


@given(st.dictionaries(KEYS, VALUES, max_size=6), st.sampled_from(["", " ", "\n", " # ] \" '\n", "\n\n"]))
def test_any_document(values: dict[str, Any], gap: str) -> None:
    """Each key is found where it was written, whatever its value spans."""
    text, expected = "", {}
    for key, value in values.items():
        expected[key] = text.count("\n") + 1
        text += f"{key} = {written(value, gap)}\n"
    assert tomllib.loads(text) == values
    found = key_lines(text)
    assert {path[0]: line for path, line in found.items() if len(path) == 1} == expected
    elements = {path for path in found if len(path) == 2}
    assert elements == {(k, i) for k, v in values.items() if isinstance(v, list) for i in range(len(v))}
