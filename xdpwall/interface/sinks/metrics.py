# SPDX-License-Identifier: Apache-2.0
"""The metrics endpoint: follows the configuration, and never stops the controller when it cannot listen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xdpwall.control.sink import Inside
from xdpwall.interface.sinks.http import PageServer
from xdpwall.listen import split_listen

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from xdpwall.config_metrics import MetricsConfig

log = logging.getLogger(__name__)

PATH = "/metrics"
_KEEP_NS = 250_000_000
"""Who asks more often than this gets the same answer again: a scrape costs milliseconds of the tick's time."""
_RETRY_SECONDS = 30
_INDEX = b"xdpwall: metrics for Prometheus are at /metrics\n"


class MetricsSink:
    """Serves the metrics while the configuration says so. prometheus_client is imported only then."""

    def __init__(self) -> None:
        self._server: PageServer | None = None
        self._wanted: MetricsConfig | None = None
        self._task: asyncio.Task[None] | None = None
        self._wait = 0
        self.port: int | None = None
        """Where it listens; None while it does not."""

    def second(self, inside: Inside) -> None:
        """See :meth:`Sink.second`."""
        wanted = inside.engine.config.metrics
        self._wait = max(0, self._wait - 1)
        changed = wanted != self._wanted
        if self._task is not None and not self._task.done():
            return
        if changed or (wanted.enabled and self._server is None and not self._wait):
            self._wanted = wanted
            self._task = asyncio.get_running_loop().create_task(self._apply(wanted, inside))

    async def close(self) -> None:
        """See :meth:`Sink.close`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._stop()

    async def _apply(self, wanted: MetricsConfig, inside: Inside) -> None:
        await self._stop()
        health = inside.engine.health
        if not wanted.enabled:
            health.clear("metrics")
            return
        page = _Page(inside)
        server = PageServer({PATH: page, "/": lambda: ("text/plain", _INDEX)})
        try:
            self.port = await server.start(*split_listen(wanted.listen))
        except OSError as error:
            self._wait = _RETRY_SECONDS
            reason = error.strerror or str(error)
            health.set(
                "metrics", f"metrics are not served: {wanted.listen}: {reason}; metrics.listen names another"
            )
            log.error("metrics are not served on %s: %s", wanted.listen, reason)
            return
        self._server = server
        health.clear("metrics")
        log.info("metrics for Prometheus are served on http://%s%s", wanted.listen, PATH)

    async def _stop(self) -> None:
        server, self._server, self.port = self._server, None, None
        if server is not None:
            await server.close()


class _Page:
    """The text of all metrics, made anew at most four times a second."""

    def __init__(self, inside: Inside) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415  (only when they are served)

        self._inside = inside
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self._body = b""
        self._made_ns: int | None = None

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        from xdpwall.interface.sinks.families import families  # noqa: PLC0415

        return families(self._inside)

    def __call__(self) -> tuple[str, bytes]:
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415

        now = self._inside.engine.clock.mono_ns()
        if self._made_ns is None or now - self._made_ns >= _KEEP_NS:
            self._body, self._made_ns = generate_latest(self._registry), now
        return CONTENT_TYPE_LATEST, self._body
