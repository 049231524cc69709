# SPDX-License-Identifier: Apache-2.0
"""The configuration that a wall was loaded with, kept beside its lock: for who must compile the same program again.

It lies in the runtime folder, which lasts as long as the pins do: until a reboot.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from xdpwall.errors import ConfigError

if TYPE_CHECKING:
    from xdpwall.config import Config
    from xdpwall.dataplane.wall import Meta
    from xdpwall.paths import Paths

_SCHEMA = 1


def place(paths: Paths) -> Path:
    """The file of an instance."""
    return paths.runtime / "loaded.json"


def write(paths: Paths, config: Config, loaded_ms: int) -> None:
    """Write it down, in one step.

    Raises:
        OSError: it cannot be written.
    """
    target = place(paths)
    fresh = target.with_name(f"{target.name}.new")
    text = json.dumps(
        {"schema": _SCHEMA, "loaded_ms": loaded_ms, "config": config.model_dump(mode="json", by_alias=True)}
    )
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(target)


def read(paths: Paths, meta: Meta) -> Config | None:
    """The configuration of the load that made this wall; None when that is not on record any more."""
    from xdpwall.config import Config

    try:
        found = json.loads(place(paths).read_text(encoding="utf-8"))
        if found["schema"] != _SCHEMA or found["loaded_ms"] != meta.loaded_ms:
            return None
        config = Config.from_mapping(found["config"])
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return None
    return config if int(config.dataplane_digest(), 16) == meta.config_digest else None
