# SPDX-License-Identifier: Apache-2.0
"""What was attacked, from samples, and how it was spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from xdpwall.incident.facts import Facts, protocol_name, text
from xdpwall.incident.model import Target
from xdpwall.model import Prefix

MOST_TARGETS = 20
_REMEMBERED = 20_000
_CARPET = 16
"""So many local addresses with none of them far ahead are a carpet."""

Key = tuple[bytes, int | None, str]


class Targets:
    """Counts of sampled packets by local address, port and protocol."""

    def __init__(self) -> None:
        self._counts: Counter[Key] = Counter()
        self._addresses: Counter[bytes] = Counter()

    def take(self, samples: Iterable[Facts], weight: float) -> None:
        """Count these; each stands for ``weight`` packets."""
        for facts in samples:
            port = facts.target_port if facts.protocol in (6, 17) else None
            key = (facts.target, port, protocol_name(facts.protocol))
            if key in self._counts or len(self._counts) < _REMEMBERED:
                self._counts[key] += max(1, round(weight))
            if facts.target in self._addresses or len(self._addresses) < _REMEMBERED:
                self._addresses[facts.target] += 1

    def targets(self, packets: int) -> tuple[Target, ...]:
        """The biggest first; their packets are estimated as shares of ``packets``.

        Ports that are hit as evenly as by chance are told as one row for the address, without a port.
        """
        whole = self._counts.total()
        if not whole:
            return ()
        rows: Counter[Key] = Counter()
        by_address: Counter[tuple[bytes, str]] = Counter()
        for (address, port, protocol), count in self._counts.items():
            by_address[address, protocol] += count
            rows[address, port, protocol] += count
        for (address, port, protocol), count in list(rows.items()):
            if port is not None and count < 0.05 * by_address[address, protocol]:
                del rows[address, port, protocol]
                rows[address, None, protocol] += count
        return tuple(
            Target(text(address), port, protocol, round(packets * count / whole))
            for (address, port, protocol), count in rows.most_common(MOST_TARGETS)
        )

    def carpet(self) -> str | None:
        """A sentence when the attack is spread over many local addresses, else None."""
        whole = self._addresses.total()
        if len(self._addresses) < _CARPET or self._addresses.most_common(1)[0][1] > whole / 4:
            return None
        length = 24 if all(len(address) == 4 for address in self._addresses) else 64
        nets = Counter(
            str(Prefix.covering(address, length if len(address) == 4 else 64)) for address in self._addresses
        )
        net, count = nets.most_common(1)[0]
        where = f"of {net}" if count == len(self._addresses) else f"in {len(nets)} networks"
        return f"carpet bombing: {len(self._addresses)} local addresses {where} were hit evenly"
