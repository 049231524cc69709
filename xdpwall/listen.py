# SPDX-License-Identifier: Apache-2.0
"""An address with a port, to listen on."""

from __future__ import annotations

import ipaddress


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
