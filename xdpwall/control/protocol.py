# SPDX-License-Identifier: Apache-2.0
"""The language of the control socket: JSON lines, one request and one answer per line.

A request is ``{"schema": 1, "op": "ban.add", ...arguments}``. An answer is ``{"schema": 1, "ok": true, "result": {}}``
or ``{"schema": 1, "ok": false, "error": {"message", "hint", "exit_code"}}``; an error about a config file carries
``"config": {"path", "problems": [{"key", "line", "message"}]}`` too. Standard library only: the light verbs use this.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from xdpwall.errors import (
    BusyError,
    ConfigError,
    ConfigProblem,
    InputError,
    NoControllerError,
    NotFoundError,
    RefusedError,
    XdpwallError,
)

SCHEMA = 1
MAX_REQUEST_BYTES = 16 << 20
"""Longest request line: about 200,000 bans with reasons."""
MAX_ITEMS = 200_000
"""Most prefixes in one request."""
BULK_ITEMS = 5_000
"""How many a client should put into one request of a bulk: small enough to be answered between two ticks."""
MAX_REASON = 200
"""Longest reason, characters."""
LONGEST_MS = 10 * 365 * 86_400_000
"""Longest ban with an end, ten years."""

SORTS = ("packets", "bytes", "pps", "bps", "syn", "udp", "icmp", "drops", "last")
"""What ``sources`` can sort by, largest first."""

Check = Callable[[str, Any], Any]
"""Takes a field's name and value, gives the value to use, or raises InputError."""


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name!r} must be a text that is not empty")
    if len(value) > 100:
        raise InputError(f"{name!r} is longer than 100 characters")
    return value


