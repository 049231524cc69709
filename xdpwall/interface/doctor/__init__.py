# SPDX-License-Identifier: Apache-2.0
"""Examines a host: what xdpwall needs, what is there, and what to do about the difference.

``host`` collects facts (all I/O is there), each check turns facts into one finding, ``registry`` lists the checks.
"""

from __future__ import annotations
