# SPDX-License-Identifier: Apache-2.0
"""What is wrong right now, in plain words, each with a name so that it can be taken back."""

from __future__ import annotations

from collections.abc import Iterable


class Health:
    """Problems by name, in the order in which they came."""

    def __init__(self) -> None:
        self._texts: dict[str, tuple[str, ...]] = {}

    def set(self, name: str, text: str) -> None:
        """This is wrong."""
        self._texts[name] = (text,)

    def clear(self, name: str) -> None:
        """This is right again."""
        self._texts.pop(name, None)

    def put(self, name: str, text: str | None) -> None:
        """:meth:`set`, or :meth:`clear` with None."""
        if text is None:
            self.clear(name)
        else:
            self.set(name, text)

    def replace(self, name: str, texts: Iterable[str]) -> list[str]:
        """All that is wrong with this. Gives what is new."""
        before = self._texts.get(name, ())
        now = tuple(texts)
        if now:
            self._texts[name] = now
        else:
            self.clear(name)
        return [text for text in now if text not in before]

    @property
    def problems(self) -> list[str]:
        """All texts."""
        return [text for texts in self._texts.values() for text in texts]
