# SPDX-License-Identifier: Apache-2.0
"""Finds the C and makes one text of an entry program and its headers.

bcc rewrites map accesses (``map.lookup(&key)``) only in the text of the main file, so our own headers are put in place
of their ``#include`` lines; ``#line`` keeps the compiler's messages true to the real files.
"""

from __future__ import annotations

import re
from pathlib import Path

from xdpwall.errors import DataplaneError

_INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"\s*')


def bpf_folder() -> Path:
    """The folder of C sources: inside the installed package, or beside it in a checkout.

    Raises:
        DataplaneError: neither is there; the installation is broken.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_bpf", package.parent / "bpf"):
        if folder.is_dir():
            return folder
    raise DataplaneError(
        f"the BPF sources are missing: neither {package / '_bpf'} nor {package.parent / 'bpf'} is there",
        hint="the installation is not whole: install xdpwall again",
    )


def inline(entry: Path) -> str:
    """Text of ``entry`` with each ``#include "x"`` replaced by that file, every file once.

    Raises:
        DataplaneError: a file is missing.
    """
    seen: set[Path] = set()

    def expand(path: Path) -> list[str]:
        resolved = path.resolve()
        if resolved in seen:
            return []
        seen.add(resolved)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise DataplaneError(f"cannot read {path}: {error.strerror}") from None
        lines = [f'#line 1 "{path.name}"']
        for number, line in enumerate(text.splitlines(), 1):
            match = _INCLUDE.fullmatch(line)
            if match:
                lines += expand(path.parent / match.group(1))
                lines.append(f'#line {number + 1} "{path.name}"')
            else:
                lines.append(line)
        return lines

    return "\n".join(expand(entry)) + "\n"
