# SPDX-License-Identifier: Apache-2.0
"""The table of the configuration about the line to the provider: when it counts as full."""

from __future__ import annotations

from pydantic import Field

from xdpwall.config_sections import Section


class UplinkConfig(Section):
    """The line to the provider. What does not fit is lost before this host, and only the provider can help."""

    bps: int = Field(
        default=0,
        ge=0,
        le=10**13,
        description="What each interface's line carries, bits per second. 0: what its port says. Set it where the "
        "provider sells less than the port could.",
    )
    full: float = Field(
        default=0.9,
        ge=0.1,
        le=1.0,
        allow_inf_nan=False,
        description="The line counts as full from this share on, 24 bytes a packet that are never counted included.",
    )
