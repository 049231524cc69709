# SPDX-License-Identifier: Apache-2.0
"""Compiled programs that are kept: what comes back is what was compiled, and nobody but root could have written it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from xdpwall.config import Config
from xdpwall.dataplane import compiler, defines, image_store, source, sys_bpf
from xdpwall.dataplane.module import CompiledModule

ENTRY = ("lab", "counter.c")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache" / "programs"
    monkeypatch.setattr(image_store, "FOLDER", place)
    return place


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each time that bcc was asked."""
    lines: list[str] = []
    real = compiler._compile

    def ask(entry: Path, text: str, flags: list[str]) -> object:
        lines.append(entry.name)
        return real(entry, text, flags)

    monkeypatch.setattr(compiler, "_compile", ask)
    return lines


def compiled(**constants: int) -> CompiledModule:
    return compiler.compile_source(source.bpf_folder().joinpath(*ENTRY), constants)


def kept(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_the_second_time_nothing_is_compiled(folder: Path, asked: list[str]) -> None:
    compiled().close()
    compiled().close()
    assert asked == ["counter.c"]
    assert kept(folder).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_other_constants_are_another_program(folder: Path, asked: list[str]) -> None:
    compiled(ONE=1).close()
    compiled(ONE=2).close()
    assert len(asked) == 2
    assert len(list(folder.iterdir())) == 2


def test_what_is_kept_is_what_was_compiled(folder: Path) -> None:
    config = Config()
    wanted = defines.defines(config, defines.sizes(config, defines.possible_cpus()), seed=77)
    entry = source.bpf_folder() / "wall.c"
    first, second = compiler.compile_source(entry, wanted), compiler.compile_source(entry, wanted)
    try:
        assert first._image == second._image
        for spec in first._image.maps:
            one, other = sys_bpf.map_info(first.map_fd(spec.name)), sys_bpf.map_info(second.map_fd(spec.name))
            assert (one.type, one.key_size, one.value_size, one.max_entries, one.flags) == (
                other.type,
                other.key_size,
                other.value_size,
                other.max_entries,
                other.flags,
            )
            assert one.id != other.id
    finally:
        first.close()
        second.close()


def test_one_program_serves_every_seed(folder: Path, asked: list[str]) -> None:
    config = Config()
    shape = defines.sizes(config, defines.possible_cpus())
    code = []
    for seed in (1, 0xFEDC_BA98_7654_3210):
        module = compiler.compile_source(
            source.bpf_folder() / "wall.c", defines.defines(config, shape, seed=seed)
        )
        code.append(module.program("wall"))
        module.close()
    assert asked == ["wall.c"]
    assert code[0] != code[1]
    assert bytes.fromhex("10325476") in code[1]


def test_a_damaged_file_is_compiled_anew(folder: Path, asked: list[str]) -> None:
    compiled().close()
    path = kept(folder)
    whole = path.read_bytes()
    for damage in (whole[:-1], whole[: len(whole) // 2], b"", whole.replace(b"format", b"farmot")):
        path.write_bytes(damage)
        compiled().close()
        assert path.read_bytes() == whole
    assert len(asked) == 5


@pytest.mark.parametrize("which", ["file", "folder"])
@pytest.mark.parametrize("how", ["group", "others", "owner"])
def test_what_others_can_write_is_passed_over(
    folder: Path, asked: list[str], caplog: pytest.LogCaptureFixture, which: str, how: str
) -> None:
    compiled().close()
    path = kept(folder) if which == "file" else folder
    if how == "owner":
        os.chown(path, 12345, 12345)
    else:
        path.chmod(path.stat().st_mode | (0o020 if how == "group" else 0o002))
    with caplog.at_level(logging.WARNING):
        compiled().close()
    assert asked == ["counter.c"] * 2
    assert "passed over" in caplog.text


def test_a_link_is_not_followed(folder: Path, asked: list[str], tmp_path: Path) -> None:
    compiled().close()
    path = kept(folder)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    compiled().close()
    assert len(asked) == 2
    assert not path.is_symlink()


def test_no_room_is_no_fault(folder: Path, asked: list[str]) -> None:
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    compiled().close()
    compiled().close()
    assert len(asked) == 2


def test_the_least_used_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "KEPT", 2)
    compiled(ONE=1).close()
    first = kept(folder)
    os.utime(first, (1, 1))
    compiled(ONE=2).close()
    compiled(ONE=3).close()
    assert len(list(folder.iterdir())) == 2
    assert not first.exists()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)
