"""Location of uv, and the lock files that it writes."""

import sys
from pathlib import Path

import pytest

from mlops_runtime.image.requirements_lock import RequirementsError
from mlops_runtime.image.uv_program import MissingUvError, compile_lock, find_uv


def test_uv_is_that_of_the_variable_the_path_or_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are tried in this order; otherwise the message contains the command that installs uv."""
    monkeypatch.setenv("UV", "/given/uv")
    assert find_uv() == "/given/uv"
    monkeypatch.delenv("UV")
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    with pytest.raises(MissingUvError, match="needs uv: pip install uv"):
        find_uv()
    (tmp_path / "bin" / "uv").touch()
    assert find_uv() == str(tmp_path / "bin" / "uv")


@pytest.mark.parametrize("is_universal", [True, False])
def test_a_lock_is_for_every_machine_or_for_the_image(
    is_universal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of the error messages write a valid lock."""
    program = tmp_path / "uv"
    line = f"six==1.17.0 --hash=sha256:{'0a' * 32}"
    program.write_text(f'#!/bin/sh\nfor last; do :; done\necho "# uv $@" > "$last"\necho "{line}" >> "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("UV", str(program))
    (tmp_path / "team.in").write_text("six\n")

    lock = compile_lock(tmp_path / "team.in", tmp_path / "team.lock", is_universal=is_universal)

    assert lock.is_universal is is_universal
    assert lock.platform == (None if is_universal else "x86_64-manylinux_2_28")
    words = lock.content.decode().split()
    assert words[words.index("-o") - 1 : words.index("-o") + 2] == [
        str(tmp_path / "team.in"),
        "-o",
        str(tmp_path / "team.lock"),
    ]


def test_fails_with_what_uv_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is one line."""
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\necho '  ├─▶ No solution found:' >&2\necho '  ╰─▶ only sources' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("UV", str(program))
    with pytest.raises(
        RequirementsError, match=r"No solution found: only sources; each package needs a version with wheels"
    ):
        compile_lock(tmp_path / "team.in", tmp_path / "team.lock", is_universal=True)
