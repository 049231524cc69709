# SPDX-License-Identifier: Apache-2.0
"""Collects the facts of this host. All I/O of the doctor is here and in ``links_read``; nothing is changed."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path

from xdpwall.config import Config
from xdpwall.control.client import call
from xdpwall.dataplane import layout, sys_bpf
from xdpwall.dataplane.compiler import bcc_folder
from xdpwall.dataplane.defines import possible_cpus
from xdpwall.dataplane.pins import is_bpffs
from xdpwall.dataplane.wall import Wall
from xdpwall.errors import ConfigError, KernelError, PrivilegeError, VerifierError, XdpwallError
from xdpwall.interface.doctor.host import Bcc, Host, Standing
from xdpwall.interface.doctor.links_read import read_links
from xdpwall.paths import BPFFS, DEFAULT_CONFIG, Paths

# mov64 r0, 2 (XDP_PASS); exit
_TINY = bytes.fromhex("b7000000020000009500000000000000")
_TIME_ERROR = 5  # adjtimex(2)
_LIBRARIES = ("libbcc.so.0", "libbcc.so")


def collect(paths: Paths, interfaces: list[str], config_path: Path | None) -> Host:
    """Every fact about this host.

    Args:
        paths: of the instance that is asked about.
        interfaces: to look at; none means those of the config, else of the wall, else the likely ones.
        config_path: the config file, None for the default.

    Raises:
        InputError: ``config_path`` is given and cannot be read.
    """
    config, faults = _config(config_path)
    standing, hidden = _standing()
    wall = next((entry for entry in standing if entry.instance == paths.instance), None)
    names = interfaces or (list(config.interfaces) if config else [])
    if not names and wall is not None:
        names = [entry.name for entry in wall.interfaces]
    links, missing = read_links(names)
    error, jited = _try_bpf()
    return Host(
        release=os.uname().release,
        instance=paths.instance,
        load_error=error,
        jited=jited,
        bpffs=is_bpffs(BPFFS),
        cpus=os.cpu_count() or 1,
        possible_cpus=possible_cpus(),
        links=tuple(links),
        missing=tuple(missing),
        bcc=_bcc(),
        clock_synced=_clock_synced(),
        memlock=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        config=config,
        config_faults=faults,
        config_path=(config_path or DEFAULT_CONFIG).absolute(),
        standing=standing,
        hidden=hidden,
        controller_pid=_controller_pid(paths),
    )


def _config(path: Path | None) -> tuple[Config | None, tuple[str, ...]]:
    try:
        return Config.load(path), ()
    except ConfigError as error:
        return None, tuple(f"line {p.line}: {p.key}: {p.message}" for p in error.problems)
    except PrivilegeError as error:
        return None, (error.message,)


def _try_bpf() -> tuple[int, bool]:
    """The errno of loading a program of two instructions (0: it loaded), and whether it was compiled."""
    try:
        fd = sys_bpf.prog_load(_TINY, "xdpwall_doctor")
    except KernelError as error:
        return error.errno, False
    except VerifierError:
        return 22, False
    try:
        return 0, sys_bpf.prog_info(fd).jited_bytes > 0
    except KernelError:
        return 0, False
    finally:
        os.close(fd)


def _bcc() -> Bcc:
    folder = bcc_folder()
    if folder is None:
        return Bcc(None)
    version = ""
    try:
        # Read, not imported: importing brings LLVM into this process.
        text = (folder / "version.py").read_text(encoding="utf-8")
        version = text.partition("__version__")[2].lstrip(" =").splitlines()[0].strip("'\" ")
    except (OSError, IndexError):
        pass
    return Bcc(folder, version, _library_error())


def _library_error() -> str:
    """Why libbcc does not load; "" when it does. Tried in a process of its own, for LLVM's 100 MiB."""
    code = (
        "import ctypes, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n        ctypes.CDLL(name)\n"
        "    except OSError as error:\n        last = error\n"
        "    else:\n        sys.exit(0)\n"
        "sys.exit(str(last))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *_LIBRARIES], capture_output=True, text=True, check=False
    )
    return done.stderr.strip() if done.returncode else ""


def _clock_synced() -> bool | None:
    """Whether the kernel's clock is disciplined, by adjtimex(2) with nothing to set; None when it cannot be asked."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = ctypes.create_string_buffer(512)  # struct timex is 208 bytes; modes = 0 reads only
    state = libc.adjtimex(timex)
    return None if state < 0 else state != _TIME_ERROR


def _controller_pid(paths: Paths) -> int:
    try:
        return int(call(paths, "ping", timeout=2.0)["pid"])
    except XdpwallError:
        return 0


def _standing() -> tuple[tuple[Standing, ...], bool]:
    """Every wall that is pinned, and whether they are hidden from this user."""
    try:
        names = sorted(entry.name for entry in (BPFFS / "xdpwall").iterdir() if entry.is_dir())
    except PermissionError:
        return (), True
    except OSError:
        return (), False
    return tuple(_wall(name) for name in names if "~" not in name), False


def _wall(instance: str) -> Standing:
    try:
        paths = Paths(instance)
        with Wall.open(paths) as wall:
            interfaces = tuple(wall.interfaces())
            digest = wall.info.config_digest
    except XdpwallError as error:
        return Standing(instance, fault=error.message)
    ids = frozenset(entry.expected_id for entry in interfaces if entry.expected_id)
    return Standing(instance, ids, interfaces, digest, _map_bytes(paths))


def _map_bytes(paths: Paths) -> int:
    """Memory of a wall's maps: of the arrays exactly, of hashes at full size; tries grow when they are used."""
    total = 0
    for shape in layout.MAPS:
        if shape.type == layout.LPM_TRIE:
            continue
        fd = sys_bpf.obj_get(paths.pins / "maps" / shape.name)
        try:
            total += sys_bpf.map_info(fd).max_entries * (
                shape.value_size + shape.key_size * (shape.type == layout.HASH)
            )
        finally:
            os.close(fd)
    return total
