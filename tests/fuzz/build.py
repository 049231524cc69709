# SPDX-License-Identifier: Apache-2.0
"""Compiles the driver for one wall: its C is that of the data path, with the constants of that wall."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from xdpwall.dataplane import source

HERE = Path(__file__).parent / "c"
FOLDER = Path(__file__).resolve().parents[2] / "build" / "fuzz"
_FLAGS = ("-O2", "-g", "-std=gnu11", "-fno-pie", "-Wall", "-Wextra", "-Werror")
# Branches are told by their addresses, which must be the same in each run: no position-independent program.
_NATIVE_FLAGS = (
    "-fsanitize-coverage=trace-pc",
    "-fsanitize=undefined",
    "-fno-sanitize=alignment",  # the data path reads packets at any alignment, see bpf/net.h
    "-fno-sanitize-recover=undefined",
    "-fno-strict-aliasing",
    "-w",  # the data path is written for clang, which has warned already
)


def compiler() -> str | None:
    """The C compiler, None where there is none: only gcc has what marks the branches in this form."""
    return shutil.which("gcc")


def build(defines: Mapping[str, int | str]) -> Path:
    """The driver for a wall, compiled if it is not there yet.

    Args:
        defines: as for ``bpf/wall.c``.

    Raises:
        RuntimeError: it does not compile; with the compiler's words.
    """
    flags = [f"-D{name}={value}" for name, value in sorted(defines.items()) if name != "SEED"]
    digest = hashlib.sha256(repr((flags, _FLAGS, _NATIVE_FLAGS)).encode())
    for path in sorted([*HERE.rglob("*.[ch]"), *source.bpf_folder().glob("*.[ch]")]):
        digest.update(path.read_bytes())
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = FOLDER / f"driver-{digest.hexdigest()[:16]}"
    if made.exists():
        return made
    include = f"-I{HERE / 'include'}"
    part = FOLDER / f"{made.name}.{os.getpid()}"
    _run(["gcc", *_FLAGS, *_NATIVE_FLAGS, include, *flags, "-c", str(HERE / "native.c"), "-o", f"{part}.n.o"])
    _run(["gcc", *_FLAGS, include, "-c", str(HERE / "driver.c"), "-o", f"{part}.d.o"])
    _run(["gcc", "-no-pie", "-fsanitize=undefined", f"{part}.n.o", f"{part}.d.o", "-o", str(part)])
    for name in (f"{part}.n.o", f"{part}.d.o"):
        Path(name).unlink()
    part.rename(made)
    return made


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}\n{done.stderr}")
