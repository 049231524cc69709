# SPDX-License-Identifier: Apache-2.0
"""On the host: compiles what an emulated machine asks for, since LLVM under emulation needs minutes each time.

python packaging/kernels/compile_here.py FOLDER CACHE    until it is ended; see packaging/kernels/asking.py

The compiler is the same as in there: the machine has this host's files. `NUMBER.ask` in a folder below FOLDER is a
request (JSON: entry, text, flags), `NUMBER.answer` the image, or the compiler's messages. CACHE keeps images for the
next kernel.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from xdpwall.dataplane import compiler
from xdpwall.errors import XdpwallError

_PAUSE_S = 0.05


def answer(request: dict[str, Any], cache: Path) -> str:
    """Compile one request, or take what was compiled of the same before."""
    kept = cache / hashlib.sha256(json.dumps(request).encode()).hexdigest()
    if kept.exists():
        return kept.read_text()
    try:
        image = compiler._compile(Path(request["entry"]), request["text"], request["flags"])
    except XdpwallError as error:
        return json.dumps({"error": error.message, "log": getattr(error, "log", "")})
    except Exception:  # noqa: BLE001 - told to who asked, whose test fails with it
        return json.dumps({"error": "the compiler on the host failed", "log": traceback.format_exc()})
    kept.write_text(image.to_text())
    return image.to_text()


def main(folder: Path, cache: Path) -> None:
    """Answer until we are ended."""
    cache.mkdir(parents=True, exist_ok=True)
    while True:
        for asked in sorted(folder.glob("*/*.ask")):
            request = json.loads(asked.read_text())
            asked.unlink()
            ready = asked.with_suffix(".ready")
            ready.write_text(answer(request, cache))
            ready.rename(asked.with_suffix(".answer"))
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
