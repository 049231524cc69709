# SPDX-License-Identifier: Apache-2.0
"""One list of reasons in three places: Python, C and the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xdpwall.reasons import MEANINGS, PASSES, Reason


def c_reasons(checkout: Path) -> dict[str, int]:
    """The enum of ``bpf/reasons.h``."""
    text = (checkout / "bpf" / "reasons.h").read_text(encoding="utf-8")
    return {name: int(number) for name, number in re.findall(r"REASON_(\w+) = (\d+),", text)}


def test_c_and_python_agree(checkout: Path) -> None:
    assert c_reasons(checkout) == {reason.name: reason.value for reason in Reason}


def test_c_names_each_once_and_ends_with_their_count(checkout: Path) -> None:
    """``REASONS_USED`` counts by standing last."""
    text = (checkout / "bpf" / "reasons.h").read_text(encoding="utf-8")
    body = text[text.index("enum reason {") : text.index("};")]
    assert [line.strip() for line in body.splitlines()][-2].startswith("REASON_")
    assert body.rstrip().endswith("REASONS_USED")
    assert len(re.findall(r"REASON_\w+ = ", body)) == len(Reason)


def test_they_are_numbered_without_a_gap() -> None:
    assert [reason.value for reason in Reason] == list(range(len(Reason)))


def test_they_fit_the_verdict_counters(checkout: Path) -> None:
    from xdpwall.dataplane.layout import REASON_SLOTS

    text = (checkout / "bpf" / "reasons.h").read_text(encoding="utf-8")
    assert f"#define REASON_SLOTS {REASON_SLOTS}\n" in text
    assert len(Reason) <= REASON_SLOTS


def test_c_and_python_drop_the_same(checkout: Path) -> None:
    text = (checkout / "bpf" / "reasons.h").read_text(encoding="utf-8")
    match = re.search(r"#define PASSES(.*?)\n\n", text, re.DOTALL)
    assert match
    passes = {Reason[name] for name in re.findall(r"1ULL << REASON_(\w+)", match[1])}
    assert passes == PASSES
    assert [r for r in Reason if not r.drops] == [r for r in Reason if r.name.startswith("PASS")]


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.label)
def test_the_document_says_the_same(checkout: Path, reason: Reason) -> None:
    """``docs/reasons.md`` has one row for each, in order, with the words of ``meaning``."""
    text = (checkout / "docs" / "reasons.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    fate = "drop" if reason.drops else "pass"
    assert rows[reason.value] == f"| {reason.value} | `{reason.label}` | {fate} | {reason.meaning} |"
    assert len(rows) == len(Reason)


def test_every_meaning_is_a_clause() -> None:
    """They follow a colon or a name: no capital, no full stop."""
    assert MEANINGS.keys() == set(Reason)
    for meaning in MEANINGS.values():
        assert not meaning.endswith(".")
        assert meaning == meaning.strip()
