# SPDX-License-Identifier: Apache-2.0
"""Whose configuration it is: who can change the file decides what root does with it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from xdpwall.errors import InputError

_MOST_BYTES = 16 << 20


def read_trusted(place: Path) -> bytes:
    """Read a configuration that nobody but root and the caller can change.

    The caller is whoever runs us, or ran `sudo`. The file is opened once and what was opened is looked at, so nobody
    can exchange it in between. A symbolic link is followed, for people keep configurations elsewhere: what counts is
    where it leads, and that nobody else can put another link or file in its place.

    Raises:
        InputError: others can change it, it is no regular file, or too large.
        OSError: it cannot be read.
    """
    handle = os.open(
        place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    )  # who opens a pipe would wait for a writer
    about = os.fstat(handle)
    if stat.S_ISDIR(about.st_mode):
        os.close(handle)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{place} is no regular file", hint="-c wants a TOML file")
        if about.st_size > _MOST_BYTES:
            raise InputError(f"{place} is larger than {_MOST_BYTES >> 20} MiB", hint="-c wants a TOML file")
        if os.geteuid() == 0:
            _check(place, about)
            _check_folder(place.resolve().parent)
            if place.is_symlink():
                _check_folder(place.parent.resolve())
        return file.read(_MOST_BYTES)


def _check(place: Path, about: os.stat_result) -> None:
    if about.st_uid not in _ours():
        raise InputError(
            f"{place} belongs to user {about.st_uid}, and root does what it says",
            hint=f"sudo chown root: {place}",
        )
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(
            f"{place} can be changed by others than its owner, and root does what it says",
            hint=f"sudo chmod go-w {place}",
        )


def _check_folder(folder: Path) -> None:
    """Who can write to the folder can put another file there, unless the sticky bit keeps files to their owners."""
    about = folder.stat()
    loose = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not about.st_mode & stat.S_ISVTX
    if loose or about.st_uid not in _ours():
        raise InputError(
            f"{folder} can be changed by others, and root does what the configuration in it says",
            hint=f"sudo chown root: {folder}; sudo chmod go-w {folder}",
        )


def _ours() -> set[int]:
    """Root, and who asked root: sudo and pkexec say who that is, and whoever could lie here is root already."""
    found = {0, os.geteuid()}
    for name in ("SUDO_UID", "PKEXEC_UID"):
        text = os.environ.get(name, "")
        if text.isascii() and text.isdigit():
            found.add(int(text))
    return found
