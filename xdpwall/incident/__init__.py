# SPDX-License-Identifier: Apache-2.0
"""Incidents: what happened, from where, and what else was going on. Functions over values that are handed in."""
