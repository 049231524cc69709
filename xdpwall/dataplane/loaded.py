# SPDX-License-Identifier: Apache-2.0
"""The configuration that a wall was loaded with, kept beside its lock: for who must compile the same program again.

It lies in the runtime folder, which lasts as long as the pins do: until a reboot.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from xdpwall.dataplane.standing import Loaded
from xdpwall.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xdpwall.config import Config
    from xdpwall.dataplane.meta import Meta
    from xdpwall.paths import Paths

_SCHEMA = 1


def place(paths: Paths) -> Path:
    """The file of an instance."""
    return paths.runtime / "loaded.json"


def write(paths: Paths, config: Config, loaded_ms: int, programs: Mapping[str, Loaded] | None = None) -> None:
    """Write it down, in one step.

    Args:
        paths: the instance.
        config: what was compiled for.
        loaded_ms: when, Unix time.
        programs: what was put where, by interface.

    Raises:
        OSError: it cannot be written.
    """
    target = place(paths)
    fresh = target.with_name(f"{target.name}.new")
    text = json.dumps(
        {
            "schema": _SCHEMA,
            "loaded_ms": loaded_ms,
            "config": config.model_dump(mode="json", by_alias=True),
            "programs": {
                name: {"tag": known.tag, "mtu": known.mtu} for name, known in (programs or {}).items()
            },
        }
    )
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(target)


def programs(paths: Paths, loaded_ms: int) -> dict[str, Loaded]:
    """What a load put where, by interface; empty when that is not on record any more.

    Args:
        paths: the instance.
        loaded_ms: when the wall that stands was loaded.
    """
    try:
        found = json.loads(place(paths).read_text(encoding="utf-8"))
        if found["schema"] != _SCHEMA or found["loaded_ms"] != loaded_ms:
            return {}
        return {
            str(name): Loaded(str(known["tag"]), int(known["mtu"]))
            for name, known in found["programs"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def read(paths: Paths, meta: Meta) -> Config | None:
    """The configuration of the load that made this wall; None when that is not on record any more."""
    from xdpwall.config import Config

    try:
        found = json.loads(place(paths).read_text(encoding="utf-8"))
        if found["schema"] != _SCHEMA or found["loaded_ms"] != meta.loaded_ms:
            return None
        config = Config.from_mapping(found["config"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ConfigError):
        return None
    return config if int(config.dataplane_digest(), 16) == meta.config_digest else None
