# SPDX-License-Identifier: Apache-2.0
"""Inside an emulated machine with another kernel: the wall on a real virtio card, then the data path's tests.

python packaging/kernels/guest.py FOLDER MODE TEST...    FOLDER takes `told` (lines for people) and `result`

MODE: `full` compiles the wall in here too, once, with the command as a user has it; `quick` has the host compile it.
"""

from __future__ import annotations

import os
import platform
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "system"))

import card
import wire
from card import run

HERE = Path(__file__).parent
INSTANCE = ("--instance", "guest")
LIMIT_PPS = 250
"""Of a source. Far below what arrives even on a slow emulator."""
LOOK_S = 8.0


class Sender:
    """Tells the sender on the host what to send. It maps this file, and cannot be mapped from in here."""

    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_RDWR)

    def send(self, what: int) -> None:
        """A number of wire.py; 0 is the flood alone."""
        os.pwrite(self._fd, struct.pack("=Q", what), 24)

    def newcomers(self) -> int:
        """Packets of the source that is under limits, in all."""
        return int(struct.unpack("=Q", os.pread(self._fd, 8, 16))[0])


def prepare() -> None:
    """What an init would have done besides the mounts of `enter`."""
    Path("/run/netns").mkdir()
    for key in ("accept_ra", "disable_ipv6"):
        Path(f"/proc/sys/net/ipv6/conf/all/{key}").write_text("0" if key == "accept_ra" else "1")


def tests(folder: Path, files: list[str]) -> str:
    """The data path's tests. Gives pytest's last line."""
    tally = folder / "tally"
    environment = {**os.environ, "CI": "true", "PYTHONPATH": str(HERE), "KERNELS_TALLY": str(tally)}
    with (folder / "pytest.log").open("w") as log:
        done = subprocess.run(
            (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "asking", "-p", "tally",
             "--timeout=900", *files),
            stdout=log, stderr=subprocess.STDOUT, check=False, env=environment,
        )  # fmt: skip
    text = (folder / "pytest.log").read_text()
    print(text[-8000:], flush=True)
    last = text.strip().splitlines()[-1].strip("= ")
    shown = f"{last}\n{tally.read_text() if tally.exists() else ''}".rstrip()
    if done.returncode:
        raise SystemExit(f"tests: {shown}")
    return shown


def card_name() -> str:
    """The interface that the virtio card became."""
    for folder in Path("/sys/class/net").iterdir():
        if (folder / "address").read_text().strip() == "02:00:00:00:00:01":
            return folder.name
    raise SystemExit("no virtio card is here")


def passed_of(behind: wire.Behind, sender: Sender, what: int) -> float | None:
    """How many times its limit a source gets through that sends far more, once its burst is used up.

    None: a busy host did not send far more.
    """
    sender.send(what)
    time.sleep(3.0)
    before, sent, start = behind.newcomer, sender.newcomers(), time.monotonic()
    time.sleep(LOOK_S)
    allowed = (time.monotonic() - start) * LIMIT_PPS
    share, offered = (behind.newcomer - before) / allowed, (sender.newcomers() - sent) / allowed
    sender.send(wire.SILENCE)
    time.sleep(0.5)
    return share if offered > 2.5 else None


def on_the_card(folder: Path, mode: str) -> list[str]:
    """The wall in native mode on a virtio card with several queues, in a flood from the host. Gives what was seen."""
    command = ("-m", "xdpwall") if mode == "full" else (str(HERE / "asking.py"),)
    xdpwall = (sys.executable, *command, *INSTANCE)
    name = card_name()
    config = folder / "card.toml"
    config.write_text(
        f'interfaces = ["{name}"]\n[limits.source]\npps = {LIMIT_PPS}\n'
        + "".join(
            f"[lanes.{lane}]\npps = 0\nbps = 0\n" for lane in ("udp", "closed")
        )  # loaded, and never in the way
    )
    run("ip", "addr", "add", f"{wire.TARGET}/24", "dev", name)
    run("ip", "link", "set", name, "up")
    sender = Sender(folder / "sent")
    start = time.monotonic()
    run(*xdpwall, "load", "-c", str(config))
    where = "in here" if mode == "full" else "on the host"
    seen = [f"loaded in {time.monotonic() - start:.0f} s, compiled {where}"]
    try:
        # Only while somebody looks: under emulation a flood leaves the rest of the machine little time.
        seen.append(
            card.watch(
                name, xdpwall, queues_at_work=2, flood=lambda on: sender.send(0 if on else wire.SILENCE)
            )
        )
        behind = wire.Behind(name)
        one, many = (passed_of(behind, sender, what) for what in (wire.ONE_FLOW, wire.NEWCOMERS))
        if one is None or many is None:
            return [*seen, "SKIPPED limits over several queues: the host is too busy to send enough"]
        limits = f"of a source's limit of {LIMIT_PPS}/s passed: {one:.2f} times in one flow, {many:.2f} times in 254"
        # A native program makes virtio use more queues than there are CPUs, and a bucket is a CPU's.
        queues, cpus = len(list(Path(f"/sys/class/net/{name}/queues").glob("rx-*"))), os.cpu_count() or 1
        limits += f" over {queues} queues on {cpus} CPUs"
        # An emulator's clock is uneven: a tenth more is no fault.
        if not 0 < one <= 1.1 or not one <= many * 1.1 or many > min(queues, cpus) * 1.1:
            raise SystemExit(f"on {name}: {limits}")
        seen.append(limits)
        return seen
    finally:
        sender.send(wire.SILENCE)
        run(*xdpwall, "unload")


def main(folder: Path, mode: str, files: list[str]) -> None:
    """Run all of it; the first failure ends it."""
    told = folder / "told"
    told.write_text(f"kernel {platform.release()}\n")

    def tell(line: str) -> None:
        with told.open("a") as file:
            file.write(f"  {line}\n")

    prepare()
    try:
        for line in on_the_card(folder, mode):
            tell(f"virtio: {line}")
        if files:
            tell(f"data path, native on veth: {tests(folder, files)}")
    except SystemExit as error:
        tell(re.sub(r"\s*\n\s*", "\n    ", str(error.code)))
        raise
    (folder / "result").write_text("passed\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
