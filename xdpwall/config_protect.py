# SPDX-License-Identifier: Apache-2.0
"""The table of the configuration about whom this host must not cut off."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from xdpwall.config_sections import Section
from xdpwall.config_types import AllowedPrefix, Duration, list_to_tuple


class ProtectConfig(Section):
    """Who is never banned, though not on the allowlist. `xdpwall allow list` shows whom it is about right now."""

    admins: bool = Field(
        default=True, description="Those from whose address somebody is logged in to this host."
    )
    grace_ms: Annotated[int, Duration("1s", "7d")] = Field(
        default=900_000,
        alias="grace",
        description="They stay protected for this long after the last session, so that a new login works.",
    )
    services: bool = Field(
        default=True, description="Gateways, resolvers, time servers and DHCP servers that this host uses."
    )
    never: Annotated[tuple[AllowedPrefix, ...], BeforeValidator(list_to_tuple)] = Field(
        default=(),
        description="Addresses and prefixes that can be banned whoever is logged in from there: say, of an intruder.",
    )
