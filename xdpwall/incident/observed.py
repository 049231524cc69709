# SPDX-License-Identifier: Apache-2.0
"""What parts of the wall that only observed would have dropped while an incident was on."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ObservedUse:
    """``parts``: what only observed. ``packets`` passed for that reason alone; ``by_reason`` by the verdict's label.

    ``good_sources``: known-good sources among them since the trial began, at least this many; ``examples`` of them.
    """

    parts: tuple[str, ...] = ()
    packets: int = 0
    by_reason: dict[str, int] = field(default_factory=dict)
    good_sources: int = 0
    examples: tuple[str, ...] = ()

    def sentence(self) -> str:
        """For people; empty when nothing observed."""
        if not self.parts and not self.packets:
            return ""
        whom = "no source that is known to be good was seen among them"
        if self.good_sources:
            named = f", among them {', '.join(self.examples)}" if self.examples else ""
            whom = f"at least {self.good_sources} known-good sources would have been hit{named}"
        return (
            f"Only observed: {', '.join(self.parts) or 'single rules'}. {self.packets} packets passed that would have"
            f" been dropped; {whom}."
        )
