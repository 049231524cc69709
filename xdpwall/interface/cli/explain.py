# SPDX-License-Identifier: Apache-2.0
"""`xdpwall explain`: what becomes of a source's packets, or of a capture's, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xdpwall.errors import AddressError, InputError, NoControllerError, NotFoundError, RefusedError
from xdpwall.interface.cli.ask import ask, need_root
from xdpwall.interface.cli.command import Settings, Verb
from xdpwall.interface.cli.options import config_option
from xdpwall.interface.cli.output import emit_json, note, say
from xdpwall.model import Prefix

if TYPE_CHECKING:
    from xdpwall.dataplane.twin import Twin

_TOP = 10


@click.command(cls=Verb)
@click.argument("what", metavar="IP|FILE")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="Local port; else an open one and a closed one.",
)
@click.option("--proto", type=click.Choice(["tcp", "udp", "icmp"]), help="Only packets of this protocol.")
@click.option(
    "--from-port", type=click.IntRange(1, 65535), metavar="N", default=40_000, help="Port of the source."
)
@click.option(
    "--to", metavar="ADDRESS", help="Local address that the packets are for; else one of this host's."
)
@click.option(
    "-i", "--interface", metavar="IFACE", help="Which interface's program; the first of the wall by default."
)
@click.option("-v", "--verbose", is_flag=True, help="FILE: show each packet, too.")
@click.option(
    "-n", "--packets", type=click.IntRange(1), metavar="N", help="FILE: stop after so many packets."
)
@click.option(
    "--pace", is_flag=True, help="FILE: wait between packets as long as they lie apart in the capture."
)
@click.option(
    "--own",
    multiple=True,
    metavar="ADDRESS",
    help="FILE: packets from here are this host's own; may be given again.",
)
@click.option(
    "--fresh", is_flag=True, help="Ask a wall that was just loaded, with -c's config or every default."
)
@config_option
@click.pass_obj
def command(settings: Settings, /, what: str, **given: Any) -> None:
    """What becomes of the packets of an IP address, or of those of a capture (pcap, pcapng), and why.

    The loaded program itself decides, in a copy that no real packet meets, filled with what the wall knows now: bans,
    allowlist, meters, budgets, flows, ports. Nothing of the wall changes, and no interface is touched.
    """
    need_root("`xdpwall explain`")
    options = Options(**given)
    source = _address(what)
    if source is not None and options.proto == "icmp" and options.port is not None:
        raise InputError("--port: ICMP has no ports", hint="leave out one of --port and --proto icmp")
    if options.fresh and options.interface is not None:
        raise InputError("--fresh asks no interface's program", hint="leave out -i")
    own = [_single(text) for text in options.own]
    with _make(settings, options, own) as twin:
        program = _program(twin)
        if source is None:
            result = _capture(settings, twin, Path(what), options, own)
        else:
            result = _source(settings, twin, source, options)
    result = {"program": program, **result}
    if settings.json:
        emit_json(result)
        return
    from xdpwall.interface.cli import explain_show

    _tell_program(program)
    if source is None:
        explain_show.capture(result, pace=options.pace)
    else:
        explain_show.source(result)


@dataclass(frozen=True, slots=True)
class Options:
    """The options, by the names of their parameters."""

    port: int | None
    proto: str | None
    from_port: int
    to: str | None
    interface: str | None
    verbose: bool
    packets: int | None
    pace: bool
    own: tuple[str, ...]
    fresh: bool
    config_path: Path | None


def _address(what: str) -> Prefix | None:
    """The address that is meant; None when it is a file."""
    try:
        prefix = Prefix.parse(what)
    except AddressError:
        if Path(what).exists():
            return None
        raise InputError(
            f"{what!r} is neither an address nor a file here",
            hint="give an IP address, or a pcap or pcapng file",
        ) from None
    if prefix.length != len(prefix.packed) * 8:
        raise InputError(
            f"{what!r} is a prefix",
            hint=f"ask about one address of it; `xdpwall ban test {prefix}` asks about all",
        )
    return prefix


def _single(text: str) -> Prefix:
    prefix = Prefix.parse(text)
    if prefix.length != len(prefix.packed) * 8:
        raise InputError(f"--own: {text!r} is no single address")
    return prefix


def _make(settings: Settings, options: Options, own: list[Prefix]) -> Twin:
    from xdpwall.config import Config
    from xdpwall.dataplane import twin
    from xdpwall.errors import NotLoadedError

    config = Config.load(options.config_path)
    if options.fresh:
        return twin.fresh(config, own)
    try:
        return twin.copy_of(settings.paths, config, options.interface)
    except NotLoadedError as error:
        raise NotLoadedError(error.message, hint="`--fresh` asks a wall that is not loaded") from None


def _program(twin: Twin) -> dict[str, Any]:
    return {
        "interface": twin.interface,
        "policy": twin.config.policy,
        "same_as_loaded": None if twin.interface is None else not twin.differences,
        "differences": twin.differences,
    }


def _tell_program(program: dict[str, Any]) -> None:
    if program["interface"] is None:
        say("asked: a wall that was just loaded; nothing of a standing one is in it")
    elif program["differences"]:
        note(
            "warning: this is not quite the loaded program, which was made from another configuration or version"
            f" (other: {', '.join(program['differences'])}). Give its config with -c, or load again."
        )
    if program["policy"] == "observe":
        say("policy is observe: what would be dropped passes all the same")


def _source(settings: Settings, twin: Twin, source: Prefix, options: Options) -> dict[str, Any]:
    from xdpwall.control import explain

    meant = Prefix.covering(source.packed, 32 if source.version == 4 else 64)
    cpu = explain.busiest_cpu(twin, meant)
    if cpu is not None:
        twin.run_on(cpu)
    target = explain.own_address(source.version, options.to, twin.own_addresses())
    metered, lanes = explain.meters(twin, meant), explain.lanes(twin)  # before our own packets are counted
    question = explain.Question(source.packed, target, options.proto, options.port, options.from_port)
    found = explain.ask(twin, question)
    return {
        "source": str(source),
        "counts_as": str(meant),
        "target": str(Prefix(target, len(target) * 8)),
        "listed": None if options.fresh else _listed(settings, source),
        "meters": metered,
        "lanes": lanes,
        "packets": found,
    }


def _listed(settings: Settings, source: Prefix) -> dict[str, Any] | None:
    """The ban and the allowlist entry that hold it, with reasons; None when nobody can tell."""
    try:
        found = ask(settings, "ban.test", prefix=str(source))
    except (NoControllerError, NotFoundError, RefusedError) as error:
        note(f"warning: {error.message}")
        return None
    return {name: found[name] for name in ("banned", "ban", "allowed_by")}


def _capture(
    settings: Settings, twin: Twin, path: Path, options: Options, own: list[Prefix]
) -> dict[str, Any]:
    from xdpwall.control.explain_capture import go_through
    from xdpwall.interface.cli.explain_show import packet_line
    from xdpwall.pcap import Reader

    reader = Reader(path)
    shown: list[dict[str, Any]] = []
    mine = twin.own_addresses() | {prefix.packed for prefix in own}

    def show(row: dict[str, Any]) -> None:
        if settings.json:
            shown.append(row)
        else:
            say(packet_line(row))

    account = go_through(
        twin,
        reader,
        own=mine,
        pace=options.pace,
        limit=options.packets,
        show=show if options.verbose else None,
    )
    result = {"file": str(path), **account.as_object(_TOP), "broken": reader.broken}
    return {**result, "shown": shown} if options.verbose and settings.json else result
