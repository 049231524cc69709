# SPDX-License-Identifier: Apache-2.0
"""Tests in real network namespaces, of the lab and of the wall as its users drive it."""
