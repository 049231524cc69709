# SPDX-License-Identifier: Apache-2.0
"""The rules of the source tree that no linter knows: layers, licences, sizes, what a light verb may import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "xdpwall"

# Who may import whom. "leaves" are the modules directly in xdpwall/; a layer may always import itself.
# The order is: leaves <- dataplane, detection <- incident <- control <- interface. Two layers of the same rank do not
# know each other; the controller feeds the incidents, which know nothing of it. The lab drives the wall from outside,
# so only the bench, which measures in it, and the command line know the lab.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "leaves": frozenset(),
    "dataplane": frozenset({"leaves"}),
    "detection": frozenset({"leaves"}),
    "control": frozenset({"leaves", "dataplane", "detection", "incident"}),
    "incident": frozenset({"leaves", "dataplane", "detection"}),
    "lab": frozenset({"leaves", "dataplane", "control"}),
    "bench": frozenset({"leaves", "dataplane", "detection", "control", "lab"}),
    "interface": frozenset({"leaves", "dataplane", "detection", "control", "incident", "lab", "bench"}),
}
# Modules that are not in a layer: the entry point of `python -m xdpwall`.
OUTSIDE_LAYERS = frozenset({"xdpwall.__main__"})
# bcc brings LLVM: one module may import it, and does so lazily.
BCC_ONLY_IN = "xdpwall.dataplane.compiler"
# Too slow to import for a verb that only asks a question.
HEAVY = ("bcc", "numpy", "pyroute2")
MAX_LINES = 400
# Public documents that comments may point to. Anything else is probably a machine's or a service's address.
URL_HOSTS = frozenset(
    {
        "datatracker.ietf.org", "docs.kernel.org", "docs.python.org", "git.kernel.org", "github.com",
        "json-schema.org", "keepachangelog.com", "man7.org", "peps.python.org", "semver.org", "standards.ieee.org",
        "www.apache.org", "www.debian.org", "www.gnu.org", "www.iana.org", "www.ietf.org", "www.kernel.org",
        "www.rfc-editor.org", "www.w3.org",
    }
)  # fmt: skip
EXAMPLE_HOST = re.compile(
    r"(^|\.)(example\.(com|org|net)|example|test|localhost|invalid)$|^[\d.]+$|^\[|[{<$%*]"
)


def python_files(*folders: str) -> list[Path]:
    """Every Python source below the folders, sorted."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def text_files() -> list[Path]:
    """Every text of our own that git would take, whether committed yet or not; licence texts are not our own."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listed.returncode:  # an unpacked source archive has no git
        names = [
            str(p.relative_to(ROOT)) for d in ("xdpwall", "bpf", "tests") for p in (ROOT / d).rglob("*.*")
        ]
    else:
        names = [name for name in listed.stdout.decode().split("\0") if name]
    keep = []
    for name in names:
        path = ROOT / name
        if path.is_file() and not name.startswith("LICENSE") and "__pycache__" not in name:
            with path.open("rb") as file:
                if b"\0" not in file.read(8192):
                    keep.append(path)
    return keep


def module_name(path: Path) -> str:
    """The dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str:
    """The layer of a module of ours, by its place in the tree."""
    parts = module.split(".")
    if len(parts) > 1 and (PACKAGE / parts[1]).is_dir():
        return parts[1]
    return "leaves"


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a file imports, inside functions and for type checking too."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{stem}.{alias.name}"
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).rsplit(".", 1)[-1] in {"import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, str(node.args[0].value)


def broken_imports(path: Path) -> list[str]:
    """What is wrong with the imports of one file of the package, one sentence each."""
    module = module_name(path)
    if module in OUTSIDE_LAYERS:
        return []
    layer = layer_of(module)
    if layer not in MAY_IMPORT:
        return [f"{path}: folder {layer!r} has no layer; give it one in MAY_IMPORT"]
    broken = []
    for line, name in imports(path):
        root = name.split(".", maxsplit=1)[0]
        if root == "bcc" and module != BCC_ONLY_IN:
            broken.append(f"{path}:{line}: bcc may be imported only in {BCC_ONLY_IN}")
        if root in {"scapy", "pytest", "hypothesis", "tests"}:
            broken.append(f"{path}:{line}: {root} is for tests")
        if root != "xdpwall" or name == "xdpwall.__version__":
            continue
        target = layer_of(name)
        if target != layer and target not in MAY_IMPORT[layer]:
            broken.append(f"{path}:{line}: {layer} must not import {target} ({name})")
        if layer == "lab" and target != "lab" and any(part.startswith("_") for part in name.split(".")):
            broken.append(f"{path}:{line}: the lab uses public faces only ({name})")
    return broken


def test_imports_run_one_way() -> None:
    """leaves <- dataplane, detection <- incident <- control <- interface; the lab uses public faces only."""
    files = python_files("xdpwall")
    assert files
    assert [line for path in files for line in broken_imports(path)] == []


@pytest.mark.parametrize(
    ("where", "text", "found"),
    [
        ("xdpwall/errors.py", "import xdpwall.control.tick", "leaves must not import control"),
        (
            "xdpwall/control/tick.py",
            "from xdpwall.interface.cli import main",
            "control must not import interface",
        ),
        ("xdpwall/detection/rates.py", "from ..dataplane import maps", "detection must not import dataplane"),
        (
            "xdpwall/detection/rates.py",
            "def f():\n    import xdpwall.lab.net",
            "detection must not import lab",
        ),
        ("xdpwall/control/tick.py", "import bcc", "bcc may be imported only in"),
        ("xdpwall/control/tick.py", "importlib.import_module('bcc')", "bcc may be imported only in"),
        ("xdpwall/lab/net.py", "from xdpwall.control.store import _connect", "public faces only"),
        ("xdpwall/lab/net.py", "import scapy.all", "scapy is for tests"),
        ("xdpwall/teapot/pour.py", "", "has no layer"),
    ],
)
def test_the_import_rule_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, text: str, found: str
) -> None:
    """The rule itself works: each of these is caught."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path / "xdpwall")
    for layer in MAY_IMPORT.keys() - {"leaves"}:
        (tmp_path / "xdpwall" / layer).mkdir(parents=True)
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    broken = broken_imports(path)
    assert len(broken) == 1
    assert found in broken[0]


def test_every_module_says_what_it_is() -> None:
    """A docstring at the top of each module of the package and of the tests."""
    bare = [
        str(p) for p in python_files("xdpwall", "tests") if not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert bare == []


def test_every_source_names_its_licence() -> None:
    """Apache-2.0 for all but the C of the data path, which the kernel's helpers need under the GPL too."""
    wrong = []
    for path in text_files():
        relative = path.relative_to(ROOT)
        with path.open(encoding="utf-8") as file:
            head = "".join(file.readline() for _ in range(3))
        if path.suffix in {".c", ".h"} and relative.parts[0] == "bpf":
            expected = "/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */"
        elif (
            path.suffix in {".py", ".toml", ".sh", ".service"}
            or relative.name == "Makefile"
            or head.startswith("#!")
        ):
            expected = "# SPDX-License-Identifier: Apache-2.0"
        else:
            continue
        if expected not in head:
            wrong.append(f"{relative}: its first lines need: {expected}")
    assert wrong == []


