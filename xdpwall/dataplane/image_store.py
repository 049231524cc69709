# SPDX-License-Identifier: Apache-2.0
"""Keeps compiled programs, so that LLVM is asked once for each version, configuration and compiler.

What is read here goes into the kernel, so it must be nobody's but root's: the folder and the file belong to root and
nobody else can write to either; anything else is passed over and compiled anew. A file names its own digest, so half of
one, or a damaged one, is passed over, too. To keep nothing is no fault: the next load takes two seconds longer.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from xdpwall.dataplane import source
from xdpwall.dataplane.image import FORMAT, Image

if TYPE_CHECKING:
    import hashlib

log = logging.getLogger(__name__)

FOLDER = Path("/var/cache/xdpwall/programs")
KEPT = 64
"""So many of the most recently used stay; one is about 150 KiB."""
_LIMIT = 8 << 20


def name_of(text: str, flags: list[str], bcc: Path | None) -> str:
    """What the image of this text is called: a digest of all that the compiler's answer depends on.

    Args:
        text: the whole C but for the system's headers.
        flags: of the compiler.
        bcc: folder of the compiler's Python module.
    """
    digest = _sha256()
    for part in (
        str(FORMAT),
        text,
        json.dumps(flags),
        platform.machine(),
        platform.release(),
        *_compiler(bcc),
        *(path.read_text(encoding="utf-8") for path in sorted((source.bpf_folder() / "kernel").rglob("*.h"))),
    ):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def read(name: str) -> Image | None:
    """The image of this name; None where none is kept, or it cannot be trusted."""
    folder = _open_folder(make=False)
    if folder is None:
        return None
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    finally:
        os.close(folder)
    with os.fdopen(fd, "rb") as file:
        there = os.fstat(fd)
        if not stat.S_ISREG(there.st_mode) or not _is_roots_alone(there) or there.st_size > _LIMIT:
            log.warning("%s is passed over: it is not a file of root's alone", FOLDER / name)
            return None
        digest, _, text = file.read(_LIMIT).partition(b"\n")
        with suppress(OSError):
            os.utime(fd)  # the oldest are thrown away first
    if _sha256(text).hexdigest().encode() != digest:
        return None
    try:
        return Image.from_text(text.decode())
    except ValueError as error:
        log.warning("%s is passed over: %s", FOLDER / name, error)
        return None


def keep(name: str, image: Image) -> None:
    """Keep an image, if the folder for it is root's alone or can be made. Only root keeps any."""
    if os.geteuid() != 0:
        return
    folder = _open_folder(make=True)
    if folder is None:
        return
    text = image.to_text().encode()
    temporary = f".{name}.{os.getpid()}"
    try:
        fd = os.open(
            temporary,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
            dir_fd=folder,
        )
        with os.fdopen(fd, "wb") as file:
            file.write(_sha256(text).hexdigest().encode() + b"\n" + text)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        _thin_out(folder)
    except OSError as error:
        log.info("the compiled program is not kept in %s: %s", FOLDER, error.strerror)
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
    finally:
        os.close(folder)


def _sha256(data: bytes = b"") -> hashlib._Hash:
    import hashlib

    return hashlib.sha256(data)


def _thin_out(folder: int) -> None:
    ages = []
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            ages.append((os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns, name))
    for _, name in sorted(ages)[:-KEPT]:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


def _open_folder(*, make: bool) -> int | None:
    """The folder, opened once so that nobody can put another in its place; None where it cannot be trusted."""
    if make:
        with suppress(OSError):
            FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        fd = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    if _is_roots_alone(os.fstat(fd)):
        return fd
    os.close(fd)
    log.warning("%s is passed over: others than root can write there", FOLDER)
    return None


def _is_roots_alone(there: os.stat_result) -> bool:
    return there.st_uid == 0 and not there.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _compiler(bcc: Path | None) -> list[str]:
    """Which compiler: bcc's version and the file of its library, which an update replaces."""
    found = [str(bcc)]
    if bcc is not None:
        with suppress(OSError):
            found.append((bcc / "version.py").read_text(encoding="utf-8", errors="replace"))
    for library in sorted(Path("/usr/lib").glob("*/libbcc.so.*")):
        with suppress(OSError):
            there = library.stat()
            found.append(f"{library} {there.st_size} {there.st_mtime_ns}")
    return found
