# SPDX-License-Identifier: Apache-2.0
"""Prints the completion script for a shell. It asks the installed command, so it knows every verb and option."""

from __future__ import annotations

import sys

from click.shell_completion import get_completion_class

from xdpwall.interface.cli.main import cli


def main(shell: str) -> None:
    """Print the script."""
    kind = get_completion_class(shell)
    if kind is None:
        raise SystemExit(f"no completion for {shell}: bash, zsh, fish")
    completion = kind(cli, {}, "xdpwall", "_XDPWALL_COMPLETE")
    # Not completion.source(): for bash that looks at the version of the bash on the machine that builds.
    sys.stdout.write(completion.source_template % completion.source_vars())


if __name__ == "__main__":
    main(sys.argv[1])
