# SPDX-License-Identifier: Apache-2.0
"""Changes values in a config file's text, and leaves everything else of it as its owner wrote it.

tomlkit keeps comments, order and layout. What it gives is read again and compared before anybody uses it: a file comes
out with exactly the wanted values changed, or not at all.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import stat
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xdpwall.errors import InputError, PrivilegeError, XdpwallError

_HEADER = re.compile(r"\s*\[([^\[\]]+)\]\s*(#.*)?")


def with_values(text: str, values: Mapping[str, int]) -> str:
    """The text with these keys set.

    Args:
        text: of a TOML file; may be empty.
        values: by dotted key, for example ``lanes.udp.pps``.

    Raises:
        InputError: the file says these keys in a form that cannot be changed safely.
    """
    import tomlkit  # noqa: PLC0415  (slow; only what changes a file needs it)
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    before = tomllib.loads(text)
    wanted = tomllib.loads(text)
    for key, value in values.items():
        _set(wanted, key.split("."), value)
        text = _beside_dotted(_uncommented(text, key, before), key, value)
    try:
        document = tomlkit.parse(text)
        for key, value in values.items():
            *tables, last = key.split(".")
            node: Any = document
            for at, name in enumerate(tables):
                if name not in node:
                    node[name] = tomlkit.table(is_super_table=at < len(tables) - 1)
                node = node[name]
            node[last] = value
        changed = tomlkit.dumps(document)
        if tomllib.loads(changed) == wanted:
            return changed
    except (TOMLKitError, tomllib.TOMLDecodeError, TypeError, KeyError, ValueError):
        pass  # told below: whatever went wrong, the file is left alone
    lines = "; ".join(f"{key} = {value}" for key, value in values.items())
    raise InputError(
        "the file cannot be changed without touching more of it", hint=f"write it by hand: {lines}"
    )


def difference(before: str, after: str, name: str) -> str:
    """What changes, as a unified diff of the file ``name``."""
    old, new = before.splitlines(), after.splitlines()
    # Not difflib.unified_diff: in a file with many equal comments it takes these for junk, and shows too much.
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    lines = [f"--- {name}", f"+++ {name} (new)"]
    for group in matcher.get_grouped_opcodes(1):
        lines.append(f"@@ -{group[0][1] + 1} +{group[0][3] + 1} @@")
        for tag, low, high, new_low, new_high in group:
            if tag == "equal":
                lines += [f" {line}" for line in old[low:high]]
                continue
            lines += [f"-{line}" for line in old[low:high]]
            lines += [f"+{line}" for line in new[new_low:new_high]]
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def replace_file(path: Path, before: str | None, after: str, *, keep: bool = True) -> Path | None:
    """Put the text in the file's place in one step, and keep what was there. Gives where, None when nothing was.

    Owner and mode stay. A link stays a link: what it points to is replaced.

    Args:
        path: the file.
        before: what it held when it was read, None when it was not there. If it holds something else now, somebody
            else is at work on it.
        after: the new text.
        keep: False: no copy is kept, for who made one before (:func:`keep_copy`).

    Raises:
        XdpwallError: it changed meanwhile, or cannot be written.
    """
    place = path.resolve()
    try:
        now = read_text(place)
        if now != before:
            raise XdpwallError(f"{path} changed meanwhile", hint="look at it, then try again")
        place.parent.mkdir(parents=True, exist_ok=True)
        kept = _keep(place) if keep and before is not None else None
        fresh = place.with_name(f".{place.name}.{os.getpid()}.new")
        try:
            _write(fresh, after, place if before is not None else None)
            fresh.replace(place)
        finally:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
    except PermissionError:
        raise PrivilegeError(f"{path}: may not be written by this user", hint="run it with sudo") from None
    except OSError as error:
        raise XdpwallError(f"{path}: cannot be written: {error.strerror}") from None
    return kept


def read_text(path: Path) -> str | None:
    """A config file's text as :func:`replace_file` compares it; None when there is no file.

    Raises:
        OSError: it cannot be read. UnicodeDecodeError: it is no UTF-8.
    """
    return path.read_bytes().decode("utf-8-sig") if path.exists() else None


def keep_copy(path: Path) -> Path:
    """Keep a copy of the file beside it, with its owner and mode. Gives where.

    Raises:
        XdpwallError: it cannot be written.
    """
    try:
        return _keep(path.resolve())
    except PermissionError:
        raise PrivilegeError(f"{path}: may not be copied by this user", hint="run it with sudo") from None
    except OSError as error:
        raise XdpwallError(f"{path}: no copy can be kept: {error.strerror}") from None


def _keep(place: Path) -> Path:
    """A copy beside the file, named by the time of day in UTC."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    kept = place.with_name(f"{place.name}.{stamp}.bak")
    number = 1
    while kept.exists():
        kept = place.with_name(f"{place.name}.{stamp}-{number}.bak")
        number += 1
    _write(kept, place.read_bytes(), place)
    return kept


def _write(path: Path, text: str | bytes, like: Path | None) -> None:
    raw = text.encode() if isinstance(text, str) else text
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        if like is None:
            os.fchmod(handle, 0o644)
        else:
            was = like.stat()
            os.fchown(handle, was.st_uid, was.st_gid)
            os.fchmod(handle, stat.S_IMODE(was.st_mode))
        file.write(raw)
        file.flush()
        os.fsync(handle)


def _set(data: dict[str, Any], names: list[str], value: int) -> None:
    for name in names[:-1]:
        data = data.setdefault(name, {})
        if not isinstance(data, dict):
            raise InputError(f"{name} is no table in the config", hint="`xdpwall config check` says where")
    data[names[-1]] = value


def _has(data: Any, names: list[str]) -> bool:
    for name in names:
        if not isinstance(data, dict) or name not in data:
            return False
        data = data[name]
    return True


def _beside_dotted(text: str, key: str, value: int) -> str:
    """Where ``lanes.udp.pps = 5`` stands at the top, a new key goes there, too: a table would be a second one."""
    if _has(tomllib.loads(text), key.split(".")):
        return text
    lines = text.splitlines(keepends=True)
    for at, line in enumerate(lines):
        if line.lstrip().startswith("["):
            break
        if line.startswith(f"{key.partition('.')[0]}."):
            lines.insert(at, f"{key} = {value}\n")
            return "".join(lines)
    return text


def _uncommented(text: str, key: str, data: Mapping[str, Any]) -> str:
    """Bring the line to life that stands in the right table as a comment, as `config init` writes it."""
    table, _, last = key.rpartition(".")
    if _has(data, key.split(".")):
        return text
    comment = re.compile(rf"#\s*{re.escape(last)}\s*=\s*\d[\d_]*\s*(#.*)?")
    lines = text.splitlines(keepends=True)
    inside = False
    for at, line in enumerate(lines):
        header = _HEADER.fullmatch(line.rstrip("\r\n"))
        if header:
            inside = header[1].replace(" ", "").replace('"', "") == table
        elif inside and comment.fullmatch(line.strip()):
            lines[at] = line.replace("#", "", 1).lstrip(" ")
            changed = "".join(lines)
            try:
                if _has(tomllib.loads(changed), key.split(".")):
                    return changed
            except tomllib.TOMLDecodeError:
                return text
    return text
