# SPDX-License-Identifier: Apache-2.0
"""What the keys do, each as one call that may take its time: run in a thread, it gives a sentence for the screen."""

from __future__ import annotations

from typing import Any

from xdpwall.errors import XdpwallError
from xdpwall.interface.cli.ask import ask
from xdpwall.interface.cli.command import Settings
from xdpwall.interface.cli.prefixes import explicit
from xdpwall.model import Prefix, format_duration_ms, parse_duration_ms


class RefusedByControllerError(XdpwallError):
    """The controller took the request and would not do it."""


def ban(settings: Settings, prefix: str, length: str, reason: str) -> str:
    """Ban a source or prefix.

    Raises:
        XdpwallError: it is protected, allowlisted, too wide, or nobody is there to do it.
    """
    for_ms = parse_duration_ms(length)
    item: dict[str, Any] = {"prefix": _exactly(prefix), "for_ms": for_ms, "reason": reason}
    result = ask(settings, "ban.add", items=[item])
    _raise_refused(result)
    how = "for ever" if for_ms is None else f"for {format_duration_ms(for_ms)}"
    return _with_warnings(f"{prefix} is banned {how}", result)


def unban(settings: Settings, prefix: str) -> str:
    """Lift the ban on exactly this prefix.

    Raises:
        XdpwallError: it is not banned by itself.
    """
    result = ask(settings, "ban.del", prefixes=[_exactly(prefix)])
    if result["missing"]:
        wider = result["covered_by"].get(prefix)
        raise RefusedByControllerError(
            f"{prefix} is not banned by itself" + (f": {wider} is, which holds it" if wider else "")
        )
    return _with_warnings(f"the ban on {prefix} is lifted", result)


def allow(settings: Settings, prefix: str, reason: str) -> str:
    """Put a source on the allowlist.

    Raises:
        XdpwallError: it is not taken.
    """
    result = ask(settings, "allow.add", prefixes=[_exactly(prefix)], reason=reason)
    _raise_refused(result)
    lifted = f"; {len(result['lifted'])} bans inside are lifted" if result["lifted"] else ""
    return _with_warnings(f"{prefix} is allowed: it is never dropped from now on{lifted}", result)


def network_of(source: str) -> str:
    """The /24 or /48 around a source; the prefix itself when it is wider."""
    prefix = Prefix.parse(source)
    length = 24 if prefix.version == 4 else 48
    return str(prefix if prefix.length <= length else Prefix.covering(prefix.packed, length))


def _exactly(prefix: str) -> str:
    return explicit(Prefix.parse(prefix))


def _raise_refused(result: dict[str, Any]) -> None:
    for entry in result["refused"]:
        raise RefusedByControllerError(entry["message"], hint=entry.get("hint"))


def _with_warnings(text: str, result: dict[str, Any]) -> str:
    return "; ".join([text, *result["warnings"]])
