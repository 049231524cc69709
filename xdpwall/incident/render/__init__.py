# SPDX-License-Identifier: Apache-2.0
"""Reports of one incident: HTML for people, Markdown for a chat, JSON, STIX 2.1, and a national centre's fields.

Each module has ``render(incident) -> str``. Everything in a record may come from packets or from other people's
databases, so every text of it is cleaned and escaped on its way out.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from xdpwall.errors import InputError

if TYPE_CHECKING:
    from xdpwall.incident.model import Incident

_MODULES = {"html": "page", "md": "markdown", "json": "record", "stix": "stix", "ncsc": "ncsc"}
FORMATS = tuple(_MODULES)
"""Names of the formats, as ``incident export --format`` takes them."""
SUFFIXES = {"html": ".html", "md": ".md", "json": ".json", "stix": ".stix.json", "ncsc": ".txt"}
"""How a file of each format is called."""


def render(incident: Incident, form: str) -> str:
    """The report of an incident as text, UTF-8 where bytes are wanted.

    Args:
        incident: the record.
        form: one of :data:`FORMATS`.

    Raises:
        InputError: there is no such format.
    """
    if form not in _MODULES:
        raise InputError(f"there is no report format {form!r}", hint=f"formats: {', '.join(FORMATS)}")
    module = importlib.import_module(f"{__package__}.{_MODULES[form]}")
    text: str = module.render(incident)
    return text
