# SPDX-License-Identifier: Apache-2.0
"""The configuration: every key with its default, its range and its meaning.

``Config.load`` reads a TOML file and checks it whole. All models are frozen. A duration is text in the file
(``interval = "100ms"``) and whole milliseconds in Python (``config.tick.interval_ms``). The texts of ``config init``
and of the guide are made from the descriptions here.

Imports pydantic: a verb that only asks must not import this module.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from xdpwall.config_geo import GeoConfig
from xdpwall.config_incident import IncidentConfig, NotifyConfig, ProbesConfig
from xdpwall.config_lanes import FingerprintsConfig, LanesConfig, ProofConfig, SynCookiesConfig
from xdpwall.config_metrics import MetricsConfig
from xdpwall.config_plain import DATAPLANE_KEYS
from xdpwall.config_problems import CrossRule, check_mapping, syntax_problem
from xdpwall.config_protect import ProtectConfig
from xdpwall.config_sections import (
    AllowConfig,
    BansConfig,
    ChecksConfig,
    ControlConfig,
    LimitsConfig,
    MetersConfig,
    Section,
    TickConfig,
)
from xdpwall.config_trust import read_trusted
from xdpwall.config_types import InterfaceName, Part, list_to_tuple
from xdpwall.config_uplink import UplinkConfig
from xdpwall.errors import ConfigError, InputError, PrivilegeError
from xdpwall.observe import PARTS
from xdpwall.paths import DEFAULT_CONFIG


class Config(Section):
    """The whole file. ``Config()`` is every default: a working wall, once it is told its interfaces."""

    interfaces: Annotated[tuple[InterfaceName, ...], BeforeValidator(list_to_tuple)] = Field(
        default=(), description="Network interfaces to stand on. Empty: they must be given with -i."
    )
    policy: Literal["enforce", "observe"] = Field(
        default="enforce",
        description='"enforce" drops. "observe" counts what it would drop, and drops nothing.',
    )
    observe: Annotated[tuple[Part, ...], BeforeValidator(list_to_tuple)] = Field(
        default=(),
        description='Parts that only count what they would drop, like ["lanes.udp", "bans.prefix"]. '
        f"All others are enforced. There are: {', '.join(PARTS)}.",
    )
    mode: Literal["auto", "native", "generic"] = Field(
        default="auto",
        description='XDP mode. "native" runs in the driver, "generic" is slower and works everywhere. '
        '"auto" tries native first and warns when it has to fall back.',
    )
    tick: TickConfig = Field(default=TickConfig(), description="How often the controller looks.")
    limits: LimitsConfig = Field(default=LimitsConfig(), description="Thresholds of the detection.")
    bans: BansConfig = Field(default=BansConfig(), description="Bans.")
    lanes: LanesConfig = Field(default=LanesConfig(), description="Budgets for kinds of traffic.")
    proof: ProofConfig = Field(default=ProofConfig(), description="Known flows and proven sources.")
    syncookies: SynCookiesConfig = Field(default=SynCookiesConfig(), description="SYN cookies.")
    fingerprints: FingerprintsConfig = Field(
        default=FingerprintsConfig(), description="Rules made from the attack's packets."
    )
    incident: IncidentConfig = Field(default=IncidentConfig(), description="What counts as an incident.")
    notify: NotifyConfig = Field(default=NotifyConfig(), description="Whom to tell.")
    probes: ProbesConfig = Field(default=ProbesConfig(), description="Own services to try.")
    geo: GeoConfig = Field(default=GeoConfig(), description="Whose databases say where an address belongs.")
    metrics: MetricsConfig = Field(default=MetricsConfig(), description="Counters for Prometheus.")
    uplink: UplinkConfig = Field(default=UplinkConfig(), description="The line to the provider.")
    meters: MetersConfig = Field(default=MetersConfig(), description="Counters in the kernel.")
    checks: ChecksConfig = Field(default=ChecksConfig(), description="What is dropped whoever sends it.")
    allow: AllowConfig = Field(default=AllowConfig(), description="Who is never dropped.")
    protect: ProtectConfig = Field(default=ProtectConfig(), description="Who is never banned.")
    control: ControlConfig = Field(default=ControlConfig(), description="Upkeep.")

    @classmethod
    def load(cls, path: Path | str | None = None) -> Config:
        """Read and check a file.

        Args:
            path: the file; None means the default place, where a missing file means every default.

        Raises:
            ConfigError: the file has faults; it carries all of them, each with key and line.
            InputError: the file is missing (only when ``path`` was given) or is no regular file; or we are root, and
                others can change it.
            PrivilegeError: the file may not be read.
        """
        place = Path(path) if path is not None else DEFAULT_CONFIG
        try:
            raw = read_trusted(place)
        except FileNotFoundError:
            if path is None:
                return cls()
            raise InputError(
                f"{place}: there is no such file",
                hint="`xdpwall config init FILE` writes one with every key explained",
            ) from None
        except PermissionError:
            raise PrivilegeError(f"{place}: may not be read by this user", hint="run it as root") from None
        except OSError as error:
            raise InputError(f"{place}: {error.strerror}", hint="-c wants a TOML file") from None
        return cls.parse(raw, str(place))

    @classmethod
    def parse(cls, raw: bytes | str, name: str = "<config>") -> Config:
        """Read and check the text of a file. ``name`` stands for the file in errors.

        Raises:
            ConfigError: see :meth:`load`.
        """
        try:
            text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw
            data = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # of bytes that are not UTF-8, too
            raise ConfigError(name, [syntax_problem(raw, error)]) from None
        return Config._checked(data, text, name)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], name: str = "<mapping>") -> Config:
        """Check what a TOML file would hold, given as nested dicts, for example ``{"tick": {"interval": "50ms"}}``.

        Raises:
            ConfigError: see :meth:`load`; every line is 0.
        """
        return Config._checked(dict(data), "", name)

    @staticmethod
    def _checked(data: dict[str, Any], text: str, name: str) -> Config:
        model, problems = check_mapping(Config, data, text, CROSS_RULES)
        if model is None:
            raise ConfigError(name, problems)
        return model

    def dataplane_digest(self) -> str:
        """Sixteen hex digits over the keys that are compiled into the C (:data:`DATAPLANE_KEYS`).

        Two configs with the same digest need no new load of the data path.
        """
        values = {key: self.value(key) for key in DATAPLANE_KEYS}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def file_values(self) -> dict[str, Any]:
        """All values in nested dicts, as JSON and TOML would write them."""
        return self.model_dump(mode="json", by_alias=True)

    def value(self, key: str) -> Any:
        """The value behind a dotted key of the file, as JSON and TOML would write it.

        Raises:
            KeyError: there is no such key.
        """
        node: Any = self.file_values()
        for part in key.split("."):
            node = node[part]
        return node


def _ports_once(config: Config) -> str | None:
    names = [budget.port for budget in config.lanes.ports]
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"named more than once: {', '.join(twice)}" if twice else None


def _time_within_max(config: Config) -> str | None:
    if config.bans.time_ms <= config.bans.time_max_ms:
        return None
    return "a first ban (bans.time) may not be longer than the longest (bans.time_max)"


def _reconcile_after_tick(config: Config) -> str | None:
    if config.tick.reconcile_ms >= config.tick.interval_ms:
        return None
    return "bans are reconciled (tick.reconcile) at most once a tick (tick.interval)"


def _collapse_is_plural(config: Config) -> str | None:
    if config.bans.collapse_sources != 1:
        return None
    return "1 would ban a whole prefix for a single source; use 2 or more, or 0 for off"


def _interfaces_once(config: Config) -> str | None:
    twice = sorted({name for name in config.interfaces if config.interfaces.count(name) > 1})
    return f"named more than once: {', '.join(twice)}" if twice else None


def _prefix_limit_above_source(name: str) -> CrossRule[Config]:
    def rule(config: Config) -> str | None:
        source, prefix = getattr(config.limits.source, name), getattr(config.limits.prefix, name)
        if not source or not prefix or prefix >= source:
            return None
        return (
            f"limits.prefix.{name} ({prefix}) is below limits.source.{name} ({source}): "
            "one source within its limit would get its whole prefix banned"
        )

    return CrossRule((f"limits.source.{name}", f"limits.prefix.{name}"), rule)


CROSS_RULES: tuple[CrossRule[Config], ...] = (
    CrossRule(("interfaces",), _interfaces_once),
    CrossRule(("tick.interval", "tick.reconcile"), _reconcile_after_tick),
    *(_prefix_limit_above_source(name) for name in ("pps", "bps", "syn", "udp", "icmp")),
    CrossRule(("bans.time", "bans.time_max"), _time_within_max),
    CrossRule(("bans.collapse_sources",), _collapse_is_plural),
    CrossRule(("lanes.ports",), _ports_once),
)
"""What no single key can tell."""
