# SPDX-License-Identifier: Apache-2.0
"""What `simulate` needs before it can play: the recorded parts, and the configurations to try on them."""

from __future__ import annotations

import contextlib
import datetime
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xdpwall.config import Config
from xdpwall.control import past_tables, settings
from xdpwall.control.database import AllowEntry, Database
from xdpwall.detection.limits import KINDS
from xdpwall.detection.past import Part, rows_in
from xdpwall.errors import AddressError, InputError, NotFoundError
from xdpwall.model import parse_duration_ms
from xdpwall.paths import Paths

_SIMULATED = ("limits.", "bans.", "lanes.", "allow.", "policy")
_DAY_MS = 86_400_000


@dataclass(slots=True)
class OnRecord:
    """What there is.

    Args:
        packed: parts, oldest first. A month of them unpacked would not fit the memory: see :meth:`parts`.
        spans: when anybody looked, within the time asked for.
        whole: from when to when there is any record at all.
        allow: the operators' allowlist as it is now.
        real_bans: automatic bans that were really given in that time.
        unreadable: parts that cannot be read.
    """

    packed: tuple[bytes, ...]
    spans: tuple[tuple[int, int], ...]
    whole: tuple[int, int]
    allow: tuple[AllowEntry, ...]
    real_bans: int
    unreadable: int = 0

    def parts(self) -> Iterator[Part]:
        """One after the other. What cannot be read is left out, and counted in ``unreadable``."""
        self.unreadable = 0
        for body in self.packed:
            try:
                yield Part.unpack(body)
            except ValueError:
                self.unreadable += 1

    def size(self) -> tuple[int, int]:
        """The most sources and the most prefixes of any part."""
        most = [0, 0]
        for body in self.packed:
            with contextlib.suppress(ValueError):
                most = [max(pair) for pair in zip(most, rows_in(body), strict=True)]
        return most[0], most[1]

    @property
    def seen_ms(self) -> int:
        """How much of the time asked for anybody looked."""
        return sum(stop - start for start, stop in self.spans)


def on_record(paths: Paths, since_ms: int, until_ms: int) -> OnRecord:
    """Read the record of these times.

    Raises:
        NotFoundError: there is none of them.
        StoreError: the state file cannot be read.
    """
    if not paths.database.exists():
        raise _nothing()
    database = Database(paths.database, read_only=True)
    try:
        whole = database.work(past_tables.whole)
        spans = database.work(lambda db: past_tables.spans(db, since_ms, until_ms))
        packed = tuple(database.work(lambda db: list(past_tables.parts(db, since_ms, until_ms))))
        real = database.work(lambda db: past_tables.real_bans(db, since_ms, until_ms))
        allow = tuple(database.allow())
    finally:
        database.close()
    if whole is None:
        raise _nothing()
    if not spans:
        raise NotFoundError(
            f"nothing is on record from {at(since_ms)} to {at(until_ms)}",
            hint=f"there is a record from {at(whole[0])} to {at(whole[1])}: choose --since and --until within it",
        )
    return OnRecord(packed, tuple(spans), whole, allow, real)


def other_config(base: Path, file: Path | None, assignments: Sequence[str]) -> tuple[Config, Config]:
    """The configuration in force, and the one to try.

    Args:
        base: the file in force; it may be missing.
        file: the one to try in its place, or None.
        assignments: ``KEY=VALUE``, on top of it.

    Raises:
        InputError: an assignment has another form.
        ConfigError: a file, or what the assignments make of it, has faults.
    """
    now = Config.load(base) if base.exists() else Config()
    place = file if file is not None else base if base.exists() else None
    text = place.read_bytes().decode("utf-8-sig") if place is not None and file is None else ""
    if file is not None:
        Config.load(file)
        text = file.read_bytes().decode("utf-8-sig")
    data = tomllib.loads(text)
    if not assignments:
        return now, Config.parse(text, str(place or "defaults"))
    for assignment in assignments:
        _assign(data, assignment)
    return now, Config.from_mapping(data, "--set")


def not_simulated(now: Config, other: Config) -> list[str]:
    """Keys that differ, and make no difference here."""
    changed, _ = settings.differences(now, other)
    return [key for key in changed if not key.startswith(_SIMULATED)]


class Floors:
    """From which rate on sources and prefixes are on record: the highest of all parts, by scope and kind."""

    def __init__(self) -> None:
        self._highest = np.zeros((2, len(KINDS)))

    def take(self, part: Part) -> None:
        """One part."""
        self._highest = np.maximum(self._highest, part.floors)

    def of(self, scope: int, kind: int) -> float:
        """Of sources (0) or prefixes (1), of one of ``KINDS``."""
        return float(self._highest[scope, kind])


def below_floor(floors: Floors, config: Config) -> list[tuple[str, int, int]]:
    """Limits below what is on record: key, limit, and from what rate on sources are on record."""
    found = []
    for number, (scope, section) in enumerate(
        (("source", config.limits.source), ("prefix", config.limits.prefix))
    ):
        for place, kind in enumerate(KINDS):
            limit = getattr(section, kind.value)
            floor = floors.of(number, place)
            if limit and limit < floor:
                found.append((f"limits.{scope}.{kind.value}", limit, round(floor)))
    return found


def when(text: str, now_ms: int, option: str) -> int:
    """A moment: how long ago (``7d``), or a day or time in UTC (``2026-11-23``, ``2026-11-23T20:15``). Unix ms.

    Raises:
        InputError: neither.
    """
    try:
        ago = parse_duration_ms(text)
    except AddressError:
        ago = None
    if ago is not None:
        return now_ms - ago
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{option} {text}: neither a time ago nor a moment",
            hint=f"{option} 7d, or {option} 2026-11-23T20:15 (UTC)",
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return round(moment.timestamp() * 1000)


def at(wall_ms: int) -> str:
    """A moment for people, UTC."""
    return datetime.datetime.fromtimestamp(wall_ms / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _assign(data: dict[str, Any], assignment: str) -> None:
    key, equals, text = assignment.partition("=")
    key, text = key.strip(), text.strip()
    if not equals or not key or not all(key.split(".")):
        raise InputError(
            f"--set {assignment}: KEY=VALUE is wanted",
            hint="--set limits.source.pps=5000; `xdpwall config show` lists every key",
        )
    *tables, last = key.split(".")
    node = data
    for name in tables:
        node = node.setdefault(name, {})
        if not isinstance(node, dict):
            raise InputError(
                f"--set {assignment}: {name} is no table", hint="`xdpwall config show` lists every key"
            )
    node[last] = _value(text)


def _value(text: str) -> Any:
    """As TOML would read it; a bare word (``10m``) is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text


def _nothing() -> NotFoundError:
    return NotFoundError(
        "no traffic is on record",
        hint="the controller (`xdpwall run`) records who comes near a limit; "
        "of a capture, `xdpwall explain FILE.pcap` tells what the wall does with it",
    )
