# SPDX-License-Identifier: Apache-2.0
"""Compiles C with bcc. The only module that imports bcc.

bcc creates the maps and gives us the instructions; loading, pinning and attaching are ours (``sys_bpf``), because bcc
0.26 has no flags for a program load and no links.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import struct
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from xdpwall.dataplane import source
from xdpwall.errors import CompileError, LayoutError, MissingDependencyError

_LD_IMM64 = 0x18
_PSEUDO_MAP_FD = 1
_WARNINGS = (
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-function",
    "-Wno-unused-parameter",
    "-Wno-sign-compare",
)
# Faults of bcc's own headers and of its rewriter, not of ours (seen with 0.26 and 0.31).
_TOLERATED = (
    "-Wno-address-of-packed-member",
    "-Wno-macro-redefined",
    "-Wno-compare-distinct-pointer-types",
    "-Wno-gnu-variable-sized-type-not-at-end",
    "-Wno-pointer-sign",
    "-Wno-unknown-warning-option",
    "-Wno-duplicate-decl-specifier",
    "-Wno-deprecated-declarations",
)


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a C struct: its offset and size in bytes (size is the whole array's for an array)."""

    name: str
    offset: int
    size: int


class CompiledModule:
    """What one compile gave: maps that exist in the kernel, programs that do not yet.

    The maps live as long as this object or a pin holds them.
    """

    def __init__(self, bpf: Any) -> None:
        self._bpf = bpf

    def map_fd(self, name: str) -> int:
        """File descriptor of a map; owned by this object."""
        return int(self._bpf[name.encode()].map_fd)

    def value_fields(self, name: str) -> list[Field]:
        """Members of a map's value struct as the compiler laid it out; empty for a plain number."""
        leaf = self._bpf[name.encode()].Leaf
        fields = getattr(leaf, "_fields_", None)
        if not fields:
            return []
        return [Field(f[0], getattr(leaf, f[0]).offset, getattr(leaf, f[0]).size) for f in fields]

    def value_size(self, name: str) -> int:
        """Bytes of a map's value."""
        return ctypes.sizeof(self._bpf[name.encode()].Leaf)

    def program(self, name: str) -> bytes:
        """Instructions of a function, 8 bytes each."""
        code = self._bpf.dump_func(name.encode())
        if not code:
            raise CompileError(f"the C has no program {name!r}", "")
        return bytes(code)

    def close(self) -> None:
        """Let go of the compiler's memory and of maps that nobody pinned."""
        self._bpf.cleanup()


def compile_source(entry: Path, defines: Mapping[str, int | str] | None = None) -> CompiledModule:
    """Compile one entry file and its headers; creates its maps.

    Args:
        entry: a C file under :func:`xdpwall.dataplane.source.bpf_folder`.
        defines: constants handed to the compiler as ``-D``.

    Raises:
        CompileError: the compiler's messages are in ``log``.
        MissingDependencyError: bcc is not installed.
    """
    bcc = _import_bcc()
    flags = [f"-D{name}={value}" for name, value in (defines or {}).items()]
    flags += [f"-DPAGE_SIZE={os.sysconf('SC_PAGESIZE')}", *_WARNINGS, *_TOLERATED]
    text = source.inline(entry)
    log = ""
    with _kernel_source(), _captured_stderr() as messages:
        try:
            module = bcc.BPF(text=text.encode(), cflags=flags)
        except Exception as error:  # noqa: BLE001 - bcc raises nothing narrower; it becomes our CompileError below
            log = messages() or str(error)
            module = None
    if module is None:
        raise CompileError(
            f"{entry.name} did not compile",
            log,
            hint="run `xdpwall doctor`; if it finds nothing, this is a bug of xdpwall",
        )
    return CompiledModule(module)


def patch_map_fds(instructions: bytes, replacement: Mapping[int, int]) -> bytes:
    """Instructions with every reference to a map's file descriptor exchanged.

    Args:
        instructions: as :meth:`CompiledModule.program` gives them.
        replacement: old file descriptor to new.
    """
    code = bytearray(instructions)
    for at in range(0, len(code), 8):
        if code[at] == _LD_IMM64 and code[at + 1] >> 4 == _PSEUDO_MAP_FD:
            (fd,) = struct.unpack_from("<i", code, at + 4)
            if fd in replacement:
                struct.pack_into("<i", code, at + 4, replacement[fd])
    return bytes(code)


