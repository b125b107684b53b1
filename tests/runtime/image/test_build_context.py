"""What docker gets to build an image from."""

import subprocess
import sys
from pathlib import Path

import pytest

from mlops_runtime.image.build_context import BuildContextError, write_context


def test_the_context_runs_by_itself(tmp_path: Path) -> None:
    """What is copied to site-packages imports without the checkout, and knows its version."""
    context = write_context("runtime", tmp_path / "context")
    program = "import mlops_runtime, importlib.metadata as m; print(mlops_runtime.__file__, m.version('mlops-runtime'))"

    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(context.folder / 'site-packages')!r}); {program}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.startswith(str(context.folder))
    assert done.stdout.split()[1] == context.tag.rpartition("-")[0]


def test_the_tag_changes_with_the_content_alone(tmp_path: Path) -> None:
    """The same files have the same tag wherever they lie; one other byte has another."""
    first, second = write_context("runtime", tmp_path / "a"), write_context("runtime", tmp_path / "b")
    explain = write_context("explain", tmp_path / "c")

    assert first.tag == second.tag != explain.tag


def test_what_a_context_held_is_replaced(tmp_path: Path) -> None:
    """An old file never reaches the build."""
    old = write_context("runtime", tmp_path / "context").folder / "old"
    old.write_text("x")

    assert not (write_context("explain", tmp_path / "context").folder / "old").exists()


def test_a_folder_of_other_files_is_left_as_it_is(tmp_path: Path) -> None:
    """A project or a home that is named by mistake stays; so does a file."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / ".dockerignore").write_text("*.csv")
    (tmp_path / "file").write_text("x")

    for name in ("project", "file"):
        with pytest.raises(BuildContextError, match="must be a new or empty folder"):
            write_context("explain", tmp_path / name)
    assert (tmp_path / "project" / ".dockerignore").read_text() == "*.csv"
    assert (tmp_path / "file").read_text() == "x"
