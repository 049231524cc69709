# SPDX-License-Identifier: Apache-2.0
"""The BPF side: compile, load, attach, and handles on pinned maps. Nothing here decides who is banned."""
