# SPDX-License-Identifier: Apache-2.0
"""Runs the command line: `python -m xdpwall` is the same as `xdpwall`."""

from __future__ import annotations

import sys

from xdpwall.interface.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