def patch_constant(instructions: bytes, placeholder: int, value: int) -> bytes:
    """Instructions with a load-time constant filled in (C: ``LOAD_TIME_CONSTANT(placeholder)``).

    Args:
        instructions: as :meth:`CompiledModule.program` gives them.
        placeholder: a 32-bit number that stands in the C.
        value: 32 bits, put in place of each.

    Raises:
        LayoutError: the placeholder is not there; C and Python are of two versions.
    """
    code = bytearray(instructions)
    found = False
    for at in range(0, len(code), 8):
        if code[at] == _LD_IMM64 and code[at + 1] >> 4 == 0:
            low, high = struct.unpack_from("<I", code, at + 4)[0], struct.unpack_from("<I", code, at + 12)[0]
            if (low, high) == (placeholder, 0):
                struct.pack_into("<I", code, at + 4, value)
                found = True
    if not found:
        raise LayoutError(
            f"the compiled program has no load-time constant {placeholder:#x}",
            hint="the installation mixes two versions: install xdpwall again",
        )
    return bytes(code)


def bcc_folder() -> Path | None:
    """Where the distribution's bcc module is, whether this interpreter sees it or not; None when nowhere.

    The package of that name on the Python index has no ``libbcc.py``, and is passed over.
    """
    candidates = [*sys.path, "/usr/lib/python3/dist-packages"]
    candidates += [str(p) for p in Path("/usr/lib").glob("python3*/site-packages")]
    for candidate in candidates:
        folder = Path(candidate, "bcc")
        if (folder / "libbcc.py").is_file() and (folder / "__init__.py").is_file():
            return folder
    return None


def _import_bcc() -> ModuleType:
    """Import the distribution's bcc, also from an interpreter or venv that does not see it.

    Raises:
        MissingDependencyError: it is not installed, or another package of that name stands in the way.
    """
    folder = bcc_folder()
    if folder is not None:
        return _import_from(folder / "__init__.py")
    raise MissingDependencyError(
        "bcc, which compiles the data path, is not installed",
        hint="Debian, Ubuntu: apt-get install python3-bpfcc; Fedora: dnf install python3-bcc;"
        " Arch: pacman -S python-bcc (the package named bcc of the Python index is something else)",
    )


def _import_from(init: Path) -> ModuleType:
    loaded = sys.modules.get("bcc")
    if loaded is not None and hasattr(loaded, "BPF"):
        return loaded
    spec = importlib.util.spec_from_file_location("bcc", init, submodule_search_locations=[str(init.parent)])
    if spec is None or spec.loader is None:
        raise MissingDependencyError(f"bcc at {init} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, OSError) as error:
        del sys.modules["bcc"]
        raise MissingDependencyError(
            f"bcc at {init} cannot be imported: {error}", hint="install the distribution's bcc library again"
        ) from error
    return module


@contextmanager
def _kernel_source() -> Iterator[None]:
    """Show bcc our own stub headers, so that no kernel headers are needed."""
    before = os.environ.get("BCC_KERNEL_SOURCE")
    os.environ["BCC_KERNEL_SOURCE"] = str(source.bpf_folder() / "kernel")
    try:
        yield
    finally:
        if before is None:
            del os.environ["BCC_KERNEL_SOURCE"]
        else:
            os.environ["BCC_KERNEL_SOURCE"] = before


@contextmanager
def _captured_stderr() -> Iterator[Any]:
    """Keep what LLVM writes to file descriptor 2; gives a function that reads it."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as sink:
        saved = os.dup(2)
        os.dup2(sink.fileno(), 2)

        def read() -> str:
            sink.seek(0)
            text = sink.read().decode(errors="replace")
            return re.sub(
                r"^.*modprobe.*not found\n|^Unable to find kernel headers.*\n", "", text, flags=re.M
            )

        try:
            yield read
        finally:
            os.dup2(saved, 2)
            os.close(saved)
