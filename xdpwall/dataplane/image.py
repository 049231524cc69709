# SPDX-License-Identifier: Apache-2.0
"""What one compile gave, as plain data: the shapes of the maps, and each program's instructions.

An image needs neither the compiler nor the kernel, so it can be kept in a file; :mod:`xdpwall.dataplane.module` makes
maps of it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a C struct: its offset and size in bytes (size is the whole array's for an array)."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class MapSpec:
    """A map as the C declares it.

    ``fields``: of its value's struct; none for a plain number. ``whole``: the kernel's map has one value, all entries
    one behind the other, and programs have its address (``WHOLE`` of ``bpf/maps.h``).
    """

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    fields: tuple[Field, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """One compiled C file.

    Args:
        maps: in the order of the C.
        programs: instructions by function, 8 bytes each; where they speak of a map, its place in ``maps`` stands in the
            place of a file descriptor.
    """

    maps: tuple[MapSpec, ...]
    programs: Mapping[str, bytes]

    def to_text(self) -> str:
        """JSON, for a file."""
        return json.dumps(
            {
                "format": FORMAT,
                "maps": [asdict(spec) for spec in self.maps],
                "programs": {
                    name: base64.b64encode(code).decode("ascii") for name, code in self.programs.items()
                },
            }
        )

    @classmethod
    def from_text(cls, text: str) -> Image:
        """The inverse.

        Raises:
            ValueError: it is something else, or of another format.
        """
        try:
            raw = json.loads(text)
            if raw["format"] != FORMAT:
                raise ValueError(f"format {raw['format']}")
            maps = tuple(
                MapSpec(**{**spec, "fields": tuple(Field(**field) for field in spec["fields"])})
                for spec in raw["maps"]
            )
            programs = {name: base64.b64decode(code, validate=True) for name, code in raw["programs"].items()}
        except (TypeError, KeyError, AttributeError, binascii.Error) as error:
            raise ValueError(f"not a compiled program: {error}") from None
        return cls(maps, programs)
