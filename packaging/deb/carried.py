# SPDX-License-Identifier: Apache-2.0
"""Lists the libraries that the package carries, with version and licence as they say themselves."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distributions


def licence(carried: Distribution) -> str:
    """What a library says of its licence: an SPDX expression, a short text, or the classifiers of the index."""
    told = carried.metadata
    for field in ("License-Expression", "License"):
        text = dict(told.items()).get(field, "")
        if text and "\n" not in text and len(text) < 80:
            return text
    marks = [c.rpartition(" :: ")[2] for c in told.get_all("Classifier") or () if c.startswith("License ::")]
    return ", ".join(marks) or "see its folder *.dist-info"


def main(folder: str) -> None:
    """Print one line a library."""
    found = sorted(distributions(path=[folder]), key=lambda d: str(d.metadata["Name"]).lower())
    for carried in found:
        name = str(carried.metadata["Name"])
        if name != "xdpwall":
            print(f" {name} {carried.version}: {licence(carried)}")


if __name__ == "__main__":
    main(sys.argv[1])
