# SPDX-License-Identifier: Apache-2.0
"""The live screen. Textual and rich are imported here and nowhere else but in the verbs that draw."""
