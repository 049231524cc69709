# SPDX-License-Identifier: Apache-2.0
"""Tests of the data path: the real program, loaded by the real loader, met by packets through BPF_PROG_TEST_RUN."""

from __future__ import annotations
