# SPDX-License-Identifier: Apache-2.0
"""Mutated packets and hostile bytes: see docs/guide/fuzzing.md."""
