# SPDX-License-Identifier: Apache-2.0
"""Making one text of C sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from xdpwall.dataplane.source import bpf_folder, inline
from xdpwall.errors import DataplaneError


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_headers_stand_in_place_of_their_includes(tmp_path: Path) -> None:
    write(
        tmp_path,
        main_c='#include <system.h>\n#include "a.h"\nint main;\n',
        a_h='int a;\n  #  include  "b.h"  \nint c;\n',
        b_h="int b;\n",
    )
    assert inline(tmp_path / "main.c").splitlines() == [
        '#line 1 "main.c"',
        "#include <system.h>",
        '#line 1 "a.h"',
        "int a;",
        '#line 1 "b.h"',
        "int b;",
        '#line 3 "a.h"',
        "int c;",
        '#line 3 "main.c"',
        "int main;",
    ]


def test_each_line_says_where_it_is_from(tmp_path: Path) -> None:
    """A compiler's message names the right file and line: count as a compiler does."""
    write(
        tmp_path,
        main_c='one\n#include "a.h"\ntwo\n#include "b.h"\nthree\n',
        a_h="a1\na2\n",
        b_h='#include "a.h"\nb2\n',
    )
    found = {}
    file, line = "", 0
    for text in inline(tmp_path / "main.c").splitlines():
        if text.startswith("#line"):
            _, number, file = text.split()
            line = int(number)
        else:
            found[text] = (file.strip('"'), line)
            line += 1
    assert found == {
        "one": ("main.c", 1),
        "a1": ("a.h", 1),
        "a2": ("a.h", 2),
        "two": ("main.c", 3),
        "b2": ("b.h", 2),
        "three": ("main.c", 5),
    }


def test_every_header_once(tmp_path: Path) -> None:
    main = '#include "a.h"\n#include "b.h"\n#include "a.h"\n'
    write(tmp_path, main_c=main, a_h='#include "b.h"\nint a;\n', b_h='#include "a.h"\nint b;\n')
    text = inline(tmp_path / "main.c")
    assert (text.count("int a;"), text.count("int b;")) == (1, 1)


def test_a_header_that_is_missing(tmp_path: Path) -> None:
    write(tmp_path, main_c='#include "gone.h"\n')
    with pytest.raises(DataplaneError, match=r"gone\.h"):
        inline(tmp_path / "main.c")


def test_the_real_program_is_one_text(checkout: Path) -> None:
    """bcc rewrites map accesses in the main text alone: no header of ours may stay an include."""
    assert bpf_folder() == checkout / "bpf"
    text = inline(bpf_folder() / "wall.c")
    assert '#include "' not in text
    for name in ("parse.h", "bans.h", "meters.h", "verdict.h"):
        assert f'#line 1 "{name}"' in text
