# SPDX-License-Identifier: Apache-2.0
"""What all verbs share: the global options, before or after the verb, and groups that import a verb when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import click

from xdpwall.paths import Paths

Output = Literal["human", "json"]


@dataclass(slots=True)
class Settings:
    """What the global options say. A verb gets it by ``@click.pass_obj``."""

    output: Output = "human"
    paths: Paths = field(default_factory=Paths)

    @property
    def json(self) -> bool:
        """Whether the answer is to be one JSON object."""
        return self.output == "json"


def _take_output(context: click.Context, _: click.Parameter, value: Output | None) -> None:
    if value is not None:
        context.ensure_object(Settings).output = value


def _take_instance(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Settings).paths = Paths(value)


def _common_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["-o", "--output"],
            type=click.Choice(["human", "json"]),
            callback=_take_output,
            expose_value=False,
            help="Form of the answer; human is the default.",
        ),
        click.Option(
            ["--instance"],
            metavar="NAME",
            callback=_take_instance,
            expose_value=False,
            help="Which wall on this host is meant; 'default' is the default.",
        ),
    ]


class Verb(click.Command):
    """A command that takes the global options too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options()


class Verbs(click.Group):
    """A group that takes the global options, and imports a verb's module only when that verb is used.

    Args:
        lazy: module (below this package, its attribute ``command``) and one-line help by name. The help stands here so
            that `--help` needs no import.
    """

    command_class = Verb

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options()
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order they were given: the order of use, not of the alphabet."""
        del ctx
        return [*self.lazy, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb."""
        if cmd_name in self.lazy:
            module = importlib.import_module(f"{__package__}.{self.lazy[cmd_name][0]}")
            command: click.Command = module.command
            return command
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say what was probably meant when there is no such verb."""
        name = args[0]
        if name not in self.lazy and name not in self.commands and not name.startswith("-"):
            import difflib

            names = self.list_commands(ctx)
            close = difflib.get_close_matches(name, names, 1)
            meant = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}"
            ctx.fail(f"no verb {name!r}; {meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List verbs without importing them."""
        del ctx
        rows = [(name, summary) for name, (_, summary) in self.lazy.items()]
        limit = formatter.width - 24
        rows += [(name, command.get_short_help_str(limit)) for name, command in self.commands.items()]
        with formatter.section("Verbs"):
            formatter.write_dl(rows)
