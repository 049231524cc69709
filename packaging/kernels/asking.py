# SPDX-License-Identifier: Apache-2.0
"""In an emulated machine: whatever would ask LLVM asks the host instead, see compile_here.py.

A plugin of pytest (`-p asking`), or the command: `python packaging/kernels/asking.py load -i eth0`. What comes back
is what the compiler in here would have made: the machine has the host's files, and a compile does not look at the
kernel. The maps are made by the kernel in here, and its verifier judges every program. KERNELS_ASK names the folder.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from xdpwall.dataplane import compiler
from xdpwall.dataplane.image import Image
from xdpwall.errors import CompileError

_PAUSE_S = 0.05
_PATIENCE_S = 300.0
_numbers = itertools.count()


def ask(entry: Path, text: str, flags: list[str]) -> Image:
    """In the place of the compiler's own."""
    request = Path(os.environ["KERNELS_ASK"], f"{os.getpid()}-{next(_numbers)}.ask")
    writing, answer = request.with_suffix(".writing"), request.with_suffix(".answer")
    writing.write_text(json.dumps({"entry": str(entry), "text": text, "flags": flags}))
    writing.rename(request)
    until = time.monotonic() + _PATIENCE_S
    while not answer.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"the host did not compile {entry} within {_PATIENCE_S:g} s")
        time.sleep(_PAUSE_S)
    found = answer.read_text()
    answer.unlink()
    told = json.loads(found)
    if "error" in told:
        raise CompileError(told["error"], told["log"])
    return Image.from_text(found)


compiler._compile = ask

if __name__ == "__main__":
    from xdpwall.interface.cli.main import main

    main()
