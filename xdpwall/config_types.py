# SPDX-License-Identifier: Apache-2.0
"""Kinds of value that a config key can have, each with its reading, its check and its way back to text."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, GetCoreSchemaHandler, PlainSerializer, PlainValidator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from xdpwall.errors import AddressError
from xdpwall.interface_name import interface_fault
from xdpwall.model import Prefix, parse_duration_ms
from xdpwall.observe import PARTS

PROBLEM = "xdpwall"
"""The pydantic error type whose message is already one of ours."""


def refuse(message: str) -> NoReturn:
    """Fail the validation of one key with this message."""
    raise PydanticCustomError(PROBLEM, "{text}", {"text": message})


def duration_text(milliseconds: int) -> str:
    """A duration as the config writes it, exact: ``1d``, ``1h30m``, ``1s500ms``."""
    parts: list[str] = []
    for unit, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")):
        count, milliseconds = divmod(milliseconds, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0ms"


@dataclass(frozen=True, slots=True)
class Duration:
    """Annotation of a key that is a duration: text in the file, whole milliseconds in Python.

    Args:
        shortest: the shortest that is taken, as text.
        longest: the longest.
    """

    shortest: str
    longest: str

    def read(self, value: object) -> int:
        """Text to milliseconds; fails the validation when it is no duration or out of range."""
        if not isinstance(value, str):
            refuse(f'must be a duration in quotes, like "90s", "10m" or "1h30m", not {describe(value)}')
        try:
            milliseconds = parse_duration_ms(value)
        except AddressError:
            refuse(f'"{value}" is no duration; write it like "90s", "10m" or "1h30m"')
        if milliseconds is None:
            refuse(f'"perm" is not taken here; the longest is "{self.longest}"')
        if (
            not (parse_duration_ms(self.shortest) or 0)
            <= milliseconds
            <= (parse_duration_ms(self.longest) or 0)
        ):
            refuse(f'must be from "{self.shortest}" to "{self.longest}", and "{value}" is not')
        return milliseconds

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Tell pydantic how the key is read and written."""
        del source, handler
        return core_schema.no_info_plain_validator_function(
            self.read, serialization=core_schema.plain_serializer_function_ser_schema(duration_text)
        )


def describe(value: object) -> str:
    """A TOML value for a message: its kind and what it is."""
    if isinstance(value, bool):
        return f"{'true' if value else 'false'}"
    if isinstance(value, str):
        return f'the text "{value}"'
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, list | tuple):
        return "a list"
    return "a table" if isinstance(value, dict) else f"the date or time {value}"


def list_to_tuple(value: object) -> object:
    """TOML's lists become tuples, which stay as they are."""
    return tuple(value) if isinstance(value, list) else value


def round_up_to_power_of_two(value: int) -> int:
    """The next power of two that is not smaller; tables in the kernel are indexed by a mask."""
    return 1 << (value - 1).bit_length()


def _check_interface(name: str) -> str:
    fault = interface_fault(name)
    if fault:
        refuse(fault)
    return name


InterfaceName = Annotated[str, AfterValidator(_check_interface)]


def _check_part(name: str) -> str:
    if name not in PARTS:
        close = difflib.get_close_matches(name, PARTS, 1)
        meant = f'did you mean "{close[0]}"?' if close else f"there are: {', '.join(PARTS)}"
        refuse(f'"{name}" is nothing that can be observed by itself; {meant}')
    return name


Part = Annotated[str, AfterValidator(_check_part)]


def _read_allowed(value: object) -> Prefix:
    if isinstance(value, Prefix):
        return value
    if not isinstance(value, str):
        refuse(f'must be an address or prefix in quotes, like "192.0.2.0/24", not {describe(value)}')
    try:
        prefix = Prefix.parse(value)
    except AddressError as error:
        refuse(f"{error.message} ({error.hint})" if error.hint else error.message)
    if prefix.length == 0:
        refuse(f'"{value}" would let everything pass; to drop nothing, set policy = "observe"')
    return prefix


AllowedPrefix = Annotated[Prefix, PlainValidator(_read_allowed), PlainSerializer(str, return_type=str)]
