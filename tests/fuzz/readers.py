# SPDX-License-Identifier: Apache-2.0
"""What reads bytes from outside, and hostile bytes for it.

A reader may give a value, or raise an error of xdpwall's own that says what is wrong. Anything else is a finding.
"""

from __future__ import annotations

import random
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.fuzz import samples
from tests.fuzz.build import FOLDER
from xdpwall.errors import XdpwallError

FINDINGS = FOLDER / "findings"
LONGEST = 1 << 16
_WORDS = (
    b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0", b"\xd4\xc3\xb2\xa1",
    b"\n", b"\r\n", b"=", b'"', b"'", b"[", b"]", b"{", b"}", b"[" * 3000, b"#", b"-", b"1e400", b"Infinity", b"NaN",
    b"-1", b"9" * 30, b"9" * 5000, b"null", b"true", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\xef\xbb\xbf",
    b"::", b"/", b"/129", b"0x", b"%n", b"\x1b[2J", "\u202e".encode(), b"1979-05-27T07:32:00Z", b".", b"a" * 300,
)  # fmt: skip

Read = Callable[[bytes, Path], object]
"""Given the bytes and a folder that is its own, reads the bytes. Raises what it likes."""


@dataclass(frozen=True)
class Reader:
    """Something that reads bytes.

    Args:
        name: of it.
        seeds: good input.
        read: see :data:`Read`.
    """

    name: str
    seeds: Sequence[bytes]
    read: Read


@dataclass(frozen=True)
class Fault:
    """A finding: the input, and how the reader ended."""

    reader: str
    data: bytes
    error: str
    trace: str


@cache
def readers() -> dict[str, Reader]:
    """All of them, by name."""
    return {name: Reader(name, tuple(seeds()), read) for name, (seeds, read) in samples.READERS.items()}


def try_one(reader: Reader, data: bytes, folder: Path) -> Fault | None:
    """Let it read. Gives the fault, None for none."""
    try:
        reader.read(data, folder)
    except XdpwallError as error:
        if not error.message.strip():
            return Fault(reader.name, data, "an error without words", "")
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return Fault(reader.name, data, f"{type(error).__name__}: {error}"[:300], traceback.format_exc())
    return None


def mutate(data: bytes, dice: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Other bytes made of these."""
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 3, 5, 9))):
        at = dice.randrange(len(out) + 1)
        kind = dice.randrange(8)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << dice.randrange(8)
        elif kind == 1 and out:
            out[at % len(out)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        elif kind == 2:
            out[at:at] = dice.choice(_WORDS)
        elif kind == 3:
            word = dice.choice(_WORDS)
            out[at : at + len(word)] = word
        elif kind == 4:
            del out[at : at + dice.randrange(1, 32)]
        elif kind == 5:
            del out[at:]
        elif kind == 6:
            end = min(len(out), at + dice.randrange(1, 64))
            out[at:at] = out[at:end] * dice.choice((1, 2, 50))
        else:
            other = dice.choice(seeds)
            cut = dice.randrange(len(other) + 1)
            out[at:] = other[cut:]
    return bytes(out[:LONGEST])


def run(dice: int, seconds: float, only: Iterable[str] = ()) -> int:
    """Try each reader for its part of the time, and tell. Gives the number of findings."""
    chosen = [reader for name, reader in readers().items() if not only or name in only]
    found = 0
    for reader in chosen:
        chance = random.Random(f"{dice} {reader.name}")
        end = time.monotonic() + seconds / len(chosen)
        tried, faults = 0, dict[str, Fault]()
        with tempfile.TemporaryDirectory(prefix="xdpwall-fuzz-") as folder:
            for seed in reader.seeds:
                fault = try_one(reader, seed, Path(folder))
                if fault:
                    faults.setdefault(_place(fault), fault)
            while time.monotonic() < end:
                data = mutate(chance.choice(reader.seeds), chance, reader.seeds)
                tried += 1
                fault = try_one(reader, data, Path(folder))
                if fault:
                    faults.setdefault(_place(fault), fault)
        print(f"reader   {reader.name:12} {tried:>9,} inputs, {len(faults)} findings", flush=True)
        for fault in faults.values():
            tell(fault)
        found += len(faults)
    return found


def _place(fault: Fault) -> str:
    """Two faults with the same end are one."""
    lines = [line for line in fault.trace.splitlines() if line.lstrip().startswith("File ")]
    return lines[-1] if lines else fault.error


def tell(fault: Fault) -> None:
    """Write the input down and say how to try it again."""
    FINDINGS.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in FINDINGS.glob(f"{fault.reader}-*.bin")) + 1
    path = FINDINGS / f"{fault.reader}-{number}.bin"
    path.write_bytes(fault.data)
    print(f"  FINDING {fault.error}")
    for line in fault.trace.splitlines()[-3:]:
        print(f"    {line.strip()}")
    print(f'    again:  make fuzz ARGS="--only readers --reader {fault.reader} --replay {path}"')


def replay(name: str, path: Path) -> int:
    """Let one reader read one file. Gives the number of findings."""
    with tempfile.TemporaryDirectory(prefix="xdpwall-fuzz-") as folder:
        fault = try_one(readers()[name], path.read_bytes(), Path(folder))
    print(fault.trace if fault else f"{name} reads {path} as it should")
    return int(fault is not None)
