# SPDX-License-Identifier: Apache-2.0
"""A wall in the NIC path of one Linux host: verdicts in the kernel, policy in Python."""

from __future__ import annotations

__version__ = "0.1.0.dev0"
