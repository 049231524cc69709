# SPDX-License-Identifier: Apache-2.0
"""What the documents say is there, is there: verbs, make targets, linked files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def documented_commands() -> list[tuple[str, ...]]:
    """Every verb and sub-verb of the README's table, as words."""
    commands: list[tuple[str, ...]] = []
    for row in re.findall(r"^\| (`.*?) \| ", README, re.MULTILINE):
        for quoted in re.findall(r"`([a-z].*?)`", row):
            first, *rest = re.sub(r"\\\|", "|", quoted).split()
            subs = rest[0].split("|") if rest and re.fullmatch(r"[a-z|]+", rest[0]) else []
            commands += [(first, sub) for sub in subs] or [(first,)]
    return commands


def test_the_table_is_read() -> None:
    """The parser above finds the shapes that the table uses."""
    commands = documented_commands()
    assert {("load",), ("unload",), ("ban", "add"), ("ban", "test"), ("lab", "replay")} <= set(commands)


@pytest.mark.parametrize("words", documented_commands(), ids=" ".join)
def test_every_documented_verb_exists(words: tuple[str, ...]) -> None:
    """Each verb of the README's table answers to --help."""
    done = subprocess.run(
        [sys.executable, "-m", "xdpwall", *words, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert words[-1] in done.stdout


def test_every_verb_is_documented() -> None:
    """Each verb that `xdpwall --help` lists has its row in the README."""
    done = subprocess.run(
        [sys.executable, "-m", "xdpwall", "--help"], capture_output=True, text=True, check=True
    )
    listed = done.stdout.split("Verbs:", 1)[1]
    verbs = set(re.findall(r"^  ([a-z-]+)  ", listed, re.MULTILINE))
    assert verbs
    assert verbs <= {words[0] for words in documented_commands()}


def test_every_make_target_exists() -> None:
    """`make X` in a document names a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        code = set(re.findall(r"`(?:sudo )?make ([a-z-]+)", document.read_text()))
        assert code <= targets, document


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Each relative link of a document names a file that is there."""
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target
