# SPDX-License-Identifier: Apache-2.0
"""Tests: unit (no root, no kernel), bpf (the real program), lab (real namespaces), system (as installed)."""
