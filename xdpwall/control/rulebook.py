# SPDX-License-Identifier: Apache-2.0
"""What people ask of the fingerprint rules: list, observe, enforce, take away. With a controller and without one.

All of it stands in the kernel's table, so no numpy and no database is needed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NotRequired, TypedDict

from xdpwall.control.database import Changes, Event
from xdpwall.dataplane.rule_map import HeldRule, RuleMap
from xdpwall.errors import NotFoundError
from xdpwall.fingerprint import Rule
from xdpwall.fingerprint_text import describe

OPS = frozenset({"rules.list", "rules.observe", "rules.enforce", "rules.del"})
CHANGES = OPS - {"rules.list"}


class RuleResult(TypedDict):
    """One rule.

    ``cover`` is the share of the attack's samples that it matched when it was made, ``support`` how many these were.
    ``collateral`` is the share of ``good`` known-good packets that match, when it was made and since. ``packets``
    matched, and of these ``proven_packets`` passed because they had proof.
    """

    id: int
    lane: str
    policy: str
    text: str
    created_ms: int
    expires_ms: int
    remaining_ms: int
    cover: float
    support: int
    collateral: float
    good: int
    packets: int
    bytes: int
    proven_packets: int
    proven_bytes: int
    pps: NotRequired[int]


class RulesResult(TypedDict):
    """``rules.list``, oldest first."""

    rules: list[RuleResult]


class RuleChangeResult(TypedDict):
    """``rules.observe``, ``rules.enforce``, ``rules.del``. ``policy`` is the rule's now; null when it is gone."""

    id: int
    text: str
    policy: str | None
    warnings: list[str]


Collateral = Callable[[HeldRule], tuple[float, int]]
"""The share of known-good packets that a rule matches, and of how many."""


def when_made(held: HeldRule) -> tuple[float, int]:
    """All that is known without the controller that made it."""
    return held.rule.collateral, held.rule.good


def list_rules(
    rules: Iterable[HeldRule],
    now_ms: int,
    collateral: Collateral = when_made,
    rates: Mapping[int, int] | None = None,
) -> RulesResult:
    """Every rule in force.

    Args:
        rules: as the kernel holds them.
        now_ms: Unix time.
        collateral: what is known of each by now.
        rates: packets per second that each matches, when somebody measures them.
    """
    rows: list[RuleResult] = []
    for held in sorted(rules, key=lambda held: held.rule.id):
        rule = held.rule
        share, good = collateral(held)
        row = RuleResult(
            id=rule.id,
            lane=rule.pattern.lane.label,
            policy="observe" if rule.observe else "enforce",
            text=describe(rule.pattern),
            created_ms=rule.created_ms,
            expires_ms=now_ms + held.remaining_ms,
            remaining_ms=held.remaining_ms,
            cover=round(rule.cover, 6),
            support=rule.support,
            collateral=round(share, 6),
            good=good,
            packets=held.matched.packets,
            bytes=held.matched.bytes,
            proven_packets=held.proven.packets,
            proven_bytes=held.proven.bytes,
        )
        if rates is not None:
            row["pps"] = rates.get(rule.id, 0)
        rows.append(row)
    return RulesResult(rules=rows)


def change(rules: RuleMap, op: str, ident: int, now_ms: int) -> tuple[RuleChangeResult, Rule, Changes]:
    """Carry out ``rules.observe``, ``rules.enforce`` or ``rules.del``.

    Raises:
        NotFoundError: no rule of this number is in force.
        KernelError: the kernel refused.
    """
    held = next((held for held in rules.entries() if held.rule.id == ident), None)
    verb = op.partition(".")[2]
    done = False
    if held is not None:
        done = rules.remove(ident) if verb == "del" else rules.observe(ident, verb == "observe")
    if held is None or not done:
        raise NotFoundError(f"there is no rule {ident}", hint="`xdpwall rules` lists those in force")
    text = describe(held.rule.pattern)
    event = Event(
        now_ms, "rule_end" if verb == "del" else "rule", None, "operator", f"{verb} rule {ident}: {text}"
    )
    result = RuleChangeResult(id=ident, text=text, policy=None if verb == "del" else verb, warnings=[])
    return result, held.rule, Changes(events=(event,))


def run(
    rules: RuleMap, op: str, args: Mapping[str, Any], now_ms: int
) -> tuple[dict[str, Any], Changes | None]:
    """One op without a controller."""
    if op == "rules.list":
        return dict(list_rules(rules.entries(), now_ms)), None
    result, _, changes = change(rules, op, args["id"], now_ms)
    return dict(result), changes
