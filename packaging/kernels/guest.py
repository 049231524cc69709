# SPDX-License-Identifier: Apache-2.0
"""Inside an emulated machine with another kernel: the data path's tests, then the wall on a real virtio card.

python packaging/kernels/guest.py FOLDER TEST...    FOLDER takes `told` (lines for people) and `result`
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "system"))

import card
import wire
from card import run

XDPWALL = (sys.executable, "-m", "xdpwall", "--instance", "guest")


def prepare() -> None:
    """What an init would have done."""
    for kind, place in (("bpf", "/sys/fs/bpf"), ("tmpfs", "/var/lib"), ("tmpfs", "/run")):
        run("mount", "-t", kind, kind, place)
    Path("/run/netns").mkdir()
    for key in ("accept_ra", "disable_ipv6"):
        Path(f"/proc/sys/net/ipv6/conf/all/{key}").write_text("0" if key == "accept_ra" else "1")
    for module in ("virtio_net", "veth", "tun", "sch_ingress", "cls_bpf", "act_bpf"):
        subprocess.run(("modprobe", "-q", module), check=False)  # built in, or not there: the tests say


def tests(files: list[str]) -> str:
    """The data path's tests. Gives pytest's last line."""
    done = subprocess.run(
        (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=900", *files),
        stdout=subprocess.PIPE, text=True, check=False, env={**os.environ, "CI": "true"},
    )  # fmt: skip
    print(done.stdout[-8000:], flush=True)
    last = done.stdout.strip().splitlines()[-1].strip("= ")
    if done.returncode:
        raise SystemExit(f"tests: {last}")
    return last


def card_name() -> str:
    """The interface that the virtio card became."""
    for folder in Path("/sys/class/net").iterdir():
        if (folder / "address").read_text().strip() == "02:00:00:00:00:01":
            return folder.name
    raise SystemExit("no virtio card is here")


def on_the_card() -> str:
    """The wall in native mode on a virtio card with several queues, in a flood from the host. Gives what was seen."""
    name = card_name()
    run("ip", "addr", "add", f"{wire.TARGET}/24", "dev", name)
    run("ip", "link", "set", name, "up")
    run(*XDPWALL, "load", "-i", name)
    try:
        return card.watch(name, XDPWALL, queues_at_work=2)
    finally:
        run(*XDPWALL, "unload")


def main(folder: Path, files: list[str]) -> None:
    """Run all of it; the first failure ends it."""
    folder.mkdir(exist_ok=True)
    told = [f"kernel {platform.release()}"]
    prepare()
    try:
        told.append(f"  virtio: {on_the_card()}")
        told.append(f"  data path and native veth: {tests(files)}")
        (folder / "result").write_text("passed\n")
    finally:
        (folder / "told").write_text("\n".join(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
