# SPDX-License-Identifier: Apache-2.0
"""The table of the configuration about origins: whose database says which country and network an address belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from xdpwall.config_sections import Section
from xdpwall.config_types import refuse


def _absolute(text: str) -> str:
    if text and not text.startswith("/"):
        refuse(f'must be a whole path that begins with "/", not "{text}"')
    return text


PathText = Annotated[str, AfterValidator(_absolute)]


class GeoConfig(Section):
    """Databases of your own. Empty: the one of `xdpwall geo update`, else the one that is shipped."""

    database: PathText = Field(
        default="",
        max_length=4096,
        description="MMDB file that says countries, for example /var/lib/GeoIP/GeoLite2-Country.mmdb.",
    )
    asn_database: PathText = Field(
        default="",
        max_length=4096,
        description="MMDB file that says networks (AS), for example /var/lib/GeoIP/GeoLite2-ASN.mmdb.",
    )

    @property
    def country_file(self) -> Path | None:
        """Where ``database`` is, None if it is not set."""
        return Path(self.database) if self.database else None

    @property
    def network_file(self) -> Path | None:
        """Where ``asn_database`` is, None if it is not set."""
        return Path(self.asn_database) if self.asn_database else None
