"""Unpacking a team's code and running a script of it."""

import zipfile
from pathlib import Path

import pytest

from mlops_runtime.jobs.optml import JobError
from mlops_runtime.jobs.script import only_script, run_script, unpack


def zipped(folder: Path, script: str) -> Path:
    """Return a directory with a zip that holds ``run.py``."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "code.zip", "w") as archive:
        archive.writestr("run.py", script)
    return folder


def test_a_script_runs_where_its_code_is(tmp_path: Path) -> None:
    """With the variables given, besides those of the job."""
    script = "import os, pathlib\npathlib.Path(os.environ['TO'], 'cwd').write_text(os.getcwd())"
    run_script(zipped(tmp_path / "in", script), "run.py", folder=tmp_path / "code", environment={"TO": str(tmp_path)})
    assert (tmp_path / "cwd").read_text() == str(tmp_path / "code")


def test_fails_with_the_last_line_and_the_tail(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Thirty lines are kept for the reason, all are shown."""
    script = "import sys\nfor n in range(40): print(n, file=sys.stderr)\nraise SystemExit('no rows')"
    with pytest.raises(JobError) as error:
        run_script(zipped(tmp_path / "in", script), "run.py", folder=tmp_path / "code", environment={})
    first, *tail = str(error.value).splitlines()
    assert first == "run.py ended with exit code 1: no rows"
    assert (tail[0], tail[-1], len(tail)) == ("11", "no rows", 30)
    assert capfd.readouterr().err.startswith("0\n1\n")


def test_fails_without_exactly_one_script() -> None:
    """The usage names the job."""
    assert only_script("process", ["a.py"]) == "a.py"
    with pytest.raises(JobError, match=r"usage: python -m mlops_runtime.jobs.process <script>, got \['a', 'b'\]"):
        only_script("process", ["a", "b"])


def test_fails_for_a_zip_with_paths_outside_itself(tmp_path: Path) -> None:
    """Nothing of such a zip is written."""
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("ok.py", "")
        archive.writestr("../evil.py", "")
    with pytest.raises(JobError, match=r"evil\.zip must not hold paths outside itself, got '\.\./evil\.py'"):
        unpack(tmp_path / "evil.zip", tmp_path / "code")
    assert not (tmp_path / "code").exists()


def test_fails_for_what_is_no_zip(tmp_path: Path) -> None:
    """A broken download is named."""
    (tmp_path / "code.zip").write_bytes(b"PK?")
    with pytest.raises(JobError, match=r"code\.zip is not a zip"):
        unpack(tmp_path / "code.zip", tmp_path / "code")
