"""What docker gets to build an image from."""

import subprocess
import sys
from pathlib import Path

from mlops_runtime.image.build_context import write_context


def test_the_context_runs_by_itself(tmp_path: Path) -> None:
    """What is copied to site-packages imports without the checkout, and knows its version."""
    context = write_context("runtime", tmp_path / "context")
    program = (
        "import mlops_runtime, importlib.metadata as m; print(mlops_runtime.__file__, m.version('mlops-constructs'))"
    )

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


def test_what_the_folder_held_is_replaced(tmp_path: Path) -> None:
    """An old file never reaches the build."""
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "old").write_text("x")

    assert not (write_context("explain", tmp_path / "context").folder / "old").exists()
