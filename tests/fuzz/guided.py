# SPDX-License-Identifier: Apache-2.0
"""One reader, guided by the branches it takes: ``python -m tests.fuzz.guided READER [options of libFuzzer]``.

Needs atheris (``pip install '.[fuzz]'``), which is large and only for this.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["xdpwall", "tomllib", "maxminddb", "dpkt"]):
    from tests.fuzz import readers


def main() -> None:
    """Ends with the process: libFuzzer does not come back."""
    reader = readers.readers()[sys.argv[1]]
    folder = Path(tempfile.mkdtemp(prefix="xdpwall-fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(reader.seeds):
        (corpus / str(number)).write_bytes(seed)

    def try_input(data: bytes) -> None:
        fault = readers.try_one(reader, data, folder)
        if fault:
            readers.tell(fault)
            raise AssertionError(fault.error)

    options = [f"-artifact_prefix={folder}/", "-close_fd_mask=0", *sys.argv[2:]]
    atheris.Setup([sys.argv[0], *options, str(corpus)], try_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
