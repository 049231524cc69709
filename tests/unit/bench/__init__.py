# SPDX-License-Identifier: Apache-2.0
"""Tests of the bench's pure parts."""
