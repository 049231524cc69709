# SPDX-License-Identifier: Apache-2.0
"""Ways out of the controller: metrics, the journal."""
