# SPDX-License-Identifier: Apache-2.0
"""Where people and other programs meet xdpwall: the command line and the doctor."""

from __future__ import annotations
