# SPDX-License-Identifier: Apache-2.0
"""Packets kept as evidence: a pcapng file an incident, the verdict on each as its comment. Bounded; mode 0600."""

from __future__ import annotations

import logging
import os
import struct
from pathlib import Path
from typing import IO, Any

from xdpwall import __version__
from xdpwall.incident.model import Samples
from xdpwall.sample import Sample

log = logging.getLogger(__name__)

FOLDER = "incidents"
_LEAST_A_SECOND = 20
_BLOCK = struct.Struct("<II")
_HEADER_BLOCK = 0x0A0D0D0A


def path_of(folder: Path, number: int) -> Path:
    """Where the samples of an incident lie."""
    return folder / FOLDER / f"{number}.pcapng"


def sizes(folder: Path) -> dict[int, int]:
    """Size of each incident's file, by id."""
    found = {}
    for path in (folder / FOLDER).glob("*.pcapng"):
        if path.stem.isdigit():
            found[int(path.stem)] = path.stat().st_size
    return found


def forget(folder: Path, numbers: list[int]) -> None:
    """Remove the files of incidents that are no longer on record."""
    for number in numbers:
        path_of(folder, number).unlink(missing_ok=True)


class SampleFile:
    """One incident's file, open for as long as the incident is.

    What may be written in a second shrinks with what is left, so that a long attack is kept to its end.

    Args:
        folder: the state folder.
        number: the incident's id.
        most: packets in all.
        known: what is in it already, of before a restart.
    """

    def __init__(self, folder: Path, number: int, most: int, known: Samples | None = None) -> None:
        self._path = path_of(folder, number)
        self._most = most
        self._count = 0 if known is None else known.packets
        self._stream: IO[bytes] | None = None
        self._writer: Any = None
        self._broken = False

    def take(self, samples: list[tuple[float, Sample]]) -> None:
        """Write some of these: Unix time in seconds, and the packet. A full disk only loses samples."""
        allowed = min(self._most - self._count, max(_LEAST_A_SECOND, (self._most - self._count) // 30))
        if self._broken or allowed <= 0 or not samples:
            return
        step = max(1, len(samples) // allowed)
        try:
            self._write(samples[::step][:allowed])
        except OSError as error:
            self._broken = True
            log.error("%s: no more samples are kept: %s", self._path, error.strerror)

    def known(self) -> Samples:
        """For the record."""
        try:
            size = self._path.stat().st_size if self._count else 0
        except OSError:
            size = 0
        return Samples(str(self._path) if self._count else "", self._count, size)

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = self._writer = None

    def _write(self, samples: list[tuple[float, Sample]]) -> None:
        from pcapng import FileWriter, blocks  # noqa: PLC0415  (only an attack needs it)

        if self._stream is None or self._writer is None:
            self._stream = self._open()
            section = blocks.SectionHeader(options={"shb_userappl": f"xdpwall {__version__}"})
            section.new_member(
                blocks.InterfaceDescription,
                link_type=1,
                snaplen=0,
                options={"if_description": "in front of the wall"},
            )
            self._writer = FileWriter(self._stream, section)
        for at, sample in samples:
            verdict = "pass" if sample.passed else "drop"
            packet = self._writer.current_section.new_member(
                blocks.EnhancedPacket,
                options={"opt_comment": f"{verdict}: {sample.reason.label}; {sample.lane.label} lane"},
            )
            packet.interface_id = 0
            # The library's ``timestamp`` can only be read; microseconds are the default of the format.
            packet.timestamp_high, packet.timestamp_low = divmod(round(at * 1_000_000), 1 << 32)
            packet.packet_data = sample.head[: sample.captured]
            packet.packet_len = sample.length
            self._writer.write_block(packet)
            self._count += 1
        self._stream.flush()

    def _open(self) -> IO[bytes]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        stream = os.fdopen(fd, "r+b")
        stream.truncate(_whole_blocks(stream))
        stream.seek(0, os.SEEK_END)
        return stream


def _whole_blocks(stream: IO[bytes]) -> int:
    """How much of a file is whole blocks: a killed process may have left half a one."""
    size = os.fstat(stream.fileno()).st_size
    at = 0
    while at + 12 <= size:
        stream.seek(at)
        kind, length = _BLOCK.unpack(stream.read(_BLOCK.size))
        if length < 12 or length % 4 or at + length > size or (at == 0 and kind != _HEADER_BLOCK):
            break
        at += length
    return at
