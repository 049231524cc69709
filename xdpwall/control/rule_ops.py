# SPDX-License-Identifier: Apache-2.0
"""The ops about fingerprint rules, for the control socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from xdpwall.control import rulebook
from xdpwall.control.engine import Engine
from xdpwall.errors import NotLoadedError, StoreError


class RuleOps:
    """One method an op.

    Args:
        engine: what does the work.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[Mapping[str, Any]]]]:
        """Each op by its name."""
        return {
            "rules.list": self._list,
            **{op: partial(self._change, op) for op in sorted(rulebook.CHANGES)},
        }

    async def _list(self, _: dict[str, Any]) -> Mapping[str, Any]:
        engine = self._engine
        held = [] if engine.wall is None else engine.wall.rules.entries()
        rules = engine.fingerprints
        return rulebook.list_rules(held, engine.clock.wall_ms(), rules.collateral, rules.rates)

    async def _change(self, op: str, args: dict[str, Any]) -> Mapping[str, Any]:
        engine = self._engine
        if engine.wall is None:
            raise NotLoadedError("no wall is loaded: it has no rules", hint="xdpwall load")
        result, rule, changes = rulebook.change(engine.wall.rules, op, args["id"], engine.clock.wall_ms())
        if op == "rules.del":
            engine.fingerprints.removed(rule, engine.clock.mono_ns())
        engine.throttle.line("operator rule", f"operator: {changes.events[0].detail}", rule=args["id"])
        try:
            await asyncio.wrap_future(engine.commit(changes))
        except StoreError as error:
            result["warnings"].append(f"in force, but not on record yet: {error.message}")
        return result
