# SPDX-License-Identifier: Apache-2.0
"""Compiles C with bcc. The only module that imports bcc.

bcc gives us the instructions and the shapes of the maps; all the rest is ours (``sys_bpf``), because bcc 0.26 has no
flags for a program load and no links. LLVM takes two seconds for the wall, so what it gave is kept
(:mod:`xdpwall.dataplane.image_store`).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from xdpwall.dataplane import image_store, layout, source, sys_bpf
from xdpwall.dataplane.image import Field, Image, MapSpec
from xdpwall.dataplane.instructions import patch_map_fds, point_to_values
from xdpwall.dataplane.module import CompiledModule
from xdpwall.errors import CompileError, MissingDependencyError

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


def compile_source(
    entry: Path, defines: Mapping[str, int | str] | None = None, *, fresh: bool = False
) -> CompiledModule:
    """Compile one entry file and its headers, or take what was compiled of the same before; makes its maps.

    Args:
        entry: a C file under :func:`xdpwall.dataplane.source.bpf_folder`.
        defines: constants handed to the compiler as ``-D``; but ``SEED``, which differs from wall to wall, is filled in
            afterwards.
        fresh: ask the compiler in any case.

    Raises:
        CompileError: the compiler's messages are in ``log``.
        MissingDependencyError: bcc is not installed.
        KernelError: a map cannot be made.
    """
    constants = dict(defines or {})
    seed = constants.pop("SEED", None)
    flags = [f"-D{name}={value}" for name, value in constants.items()]
    flags += [f"-DPAGE_SIZE={os.sysconf('SC_PAGESIZE')}", *_WARNINGS, *_TOLERATED]
    text = source.inline(entry)
    folder = bcc_folder()
    name = image_store.name_of(text, flags, folder)
    image = None if fresh or folder is None else image_store.read(name)
    if image is None:
        image = _compile(entry, text, flags)
        image_store.keep(name, image)
    return CompiledModule(image, None if seed is None else int(seed))


def _compile(entry: Path, text: str, flags: list[str]) -> Image:
    bcc = _import_bcc()
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
    try:
        return _image(bcc, module)
    finally:
        module.cleanup()


def _image(bcc: Any, module: Any) -> Image:
    """What bcc compiled, as plain data. Its maps, of which we want the shapes alone, go with it."""
    lib = bcc.lib
    lib.bpf_num_tables.restype, lib.bpf_num_tables.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    lib.bpf_table_name.restype, lib.bpf_table_name.argtypes = (
        ctypes.c_char_p,
        [ctypes.c_void_p, ctypes.c_size_t],
    )
    names = [lib.bpf_table_name(module.module, at) for at in range(lib.bpf_num_tables(module.module))]
    places = {int(module[name].map_fd): at for at, name in enumerate(names)}
    functions = [
        lib.bpf_function_name(module.module, at) for at in range(lib.bpf_num_functions(module.module))
    ]
    specs = tuple(_map_spec(module[name], name.decode()) for name in names)
    whole = {layout.BY_NAME[spec.name].place: at for at, spec in enumerate(specs) if spec.whole}
    programs = {
        name.decode(): point_to_values(patch_map_fds(bytes(module.dump_func(name)), places), whole)
        for name in functions
    }
    return Image(specs, programs)


def _map_spec(table: Any, name: str) -> MapSpec:
    info = sys_bpf.map_info(int(table.map_fd))
    leaf = getattr(table, "Leaf", None)
    members = getattr(leaf, "_fields_", ())
    fields = tuple(Field(m[0], getattr(leaf, m[0]).offset, getattr(leaf, m[0]).size) for m in members)
    shape = layout.BY_NAME.get(name)
    return MapSpec(
        name,
        info.type,
        info.key_size,
        info.value_size,
        info.max_entries,
        info.flags,
        fields,
        whole=shape is not None and shape.place != 0,
    )


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
