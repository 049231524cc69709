# SPDX-License-Identifier: Apache-2.0
"""Measures the wall beside its peers, on links of its own. See ``docs/guide/bench.md``."""
