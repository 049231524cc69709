# SPDX-License-Identifier: Apache-2.0
"""Tests that break things on purpose: the real program, real namespaces, one fault at a time."""
