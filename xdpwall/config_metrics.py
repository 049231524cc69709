# SPDX-License-Identifier: Apache-2.0
"""The table of the configuration about metrics."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field

from xdpwall.config_sections import Section
from xdpwall.config_types import refuse


def split_listen(text: str) -> tuple[str, int]:
    """Address and port of ``127.0.0.1:9779`` or ``[::1]:9779``.

    Raises:
        ValueError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        address = str(ipaddress.IPv6Address(host[1:-1]))
    else:
        address = str(ipaddress.IPv4Address(host))
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"{port!r} is no port")
    return address, int(port)


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
