# SPDX-License-Identifier: Apache-2.0
"""Records to plain values and back, for the controller: its own records need no check, and pydantic takes memory.

What comes from outside is read by ``Incident.from_json``, which checks it.
"""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from xdpwall.errors import InputError

Record = TypeVar("Record")


def to_plain(value: Any) -> Any:
    """Dataclasses to dicts and tuples to lists, all the way down; numbers that JSON cannot write become None."""
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if is_dataclass(value):
        kind: Any = type(value)
        return {name: to_plain(getattr(value, name)) for name in _names(kind)}
    return value


def from_plain(kind: type[Record], data: Any) -> Record:
    """The inverse of :func:`to_plain`. Fields that are not there get their defaults; unknown ones are passed over.

    Raises:
        InputError: it is no such record at all.
    """
    try:
        return cast("Record", _revive(kind, data))
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"not a record that we wrote: {error}") from None


def _revive(kind: Any, data: Any) -> Any:
    if hasattr(kind, "__dataclass_fields__"):
        wanted = _kinds(kind)
        return kind(**{name: _revive(wanted[name], item) for name, item in data.items() if name in wanted})
    if get_origin(kind) is tuple:
        return tuple(_revive(get_args(kind)[0], item) for item in data)
    if get_origin(kind) in (Union, UnionType):
        return None if data is None else _revive(_other_than_none(kind), data)
    return data


def _other_than_none(kind: Any) -> Any:
    return next(part for part in get_args(kind) if part is not NoneType)


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


@cache
def _kinds(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {name: hints[name] for name in _names(kind)}