def _reason(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{name!r} must be a text")
    cleaned = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    if len(cleaned) > MAX_REASON:
        raise InputError(f"{name!r} is longer than {MAX_REASON} characters")
    return cleaned


def _whole(least: int, most: int) -> Check:
    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InputError(f"{name!r} must be a whole number from {least} to {most}")
        return value

    return check


def _duration(name: str, value: Any) -> int | None:
    return None if value is None else int(_whole(1, LONGEST_MS)(name, value))


def _choice(*choices: str) -> Check:
    def check(name: str, value: Any) -> str:
        if value not in choices or not isinstance(value, str):
            raise InputError(f"{name!r} must be one of: {', '.join(choices)}")
        return value

    return check


def _name(name: str, value: Any) -> str:
    """A number or a name."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(name, value).strip()


def _many(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{name!r} must be a list with at least one entry")
    if len(value) > MAX_ITEMS:
        raise InputError(f"{name!r} has {len(value)} entries; at most {MAX_ITEMS} fit in one request")
    return value


def _prefixes(name: str, value: Any) -> list[str]:
    return [_text(f"{name}[{number}]", entry) for number, entry in enumerate(_many(name, value))]


def _items(name: str, value: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for number, entry in enumerate(_many(name, value)):
        place = f"{name}[{number}]"
        if isinstance(entry, str):
            entry = {"prefix": entry}  # noqa: PLW2901  (a bare prefix is an item with defaults)
        if not isinstance(entry, dict):
            raise InputError(f"{place!r} must be a prefix, or an object with 'prefix'")
        items.append(_check_fields(place, entry, _ITEM))
    return items


class Field:
    """One argument of an op.

    Args:
        check: validates the value.
        required: whether it must be there.
        default: what it is when it is not there; ``...`` leaves it out.
    """

    __slots__ = ("check", "default", "required")

    def __init__(self, check: Check, *, required: bool = False, default: Any = ...) -> None:
        self.check = check
        self.required = required
        self.default = default


_ITEM = {"prefix": Field(_text, required=True), "reason": Field(_reason), "for_ms": Field(_duration)}

OPS: Mapping[str, Mapping[str, Field]] = {
    "ping": {},
    "status": {},
    "sources": {
        "limit": Field(_whole(1, 10_000), default=20),
        "sort": Field(_choice(*SORTS), default="pps"),
    },
    "verdicts": {},
    "lanes": {},
    "overview": {
        "sources": Field(_whole(0, 500), default=20),
        "sort": Field(_choice(*SORTS), default="pps"),
        "within": Field(_text),
        "bans": Field(_whole(0, 500), default=20),
        "incidents": Field(_whole(0, 100), default=5),
        "trend": Field(_whole(0, 300), default=120),
    },
    "ban.add": {
        "items": Field(_items, required=True),
        "for_ms": Field(_duration),
        "reason": Field(_reason, default=""),
    },
    "ban.del": {"prefixes": Field(_prefixes, required=True)},
    "ban.list": {},
    "ban.test": {"prefix": Field(_text, required=True)},
    "ban.flush": {},
    "allow.add": {"prefixes": Field(_prefixes, required=True), "reason": Field(_reason, default="")},
    "allow.del": {"prefixes": Field(_prefixes, required=True)},
    "allow.list": {},
    "session": {"connection": Field(_text, required=True)},
    "rules.list": {},
    "rules.observe": {"id": Field(_whole(1, 1 << 31), required=True)},
    "rules.enforce": {"id": Field(_whole(1, 1 << 31), required=True)},
    "rules.del": {"id": Field(_whole(1, 1 << 31), required=True)},
    "history": {
        "limit": Field(_whole(1, 10_000), default=100),
        "since_ms": Field(_whole(0, 1 << 50), default=0),
    },
    "incident.list": {
        "limit": Field(_whole(1, 10_000), default=20),
        "since_ms": Field(_whole(0, 1 << 50), default=0),
    },
    "incident.show": {"id": Field(_name, default="last")},
    "reload": {},
    "switch": {},
    "observed": {},
}
"""Every op with its arguments. In ``ban.add`` an item's own ``for_ms`` and ``reason`` win over the request's; a
``for_ms`` of null is for ever, a missing one is the configured ban time."""


def _check_fields(place: str, given: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    unknown = sorted(given.keys() - fields.keys())
    if unknown:
        raise InputError(
            f"{place}: unknown field {unknown[0]!r}", hint=f"it takes: {', '.join(fields) or 'nothing'}"
        )
    checked: dict[str, Any] = {}
    for name, field in fields.items():
        if name in given:
            checked[name] = field.check(name, given[name])
        elif field.required:
            raise InputError(f"{place}: {name!r} is missing")
        elif field.default is not ...:
            checked[name] = field.default
    return checked


def decode_request(line: bytes) -> tuple[str, dict[str, Any]]:
    """Read one request line into the op and its checked arguments, defaults filled in.

    Raises:
        InputError: not JSON, not an object, an unknown op, or an argument that does not fit.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the request is not JSON: {error}", hint="send one JSON object per line") from None
    if not isinstance(request, dict):
        raise InputError("the request must be a JSON object", hint='for example {"op": "ping"}')
    schema = request.pop("schema", SCHEMA)
    if schema != SCHEMA or isinstance(schema, bool):
        raise InputError(
            f"the request speaks schema {schema!r}, this controller speaks {SCHEMA}",
            hint="client and controller are of different versions: restart the controller",
        )
    op = request.pop("op", None)
    if not isinstance(op, str):
        raise InputError(f"unknown op {op!r}", hint=f"ops: {', '.join(OPS)}")
    return op, check_args(op, request)


def check_args(op: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an op, checked, defaults filled in.

    Raises:
        InputError: an unknown op, or an argument that does not fit.
    """
    if op not in OPS:
        raise InputError(f"unknown op {op!r}", hint=f"ops: {', '.join(OPS)}")
    return _check_fields(op, args, OPS[op])


def encode_request(op: str, args: Mapping[str, Any]) -> bytes:
    """One request as a line."""
    return json.dumps({"schema": SCHEMA, "op": op, **args}, separators=(",", ":")).encode() + b"\n"


def encode_result(result: Mapping[str, Any]) -> bytes:
    """One good answer as a line."""
    return (
        json.dumps({"schema": SCHEMA, "ok": True, "result": result}, separators=(",", ":")).encode() + b"\n"
    )


def encode_error(error: XdpwallError) -> bytes:
    """One error as a line."""
    body: dict[str, Any] = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
    if isinstance(error, BusyError):
        body["busy"] = True
    if isinstance(error, ConfigError):
        body["config"] = {
            "path": error.path,
            "problems": [{"key": p.key, "line": p.line, "message": p.message} for p in error.problems],
        }
    return json.dumps({"schema": SCHEMA, "ok": False, "error": body}, separators=(",", ":")).encode() + b"\n"


_BY_EXIT_CODE: Mapping[int, type[XdpwallError]] = {
    2: InputError,
    3: NoControllerError,
    4: NotFoundError,
    5: RefusedError,
}


def decode_answer(line: bytes) -> dict[str, Any]:
    """Read one answer line: the result, or the error it carries, raised.

    Raises:
        XdpwallError: the controller's own error, of the class that its exit code belongs to.
        NoControllerError: what came is no answer of a controller.
    """
    try:
        answer = json.loads(line)
        if answer["ok"]:
            result = answer["result"]
            if isinstance(result, dict):
                return result
            raise TypeError("the result is not an object")
        error = answer["error"]
        message, hint, code = str(error["message"]), error.get("hint"), int(error["exit_code"])
        config = error.get("config") or {}
        problems = [ConfigProblem(p["key"], p["line"], p["message"]) for p in config.get("problems", [])]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as fault:
        raise NoControllerError(
            f"the controller's answer cannot be read: {fault}",
            hint="client and controller may be of different versions: restart the controller",
        ) from None
    if config:
        raise ConfigError(str(config.get("path")), problems)
    if error.get("busy") is True:
        raise BusyError(message, hint=hint)
    raise _BY_EXIT_CODE.get(code, XdpwallError)(message, hint=hint)
