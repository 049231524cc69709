# SPDX-License-Identifier: Apache-2.0
"""The command line: a file a verb. Only ``main`` decides about tracebacks and exit codes.

The verbs that only ask must start fast: nothing here imports bcc, pyroute2, numpy or pydantic at module level, and rich
comes in only when there is something to draw.
"""

from __future__ import annotations
