# SPDX-License-Identifier: Apache-2.0
"""Inside an emulated machine with another kernel: the data path's tests, then the wall on a real virtio card.

python packaging/kernels/guest.py FOLDER TEST...    FOLDER takes `told` (lines for people) and `result`
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "system"))

import wire

XDPWALL = (sys.executable, "-m", "xdpwall", "--instance", "guest")


def run(*argv: str) -> str:
    """Run a command; its output. What it says on stderr is shown."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


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


def card() -> str:
    """The interface that the virtio card became."""
    for folder in Path("/sys/class/net").iterdir():
        if (folder / "address").read_text().strip() == "02:00:00:00:00:01":
            return folder.name
    raise SystemExit("no virtio card is here")


def rx_interrupts(name: str) -> list[int]:
    """Interrupts of each receive queue, of all CPUs together."""
    device = (Path("/sys/class/net") / name / "device").resolve().name
    counts = []
    for line in Path("/proc/interrupts").read_text().splitlines():
        if re.search(rf"{device}-input\.\d+$", line):
            counts.append(sum(int(word) for word in line.split()[1:3] if word.isdigit()))
    return counts


def on_the_card() -> str:
    """The wall in native mode on a virtio card with several queues, in a flood from the host. Gives what was seen."""
    name = card()
    run("ip", "addr", "add", f"{wire.TARGET}/24", "dev", name)
    run("ip", "link", "set", name, "up")
    queues = len(list((Path("/sys/class/net") / name / "queues").glob("rx-*")))
    loaded = json.loads(run(*XDPWALL, "load", "-i", name, "-o", "json"))
    mode = loaded["interfaces"][0]["mode"]
    if mode != "native":
        raise SystemExit(f"attached in {mode} mode: {loaded['warnings']}")
    run(*XDPWALL, "ban", "add", f"{wire.BANNED_NET}0/24", "--for", "1h")
    behind, before = wire.Behind(name), rx_interrupts(name)
    start = dropped()
    time.sleep(5.0)
    leaked, honest, fresh = behind.flood + behind.overrun(), behind.honest, dropped() - start
    busy = sum(b > a for a, b in zip(before, rx_interrupts(name), strict=True))
    run(*XDPWALL, "unload")
    seen = (
        f"{fresh} dropped, {leaked} leaked, {honest} honest passed; {busy} of {queues} receive queues at work"
    )
    if leaked or not honest or fresh < 1000 or busy < 2:
        raise SystemExit(f"on the card: {seen}")
    return seen


def dropped() -> int:
    """Packets that the wall dropped since it was loaded."""
    return int(json.loads(run(*XDPWALL, "status", "-o", "json"))["totals"]["dropped_packets"])


def main(folder: Path, files: list[str]) -> None:
    """Run all of it; the first failure ends it."""
    folder.mkdir(exist_ok=True)
    told = [f"kernel {platform.release()}"]
    prepare()
    try:
        told.append(f"  virtio, native: {on_the_card()}")
        told.append(f"  data path and native veth: {tests(files)}")
        (folder / "result").write_text("passed\n")
    finally:
        (folder / "told").write_text("\n".join(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
