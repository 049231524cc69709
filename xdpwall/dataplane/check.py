# SPDX-License-Identifier: Apache-2.0
"""Compiles and verifies every program of ``bpf/`` in every shape a config can give it; attaches nothing.

``make check`` runs it: ``python -m xdpwall.dataplane.check``. Warnings are errors in each compile, so this is the C's
linter too, and the verifier of the running kernel has its say on each variant.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator

from xdpwall.config import Config
from xdpwall.dataplane import defines, layout, source, sys_bpf
from xdpwall.dataplane.compiler import compile_source
from xdpwall.dataplane.loader import ready_program
from xdpwall.dataplane.stages import Stages
from xdpwall.errors import XdpwallError
from xdpwall.observe import PARTS


def variants() -> Iterator[Config]:
    """A config for each combination of what is compiled in or out."""
    for policy, malformed, own, meters in itertools.product(
        ("enforce", "observe"), (True, False), (True, False), (True, False)
    ):
        yield Config.from_mapping(
            {
                "policy": policy,
                "checks": {"malformed": malformed, "own_source": own},
                "meters": {"enabled": meters, "sources": 8192, "prefixes": 8192},
                "bans": {"capacity": 1024},
            }
        )
    for table in ("lanes", "syncookies"):
        yield Config.from_mapping({table: {"enabled": False}})
    for part in ("checks.own_source", "bans.source", "lanes.syn"):
        yield Config.from_mapping({"observe": [part]})
    yield Config.from_mapping({"observe": list(PARTS)})
    for off in ("pps", "bps", "syn"):
        yield Config.from_mapping({"limits": {"source": {off: 0}, "prefix": {off: 0}}})


def check(config: Config) -> int:
    """Compile and verify every program for one config, as for an ordinary and for a jumbo interface.

    Gives the instructions of the one that every packet meets.

    Raises:
        CompileError, VerifierError, LayoutError: what is wrong.
    """
    shape = defines.sizes(config, defines.possible_cpus())
    module = compile_source(
        source.bpf_folder() / "wall.c", defines.defines(config, shape, seed=1), fresh=True
    )
    try:
        layout.check_compiled(module)
        stages = Stages(module, {}, hz=250) if config.lanes.enabled else None
        for jumbo in (False, True):
            map_fds = stages.map_fds(jumbo) if stages is not None else {}
            code = ready_program(module, config, map_fds, slot=1, jumbo=jumbo, hz=250)
            os.close(sys_bpf.prog_load(code, "check", flags=sys_bpf.BPF_F_XDP_HAS_FRAGS if jumbo else 0))
        egress = module.program("egress")
        os.close(sys_bpf.prog_load(egress, "check", prog_type=sys_bpf.PROG_TYPE_SCHED_CLS))
        return len(module.program("wall")) // 8
    finally:
        module.close()


def main() -> int:
    """Check every variant; gives the exit code."""
    for config in variants():
        name = (
            f"policy={config.policy} malformed={config.checks.malformed} own_source={config.checks.own_source}"
            f" meters={config.meters.enabled} pps={config.limits.source.pps} bps={config.limits.source.bps}"
            f" syn={config.limits.source.syn} observe={len(config.observe)}"
            f" lanes={config.lanes.enabled} cookies={config.syncookies.enabled}"
        )
        try:
            sys.stdout.write(f"ok   {name}: {check(config)} instructions\n")
        except XdpwallError as error:
            sys.stderr.write(f"FAIL {name}: {error}\n{getattr(error, 'log', '')}\n")
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
