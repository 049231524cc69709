# SPDX-License-Identifier: Apache-2.0
"""The panic button: ban, lift, allow and ask with no controller, on the pins and the state file alone.

Gives the same result objects as the control socket. Who writes holds the instance's lock meanwhile, so a controller
that starts in the same moment waits its turn. A state file that cannot be used stops nobody: the kernel is written all
the same, and the result carries a warning. What the configuration says is taken from the state file, where the last
controller left it: no numpy, pydantic or pyroute2 in here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from xdpwall.clock import Clock, SystemClock
from xdpwall.control import identity, incident_ops, lock, observed, protocol, record, rulebook, switch, views
from xdpwall.control.book import Book
from xdpwall.control.database import AllowEntry, Changes, Database
from xdpwall.control.desk import Desk
from xdpwall.control.guard import Guard
from xdpwall.control.protection import Kept, Memory
from xdpwall.control.record import Rules
from xdpwall.control.results import ControllerResult, HistoryListResult, HistoryResult
from xdpwall.control.unfinished import CUT_SHORT, is_cut_short
from xdpwall.dataplane.interface import Dataplane
from xdpwall.errors import NoControllerError, NotFoundError, NotLoadedError, StoreError
from xdpwall.model import Ban, Origin
from xdpwall.paths import Paths
from xdpwall.ssh_connection import ssh_connection

OPS = frozenset(protocol.OPS) - {"ping", "sources", "reload", "session", "switch"}
"""What works without a controller."""
_WRITES = frozenset({"ban.add", "ban.del", "ban.flush", "allow.add", "allow.del"}) | rulebook.CHANGES
_WITHOUT_WALL = frozenset({"allow.add", "allow.del", "allow.list", "history"}) | incident_ops.OPS
_ASK_PROTECTED = frozenset({"ban.add", "allow.list"})
_PATIENCE_SECONDS = 5.0


def open_wall(paths: Paths) -> Dataplane:
    """Open the pinned wall.

    Raises:
        NotLoadedError: there is none.
    """
    from xdpwall.dataplane.wall import Wall  # noqa: PLC0415  (only when it is really needed)

    return Wall.open(paths)


def call(
    paths: Paths,
    op: str,
    *,
    clock: Clock | None = None,
    opener: Callable[[Paths], Dataplane] = open_wall,
    **args: Any,
) -> dict[str, Any]:
    """Carry out one op without a controller; the counterpart of ``client.call``.

    Args:
        paths: the instance.
        op: one of :data:`OPS`.
        clock: Unix time.
        opener: opens the wall.
        **args: the op's arguments, as on the control socket.

    Raises:
        NoControllerError: the op needs a controller, or one holds the instance and does not answer.
        NotLoadedError: nothing is loaded.
        XdpwallError: as the control socket's errors.
    """
    checked = protocol.check_args(op, args)
    if op not in OPS:
        raise NoControllerError(
            f"{op!r} needs a running controller", hint=f"start one: xdpwall --instance {paths.instance} run"
        )
    time = clock or SystemClock()
    with contextlib.ExitStack() as stack:
        stack.enter_context(identity.as_owner(paths))
        if op in _WRITES:
            stack.enter_context(_held(paths))
        wall = _wall(paths, op, opener)
        if wall is not None:
            stack.callback(wall.close)
        with _Session(paths, wall, time, writes=op in _WRITES) as session:
            return session.run(op, checked)


class _Session:
    """One op: the record, the wall, and the database as far as it can be used."""

    def __init__(self, paths: Paths, wall: Dataplane | None, clock: Clock, *, writes: bool) -> None:
        self._paths = paths
        self._wall = wall
        self._rules = Rules()
        self._clock = clock
        self._writes = writes
        self._warnings: list[str] = []
        self._database: Database | None = None

    def __enter__(self) -> _Session:
        if self._writes or self._paths.database.exists():
            try:
                self._database = Database(
                    self._paths.database, now_ms=self._clock.wall_ms(), read_only=not self._writes
                )
                self._warnings += self._database.notes
            except StoreError as error:
                self._warnings.append(error.message)
        return self

    def __exit__(self, *_: object) -> None:
        if self._database is not None:
            self._database.close()

    def run(self, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        now = self._clock.wall_ms()
        if op == "history" or op in incident_ops.OPS:
            return self._recorded(op, args)
        if op in {*rulebook.OPS, "observed"} and self._wall is not None:
            return self._rules_op(self._wall, op, args, now)
        try:
            known = self._read(now)
        except StoreError as error:
            self._warnings.append(error.message)
            self._database = None
            known = record.read(None, self._rules, now)
        self._learn_from_kernel(known, now)
        looked: tuple[list[str], list[str]] = ([], [])
        if op in _ASK_PROTECTED:
            looked = _protect(known.guard, known.kept, now)
        desk = Desk(self._wall, known.book, known.guard, self._clock, self._rules.ban_time_ms)
        if op in _WRITES:
            return self._write(desk, op, args)
        if op == "ban.test":
            return dict(desk.ban_test(args["prefix"]))
        if op == "ban.list":
            return {"bans": list(views.ban_results(self._wall, known.book, now))}
        if op == "allow.list":
            return dict(views.allow_list(known.guard, *looked))
        if op == "verdicts":
            moment = views.Moment.of(self._wall, self._clock)
            policy = "none" if moment.info is None else moment.info.policy
            return dict(views.verdicts(moment.counts, policy, observed=moment.observed))
        return self._status(known)

    def _read(self, now: int) -> record.Record:
        text = None if self._database is None else self._database.setting(record.RULES)
        if text is not None:
            self._rules = Rules.parse(text)
        return record.read(self._database, self._rules, now)

    def _write(self, desk: Desk, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        result: Mapping[str, Any]
        if op == "ban.add":
            result, changes = desk.ban_add(args["items"], defaults=args)
        elif op == "ban.del":
            result, changes = desk.ban_del(args["prefixes"])
        elif op == "ban.flush":
            result, changes = desk.ban_flush()
        elif op == "allow.add":
            result, changes = desk.allow_add(args["prefixes"], args["reason"])
        else:
            result, changes = desk.allow_del(args["prefixes"])
        self._commit(changes)
        return {**result, "warnings": [*result["warnings"], *self._warnings]}

    def _commit(self, changes: Changes) -> None:
        if self._database is None:
            self._warnings.append("done in the kernel, but not on record: a reload or reboot forgets it")
            return
        try:
            self._database.apply([changes])
        except StoreError as error:
            self._warnings.append(f"done in the kernel, but not on record: {error.message}")

    def _learn_from_kernel(self, known: record.Record, now: int) -> None:
        """What the kernel holds and the record does not know counts too: it is in force."""
        if self._wall is None:
            return
        for prefix in self._wall.allow.entries():
            if known.guard.allow.get(prefix) is None:
                origin = "operator" if self._database is None else "config"
                known.guard.allow.put(prefix, AllowEntry(prefix, now, origin=origin))
        if len(known.book) == len(self._wall.bans):
            return
        for ban in kernel_only(self._wall, known.book, now):
            known.book.put(ban)

    def _rules_op(self, wall: Dataplane, op: str, args: Mapping[str, Any], now: int) -> dict[str, Any]:
        if op == "observed":
            return dict(observed.result(wall.info, wall.observed(), wall.rules.entries()))
        result, changes = rulebook.run(wall.rules, op, args, now)
        if changes is not None:
            self._commit(changes)
            result["warnings"] += self._warnings
        return result

    def _status(self, known: record.Record) -> dict[str, Any]:
        moment = views.Moment.of(self._wall, self._clock)
        problems = [
            "no controller runs: nobody new is banned; what is banned stays banned until its time is up"
        ]
        who = lock.holder(self._paths)
        if who is not None:
            problems[0] = f"{who} holds this instance but does not answer"
        if moment.off is not None:
            problems.insert(0, switch.words(moment.off))
        if is_cut_short(self._paths):
            problems.append(CUT_SHORT)
        problems += views.interface_problems(moment.interfaces)
        problems += self._warnings
        return dict(
            views.status(
                self._paths.instance,
                moment,
                known.book,
                known.guard,
                controller=ControllerResult(running=False),
                state="DEGRADED" if moment.off is None else "OFF",
                problems=problems,
            )
        )

    def _recorded(self, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if self._database is None:
            what = "history" if op == "history" else "incident on record"
            why = self._warnings[0] if self._warnings else f"{self._paths.database} does not exist"
            raise NotFoundError(f"there is no {what}: {why}")
        if op == "history":
            return dict(history(self._database, args["limit"], args["since_ms"]))
        return incident_ops.answer(self._database, op, args)


def _protect(guard: Guard, kept: Kept, now_ms: int) -> tuple[list[str], list[str]]:
    """Find whom this host must not cut off, as a controller would. Gives where was looked, and what could not be."""
    from xdpwall.control.protect import Wanted, collect  # noqa: PLC0415  (brings psutil)
    from xdpwall.control.protector import newly_announced  # noqa: PLC0415

    evidence = collect(Wanted(kept.admins, kept.services, kept.never))
    memory = Memory()
    # Those whom the last controller saw logged in are found anew if they are; who was in his grace time stays in it.
    memory.recall((entry for entry in kept.entries if entry.until_ms), now_ms, kept.grace_ms)
    if kept.admins:
        memory.recall(newly_announced(ssh_connection(), kept.never, now_ms), now_ms, kept.grace_ms)
    guard.protect(memory.see(evidence.found, now_ms, kept.grace_ms))
    return evidence.used, evidence.lost


def history(database: Database, limit: int, since_ms: int) -> HistoryListResult:
    """The newest lines of history, newest first.

    Raises:
        StoreError: the file cannot be read.
    """
    rows = database.history(limit, since_ms)
    return HistoryListResult(
        history=[
            HistoryResult(at_ms=at, event=event, prefix=prefix, origin=origin, detail=detail)
            for at, event, prefix, origin, detail in rows
        ]
    )


def kernel_only(wall: Dataplane, book: Book, now_ms: int) -> Iterator[Ban]:
    """Live bans of the kernel that are not on record, as bans of origin ``kernel``."""
    for held in wall.bans.entries():
        if held.remaining_ms != 0 and book.get(held.prefix) is None:
            end = None if held.remaining_ms is None else now_ms + held.remaining_ms
            yield Ban(held.prefix, now_ms, end, "found in the kernel", Origin.KERNEL)


@contextlib.contextmanager
def _held(paths: Paths) -> Iterator[None]:
    try:
        with lock.hold(paths, "a command", wait_seconds=_PATIENCE_SECONDS):
            yield
    except lock.LockedError as error:
        raise NoControllerError(
            f"{error.holder} holds instance {paths.instance!r} but does not answer",
            hint="end that process (kill -9), then try again: the wall stays up meanwhile",
        ) from None


def _wall(paths: Paths, op: str, opener: Callable[[Paths], Dataplane]) -> Dataplane | None:
    try:
        return opener(paths)
    except NotLoadedError:
        if op not in _WITHOUT_WALL:
            raise
        return None
