# SPDX-License-Identifier: Apache-2.0
"""Does the kernel do what the controller believes? Pure judgements, and the watch that asks, mends and tells."""
