# SPDX-License-Identifier: Apache-2.0
"""The state file: what is in it stays in it, and no damage to it stops the wall."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from xdpwall.clock import ManualClock
from xdpwall.control.database import AllowEntry, Changes, Database, Event, Strike
from xdpwall.control.record import Rules
from xdpwall.control.store import MAX_WAITING, Store
from xdpwall.errors import StoreError
from xdpwall.model import Ban, Origin, Prefix

NOW = 1_700_000_000_000
BAN = Ban(Prefix.parse("203.0.113.9"), NOW, NOW + 5_000, "syn über 100/s", Origin.AUTO, 3)
WIDE = Ban(Prefix.parse("2001:db8::/48"), NOW, None, "", Origin.OPERATOR, 1)
ALLOW = AllowEntry(Prefix.parse("192.0.2.0/24"), NOW, "partner")


_OPENED: list[Database] = []


def opened(path: Path, *, now_ms: int = NOW, read_only: bool = False) -> Database:
    """A database that is closed when the test ends: Python 3.13 warns of one that is not."""
    database = Database(path, now_ms=now_ms, read_only=read_only)
    _OPENED.append(database)
    return database


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _OPENED:
        _OPENED.pop().close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_comes_back(path: Path) -> None:
    database = opened(path)
    assert database.fresh
    event = Event(NOW, "ban", BAN.prefix, "auto", "why")
    strike = Strike(BAN.prefix, 2, NOW)
    database.apply([Changes(bans=(BAN, WIDE), allowed=(ALLOW,), strikes=(strike,), events=(event,))])
    database.close()
    database = opened(path)
    assert not database.fresh
    assert set(database.bans()) == {BAN, WIDE}
    assert database.allow() == [ALLOW]
    assert list(database.strikes(NOW)) == [strike]
    assert list(database.strikes(NOW + 1)) == []
    assert database.history(10) == [(NOW, "ban", "203.0.113.9", "auto", "why")]


def test_only_root_may_look(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    database = opened(path)
    database.apply([Changes(bans=(BAN,))])
    assert mode(path.parent) == 0o700
    assert {mode(p) for p in path.parent.iterdir()} == {0o600}


def test_all_or_nothing(path: Path) -> None:
    database = opened(path)
    unfit = Changes(bans=(Ban(BAN.prefix, NOW, None, reason=None),))  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        database.apply([Changes(bans=(WIDE,)), unfit])
    assert list(database.bans()) == []


@pytest.mark.parametrize("damage", ["rubbish", "half", "newer"])
def test_an_unusable_file_is_kept_aside(path: Path, damage: str) -> None:
    database = opened(path)
    rows = tuple(Ban(Prefix((n + 2**24).to_bytes(4, "big"), 32), NOW, None, "x" * 50) for n in range(2_000))
    database.apply([Changes(bans=rows)])
    database.close()
    if damage == "rubbish":
        path.write_bytes(b"not a database at all" * 500)
    elif damage == "half":
        raw = bytearray(path.read_bytes())
        raw[8_192:40_960] = b"\xa5" * (40_960 - 8_192)
        path.write_bytes(raw)
    else:
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("PRAGMA user_version = 99")
        db.close()
    database = opened(path)
    assert database.fresh
    assert list(database.bans()) == []
    assert len(database.notes) == 1
    kept = path.with_name(f"state.db.kept-{NOW}")
    assert kept.exists()
    assert kept.name in database.notes[0]
    assert ("newer" if damage == "newer" else "damaged") in database.notes[0]
    database.apply([Changes(bans=(BAN,))])


def test_a_file_of_another_program_is_not_written_into(path: Path) -> None:
    path.parent.mkdir()
    target = path.parent / "precious"
    target.write_text("mine")
    path.symlink_to(target)
    with pytest.raises(StoreError):
        opened(path)
    assert target.read_text() == "mine"


def test_old_history_goes(path: Path) -> None:
    database = opened(path)
    database.apply([Changes(events=tuple(Event(NOW + n, "ban") for n in range(10)))])
    assert database.prune(history_before_ms=NOW + 6, strikes_before_ms=0) == 6
    assert [row[0] - NOW for row in database.history(100)] == [9, 8, 7, 6]
    assert len(database.history(100, NOW + 8)) == 2


def test_looking_changes_nothing(path: Path) -> None:
    with pytest.raises(StoreError):
        opened(path, read_only=True)
    assert not path.exists()
    opened(path).close()
    database = opened(path, read_only=True)
    assert list(database.bans()) == []
    with pytest.raises(StoreError):
        database.apply([Changes(bans=(BAN,))])


def test_a_hundred_thousand_bans_in_one_transaction(path: Path) -> None:
    database = opened(path)
    rows = (Ban(Prefix((n + 2**24).to_bytes(4, "big"), 32), NOW, NOW + n, "list") for n in range(100_000))
    database.apply([Changes(bans=rows)])
    assert sum(1 for _ in database.bans()) == 100_000


def test_rules_round_trip() -> None:
    rules = Rules(None, 5, 9, 20, (Prefix.parse("192.0.2.0/24"), Prefix.parse("2001:db8::/32")))
    assert Rules.parse(rules.text()) == rules
    for text in ("", "[]", "{}", '{"allow": 5}'):
        with pytest.raises(StoreError):
            Rules.parse(text)


def open_store(path: Path) -> Store:
    store = Store(path, ManualClock(NOW))
    store.open()
    store.start()
    return store


def test_the_writer_keeps_the_order(path: Path) -> None:
    store = open_store(path)
    for _ in range(50):
        store.submit(Changes(bans=(BAN, WIDE)))
        store.submit(Changes(lifted=(BAN.prefix,)))
    assert store.read(lambda database: list(database.bans())).result(10) == [WIDE]
    assert store.close()
    assert list(opened(path).bans()) == [WIDE]


def test_damage_in_mid_run_begins_a_fresh_file(path: Path) -> None:
    store = open_store(path)
    store.submit(Changes(bans=(BAN,), events=tuple(Event(NOW, "ban", detail="x" * 200) for _ in range(500))))
    store.read(lambda database: database._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()).result(10)
    store.read(lambda database: database._db.execute("PRAGMA cache_size = 0").fetchall()).result(10)
    raw = bytearray(path.read_bytes())
    raw[4_096:] = b"\x5a" * (len(raw) - 4_096)
    path.write_bytes(raw)
    with pytest.raises(StoreError):
        store.submit(Changes(bans=(WIDE,))).result(10)
    assert (store.lost, store.errors) == (True, 1)
    store.replace_all(Changes(clear=True, bans=(BAN, WIDE))).result(10)
    assert (store.lost, store.last_error) == (False, None)
    assert set(store.read(lambda database: list(database.bans())).result(10)) == {BAN, WIDE}
    store.close()


def test_no_disk_at_all(path: Path) -> None:
    path.parent.write_text("a file where the folder should be")
    store = open_store(path)
    assert store.lost
    with pytest.raises(StoreError):
        store.submit(Changes(bans=(BAN,))).result(10)
    path.parent.unlink()
    store.replace_all(Changes(bans=(BAN,))).result(10)
    assert list(opened(path).bans()) == [BAN]
    store.close()


def test_a_hanging_disk_does_not_fill_the_memory(path: Path) -> None:
    import threading

    store = open_store(path)
    go_on = threading.Event()
    store.read(lambda _: go_on.wait(30))
    futures = [store.submit(Changes(bans=(BAN,))) for _ in range(MAX_WAITING + 500)]
    assert store.lost
    assert isinstance(futures[-1].exception(10), StoreError)
    go_on.set()
    assert futures[0].exception(10) is None
    store.close()
