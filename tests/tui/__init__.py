# SPDX-License-Identifier: Apache-2.0
"""The live screen, driven as a person would: headless by Textual's pilot."""
