# SPDX-License-Identifier: Apache-2.0
"""Tests of the controller, on a wall in memory and a clock that stands still."""