def test_files_stay_small() -> None:
    """One subject a file: past the limit it has two."""
    sources = python_files("xdpwall") + sorted(p for p in (ROOT / "bpf").rglob("*.[ch]"))
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in sources}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_unit_tests_mirror_the_package() -> None:
    """A folder of tests/unit carries the name of the layer that it tests."""
    folders = {p.name for p in (ROOT / "tests" / "unit").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= MAY_IMPORT.keys()


def test_nothing_of_one_machine_is_committed() -> None:
    """No path of somebody's machine, no address of a service, no note to oneself."""
    path_of_machine = re.compile(r"(?<![\w.\-/])/(?:home|Users|work|workspace|builds)/\w")
    note = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    url = re.compile(r"https?://(\[[^\]]*\]|[^\s/:'\"`)>]+)")
    wrong = []
    for path in text_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            where = f"{path.relative_to(ROOT)}:{number}"
            wrong += [
                f"{where}: {match[0]}" for match in (path_of_machine.search(line), note.search(line)) if match
            ]
            hosts = (match[1].rsplit("@", 1)[-1] for match in url.finditer(line))
            wrong += [f"{where}: {h}" for h in hosts if h not in URL_HOSTS and not EXAMPLE_HOST.search(h)]
    assert wrong == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["ban", "add", "--help"],
        ["status"],
        ["verdicts"],
        ["ban", "list"],
        ["ban", "test", "192.0.2.1"],
        ["allow", "list"],
        ["incident", "list"],
        ["incident", "show"],
    ],
    ids=" ".join,
)
def test_a_light_verb_imports_nothing_heavy(arguments: list[str]) -> None:
    """Asking is fast: neither the compiler, nor netlink, nor numpy is imported to answer."""
    code = (
        "import sys\n"
        f"sys.argv = ['xdpwall', '--instance', 'nothing-here', *{arguments!r}]\n"
        "from xdpwall.interface.cli.main import main\n"
        "try:\n    status = main()\n"
        "except SystemExit as error:\n    status = error.code\n"
        f"print('loaded:', *[name for name in {HEAVY!r} if name in sys.modules])\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    # 1: not root. 3 and 4: there is neither a controller nor a wall of this name.
    assert done.returncode in ({0} if "--help" in arguments else {0, 1, 3, 4}), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"
