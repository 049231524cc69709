# SPDX-License-Identifier: Apache-2.0
"""Is there room for more bans, and does the configuration fit the loaded wall?"""

from __future__ import annotations

from xdpwall.control.book import Book
from xdpwall.control.health import Health
from xdpwall.dataplane.interface import WallInfo


def look(
    health: Health, info: WallInfo | None, book: Book, *, waiting: int, per_minute: int, digest: str
) -> None:
    """Once a second.

    Args:
        health: told what is wrong.
        info: of the wall; None while there is none.
        book: bans that stand.
        waiting: sources over their limit that wait for their turn.
        per_minute: how many bans a minute may bring.
        digest: of the configuration in force.
    """
    if info is None:
        return
    for count, capacity, what, key in (
        (book.exact, info.ban_capacity, "bans of single sources", "bans.capacity"),
        (book.wide, info.ban_prefix_capacity, "bans of prefixes", "bans.prefix_capacity"),
    ):
        full = count * 10 >= capacity * 9
        text = f"{count} of {capacity} {what} are taken: raise {key}, or ban wider prefixes"
        health.put(f"fill {what}", text if full else None)
    text = f"{waiting} sources over their limit wait: bans.per_minute ({per_minute}) is reached"
    health.put("cap", text if waiting else None)
    text = "the loaded data path was compiled from another configuration; `xdpwall load` applies this one"
    health.put("digest", text if info.config_digest != digest else None)
