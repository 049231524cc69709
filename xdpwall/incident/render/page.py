# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML file that needs nothing else: no script, no network, readable on a phone and on paper.

A Content-Security-Policy in the file forbids everything but its one style sheet, which is named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from xdpwall import __version__
from xdpwall.incident import saturation, story
from xdpwall.incident.model import Incident
from xdpwall.incident.render import svg, text, view

_PHONE, _PAGE = 400, 960
_UNIT = re.compile(r"(\d) (?=%|[kMGT]?(?:pps|bit/s|B)\b|million|billion|ms\b|s\b)")


def render(incident: Incident) -> str:
    """The page."""
    style = _read("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    marks = view.marks(incident)
    drawn = len(incident.timeline) >= 2
    return _template().render(
        incident=incident,
        view=view,
        story=story,
        t=text,
        style=Markup(style),  # noqa: S704 - our own file
        style_hash=digest,
        version=__version__,
        marks=marks,
        pictures=[_svg(svg.timeline(incident, marks, width)) for width in (_PAGE, _PHONE)] if drawn else [],
        series=svg.series(incident.timeline) if drawn else [],
        bar=lambda parts, label: _svg(svg.bar(parts, label)),
        sentences=story.sentences(incident),
        asks=saturation.asks(incident),
    )


def _svg(drawn: str) -> Markup:
    return Markup(drawn)  # noqa: S704 - serialised from a tree, which escapes


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_read),
    )
    environment.filters["clean"] = _clean
    environment.filters["tight"] = _tight
    return environment.get_template("report.html.j2")


def _clean(value: Any, limit: int = 300) -> str:
    return text.clean(value, limit)


def _tight(value: str) -> str:
    """No line break between a number and its unit."""
    return _UNIT.sub("\\1\u00a0", value)


def _read(name: str) -> str:
    return resources.files("xdpwall.incident.render").joinpath("templates", name).read_text(encoding="utf-8")
