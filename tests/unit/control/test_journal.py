# SPDX-License-Identifier: Apache-2.0
"""What journald gets: fields, and never a wait."""

from __future__ import annotations

import io
import logging
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xdpwall.control import logs
from xdpwall.control.journal import JournalHandler
from xdpwall.control.logs import Throttle


class Journald:
    """Listens as journald does, and reads the native protocol."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(10)

    def entry(self) -> dict[str, str]:
        """The next entry: a field a line, or name, length and value where the value has lines of its own."""
        raw = self.socket.recv(1 << 16)
        found: dict[str, str] = {}
        while raw:
            line, _, raw = raw.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                (size,) = struct.unpack("<Q", raw[:8])
                value, raw = raw[8 : 8 + size], raw[9 + size :]
            found[name.decode()] = value.decode()
        return found


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    made = Journald(tmp_path / "socket")
    yield made
    made.socket.close()


@pytest.fixture
def logger(journald: Journald) -> Iterator[logging.Logger]:
    made = logging.Logger("xdpwall.test")
    handler = JournalHandler("lab", journald.path)
    made.addHandler(handler)
    yield made
    handler.close()


def test_fields(journald: Journald, logger: logging.Logger) -> None:
    throttle = Throttle(logger)
    throttle.line(
        "ban", "banned 203.0.113.9: udp", source="203.0.113.9", reason="udp", incident=None, other=1
    )
    assert journald.entry() == {
        "MESSAGE": "banned 203.0.113.9: udp",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "xdpwall",
        "LOGGER": "xdpwall.test",
        "XDPWALL_INSTANCE": "lab",
        "XDPWALL_EVENT": "ban",
        "XDPWALL_SOURCE": "203.0.113.9",
        "XDPWALL_REASON": "udp",
    }
    throttle.line("rule", "two\nlines", logging.WARNING, rule=7, incident=3)
    entry = journald.entry()
    assert (entry["MESSAGE"], entry["PRIORITY"]) == ("two\nlines", "4")
    assert (entry["XDPWALL_RULE"], entry["XDPWALL_INCIDENT"]) == ("7", "3")
    logger.error("no fields")
    assert journald.entry()["PRIORITY"] == "3"


def test_a_flood_of_lines_is_counted(journald: Journald, logger: logging.Logger) -> None:
    throttle = Throttle(logger, each_second=2)
    for number in range(1_000):
        throttle.line("ban", f"banned 45.0.0.{number}", source=f"45.0.0.{number}")
    throttle.second()
    assert [journald.entry()["MESSAGE"] for _ in range(3)] == [
        "banned 45.0.0.0",
        "banned 45.0.0.1",
        "ban: 998 more in this second",
    ]
    journald.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        journald.entry()


def test_journald_that_takes_nothing_holds_up_nobody(journald: Journald, logger: logging.Logger) -> None:
    for _ in range(20_000):
        logger.info("a line")
    (handler,) = logger.handlers
    assert isinstance(handler, JournalHandler)
    lost = handler.lost
    assert lost > 10_000, "its queue is full, and nobody waited for it"
    while handler.lost:
        journald.entry()
        logger.info("the next")
    journald.socket.setblocking(False)
    last = {}
    while True:
        try:
            last = journald.entry()
        except BlockingIOError:
            break
    assert last["MESSAGE"].endswith("lines before this one were lost)")


def test_a_restarted_journald(journald: Journald, logger: logging.Logger) -> None:
    logger.info("one")
    journald.entry()
    journald.socket.close()
    logger.info("two")  # nobody takes it
    journald.path.unlink()
    second = Journald(journald.path)
    logger.info("three")
    assert second.entry()["MESSAGE"] == "three (1 lines before this one were lost)"
    second.socket.close()


def test_where_lines_go(
    journald: Journald, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the journal where stderr is its stream; to stderr for anybody else."""
    logger = logging.getLogger("xdpwall")
    before = logger.handlers[:], logger.level, logger.propagate
    monkeypatch.setattr("logging_journald.JournaldTransport.SOCKET_PATH", journald.path)
    try:
        with (tmp_path / "stream").open("w") as stream:
            stat = os.fstat(stream.fileno())
            monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{stat.st_ino}")
            monkeypatch.setattr(sys, "stderr", stream)
            logs.set_up(instance="default")
            logger.info("to the journal")
        assert journald.entry()["XDPWALL_INSTANCE"] == "default"
        logger.handlers[0].close()
        for value in ("1:1", "nonsense", None):
            text = io.StringIO()
            monkeypatch.setattr(sys, "stderr", text)
            monkeypatch.setattr(text, "fileno", lambda: 2, raising=False)
            if value is None:
                monkeypatch.delenv("JOURNAL_STREAM")
            else:
                monkeypatch.setenv("JOURNAL_STREAM", value)
            logs.set_up()
            logger.info("to stderr")
            assert text.getvalue().endswith("INFO to stderr\n")
    finally:
        logger.handlers[:], logger.level, logger.propagate = before
