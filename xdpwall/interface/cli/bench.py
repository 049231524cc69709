# SPDX-License-Identifier: Apache-2.0
"""`xdpwall bench`: what the wall costs a packet, beside its peers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from xdpwall.interface.cli.ask import need_root
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.output import emit_json, note


@click.command(cls=Verb)
@click.option(
    "--rounds", type=click.IntRange(1, 1000), metavar="N", help="How often each row runs; 25 is the default."
)
@click.option("--quick", is_flag=True, help="Few and short rounds: to see that it works, not for figures.")
@click.option(
    "--only",
    multiple=True,
    metavar="ROW",
    help="Only this row and what it is compared with; may be given again.",
)
@click.option(
    "--svg", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a chart too."
)
@click.pass_obj
def command(
    settings: Settings, rounds: int | None, quick: bool, only: tuple[str, ...], svg: Path | None
) -> None:
    """Measure what the wall costs a packet, on links between namespaces that the bench makes and removes.

    Ratios are taken within each round and compared with the project's own bars. For figures to rely on, let nothing
    else run on the machine.
    """
    need_root("`xdpwall bench`")
    from xdpwall.bench import api
    from xdpwall.interface.cli import bench_table

    options = api.Options(rounds or (api.QUICK_ROUNDS if quick else api.ROUNDS), quick, only)
    with _told(live=sys.stderr.isatty()) as heard:
        result = api.run(options, heard)
    if svg is not None:
        from xdpwall.bench import chart

        svg.write_text(chart.draw(result), encoding="utf-8")
        note(f"chart written to {svg}")
    if settings.json:
        emit_json(result)
    else:
        bench_table.show(result)


@contextmanager
def _told(*, live: bool) -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what is going on; silence where nobody looks."""
    if not live:
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("bench") as status:
        yield lambda text: status.update(f"bench: {text}")
