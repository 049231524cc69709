# SPDX-License-Identifier: Apache-2.0
"""Tests of the command line and the doctor, without root and without a kernel's help."""
