# SPDX-License-Identifier: Apache-2.0
"""The table of the configuration about metrics."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from xdpwall.config_sections import Section
from xdpwall.config_types import refuse
from xdpwall.listen import split_listen


def _check_listen(text: str) -> str:
    try:
        split_listen(text)
    except ValueError:
        refuse(f'"{text}" is no address with a port; write it like "127.0.0.1:9779" or "[::1]:9779"')
    return text


class MetricsConfig(Section):
    """Counters for Prometheus, at ``/metrics``. No address of a source is ever in them."""

    enabled: bool = Field(default=False, description="Serve metrics over HTTP.")
    listen: Annotated[str, AfterValidator(_check_listen)] = Field(
        default="127.0.0.1:9779",
        description="Address and port. Whoever reaches it can read the counters: there is no password.",
    )
