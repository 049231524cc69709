# SPDX-License-Identifier: Apache-2.0
"""Where an instance keeps its pins, socket, lock and database.

The instance's name keeps walls apart: a lab never meets the real one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from xdpwall.errors import InputError

DEFAULT_INSTANCE = "default"
DEFAULT_CONFIG = Path("/etc/xdpwall/xdpwall.toml")
BPFFS = Path("/sys/fs/bpf")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Paths:
    """The places of one instance.

    Args:
        instance: its name, ``[a-z0-9][a-z0-9_-]{0,31}``.

    Raises:
        InputError: the name has another form (it becomes part of paths, so this is checked first of all).
    """

    instance: str = DEFAULT_INSTANCE

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.instance):
            raise InputError(
                f"instance name {self.instance!r} is not usable",
                hint="use 1 to 32 of a-z, 0-9, '_' and '-', beginning with a letter or digit",
            )

    @property
    def pins(self) -> Path:
        """Folder on the bpffs that holds maps, programs and links."""
        return BPFFS / "xdpwall" / self.instance

    @property
    def runtime(self) -> Path:
        """Folder of the socket and the lock. Gone after a reboot."""
        return Path("/run/xdpwall") / self.instance

    @property
    def socket(self) -> Path:
        """The controller's Unix socket, mode 0600."""
        return self.runtime / "control.sock"

    @property
    def lock(self) -> Path:
        """Held (flock) by whoever may write bans: the controller for its life, a verb for a moment."""
        return self.runtime / "lock"

    @property
    def state(self) -> Path:
        """Folder of what outlives a reboot."""
        return Path("/var/lib/xdpwall") / self.instance

    @property
    def database(self) -> Path:
        """SQLite file with bans, allowlist and history."""
        return self.state / "state.db"
