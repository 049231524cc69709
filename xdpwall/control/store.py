# SPDX-License-Identifier: Apache-2.0
"""The state file behind a thread: nothing that the tick does waits for a disk.

One thread owns the :class:`~xdpwall.control.database.Database`. Whatever waits when it gets to work goes into one
transaction. A caller that must not answer before the commit awaits the future; the tick lets it go. When writing fails
the wall goes on: ``lost`` says that the file is behind, and the controller writes it anew when it can be written again.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from xdpwall.clock import Clock
from xdpwall.control.database import Changes, DamagedError, Database
from xdpwall.errors import StoreError

T = TypeVar("T")
log = logging.getLogger(__name__)

MAX_WAITING = 2_000
"""Most changes in the queue: a disk that hangs must not fill the memory. More are refused, and ``lost`` is set."""
_TOGETHER = 200


class Store:
    """The writer thread.

    Args:
        path: the state file. When it cannot be opened the wall goes on without, and each write tries anew.
        clock: for the name of a damaged file that is kept aside.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._database: Database | None = None
        self._queue: queue.SimpleQueue[tuple[Changes | Callable[[Database], object], Future[object]] | None]
        self._queue = queue.SimpleQueue()
        self._closed = False
        self.errors = 0
        """Transactions that failed."""
        self.last_error: str | None = None
        """Why something is missing in the file; None when nothing is."""
        self.lost = False
        """Whether the file lacks something that was submitted."""
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    def open(self) -> Database | None:
        """Open the file, before :meth:`start`; None when that fails. Tells what had to be done to it."""
        try:
            return self._open()
        except StoreError as error:
            self._failed(error)
            return None

    def start(self) -> None:
        """Begin to write. From now on the file is the thread's alone."""
        self._thread.start()

    def submit(self, changes: Changes) -> Future[object]:
        """Write this soon. The future is done after the commit, or carries a StoreError."""
        return self._put(changes)

    def read(self, question: Callable[[Database], T]) -> Future[T]:
        """Ask the database in its thread, after everything submitted so far."""
        return self._put(question)  # type: ignore[return-value]  # the thread sets what the question gives

    def replace_all(self, changes: Changes) -> Future[object]:
        """Like :meth:`submit`, for changes that hold all there is: when they are committed nothing is lost any more."""
        self.lost = False  # whatever fails from now on, this included, sets it again
        return self._put(changes)

    def close(self, seconds: float = 10.0) -> bool:
        """Write all that waits, close the file, end the thread. Gives whether that was done in time."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        if self._thread.ident is None:
            self._run()
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _open(self) -> Database:
        if self._database is None:
            self._database = Database(self._path, now_ms=self._clock.wall_ms())
            self._tell(self._database)
        return self._database

    @staticmethod
    def _tell(database: Database) -> None:
        for note in database.notes:
            log.error("%s", note)
        database.notes.clear()

    def _put(self, job: Changes | Callable[[Database], object]) -> Future[object]:
        future: Future[object] = Future()
        if self._closed or self._queue.qsize() >= MAX_WAITING:
            self._failed(StoreError("the state database is too far behind: a slow or hanging disk?"))
            future.set_exception(StoreError("the state database is too far behind: a slow or hanging disk?"))
            return future
        self._queue.put((job, future))
        return future

    def _run(self) -> None:
        closing = False
        while not closing:
            jobs = [self._queue.get()]
            while len(jobs) < _TOGETHER and not self._queue.empty():
                jobs.append(self._queue.get())
            batch: list[Changes] = []
            futures: list[Future[object]] = []
            for item in jobs:
                if item is None:
                    closing = True
                    break
                job, future = item
                if isinstance(job, Changes):
                    batch.append(job)
                    futures.append(future)
                    continue
                self._commit(batch, futures)  # a question is answered after what was submitted before it
                batch, futures = [], []
                self._answer(job, future)
            self._commit(batch, futures)
        if self._database is not None:
            self._database.close()

    def _commit(self, batch: list[Changes], futures: list[Future[object]]) -> None:
        if not batch:
            return
        try:
            self._open().apply(batch)
        except StoreError as error:
            self._failed(error)
            if isinstance(error, DamagedError):
                self._replace()
            for future in futures:
                future.set_exception(error)
            return
        except Exception as error:
            # A bug, not a full disk: the thread must live on, and whoever waits must be told.
            log.exception("writing the state database failed")
            self._failed(StoreError(f"the state database: {error!r}"))
            for future in futures:
                future.set_exception(error)
            return
        if not self.lost:  # else this went well, but something before it is still missing
            self.last_error = None
        for future in futures:
            future.set_result(None)

    def _answer(self, question: Callable[[Database], object], future: Future[object]) -> None:
        try:
            future.set_result(question(self._open()))
        except Exception as error:  # noqa: BLE001  (handed to whoever asked, nothing is swallowed)
            if isinstance(error, DamagedError):
                self._failed(error)
                self._replace()
            future.set_exception(error)

    def _replace(self) -> None:
        assert self._database is not None
        try:
            self._database.replace_damaged(self._clock.wall_ms())
        except StoreError as error:
            self._failed(error)
            self._database = None
            return
        self._tell(self._database)

    def _failed(self, error: StoreError) -> None:
        if self.last_error is None:
            log.error("%s; bans are enforced all the same", error.message)
        self.errors += 1
        self.last_error = error.message
        self.lost = True
