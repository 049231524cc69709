# SPDX-License-Identifier: Apache-2.0
"""Tests of the incidents: their life, their record, what is found in it."""
