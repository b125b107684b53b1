"""Arguments of jobs within SageMaker's limits, the documented layout and variables of its toolkit, and running a team's script."""

import argparse
import json
import os
import signal
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.jobs.job_environment import (
    JobError,
    OptMl,
    only_script,
    run_script,
    single_file,
    split_argument,
    unpack,
)


@given(st.dictionaries(st.text(alphabet="ab-é", max_size=40), st.integers(-9, 9), max_size=40))
def test_a_split_argument_joins_to_itself(document: dict[str, int]):
    """Pieces of at most 256 characters pass an argument parser and join to the text."""
    text = json.dumps(document)
    pieces = split_argument(text)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 256
    parser = argparse.ArgumentParser()
    parser.add_argument("--plan", nargs="+")
    parser.add_argument("--as-of")
    read = parser.parse_args(["--plan", *pieces, "--as-of", "now"])
    assert read.plan == pieces


def test_the_root_defaults_to_sagemakers() -> None:
    """Without the variable the paths are SageMaker's own."""
    opt_ml = OptMl.from_environment({})
    assert str(opt_ml.channel("train")) == "/opt/ml/input/data/train"
    assert str(opt_ml.processing_input("holdout")) == "/opt/ml/processing/input/holdout"
    assert str(opt_ml.processing_output("report")) == "/opt/ml/processing/output/report"
    assert str(opt_ml.failure) == "/opt/ml/output/failure"


def test_scripts_find_channels_and_hyperparameters(tmp_path: Path) -> None:
    """Hyperparameters are strings, decoded like the toolkit's."""
    opt_ml = OptMl.from_environment({"MLOPS_OPT_ML": str(tmp_path)})
    opt_ml.channel("train").mkdir(parents=True)
    config = tmp_path / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(
        '{"rounds": "100", "objective": "l1", "flags": "[1, 2]", "learning-rate": "0.1"}'
    )
    environment = opt_ml.training_environment()
    assert environment["SM_CHANNELS"] == '["train"]'
    assert environment["SM_CHANNEL_TRAIN"] == str(opt_ml.channel("train"))
    assert environment["SM_MODEL_DIR"] == str(tmp_path / "model")
    assert json.loads(environment["SM_HPS"]) == {
        "rounds": 100,
        "objective": "l1",
        "flags": [1, 2],
        "learning-rate": 0.1,
    }
    assert (environment["SM_HP_ROUNDS"], environment["SM_HP_OBJECTIVE"]) == ("100", "l1")
    assert environment["SM_HP_LEARNING_RATE"] == "0.1"


def test_fails_for_none_or_several_files(tmp_path: Path) -> None:
    """The candidates are named."""
    with pytest.raises(JobError, match=r"must contain exactly one file \*\.zip, got none"):
        single_file(tmp_path, "*.zip")
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).touch()
    with pytest.raises(JobError, match=r"exactly one file \*\.zip, got a\.zip, b\.zip"):
        single_file(tmp_path, "*.zip")


def zipped(folder: Path, script: str) -> Path:
    """Return a directory with a zip that holds ``run.py``."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "code.zip", "w") as archive:
        archive.writestr("run.py", script)
    return folder


def test_a_script_runs_where_its_code_is(tmp_path: Path) -> None:
    """With the given variables, and those of the job."""
    script = "import os, pathlib\npathlib.Path(os.environ['TO'], 'cwd').write_text(os.getcwd())"
    run_script(zipped(tmp_path / "in", script), "run.py", folder=tmp_path / "code", environment={"TO": str(tmp_path)})
    assert (tmp_path / "cwd").read_text() == str(tmp_path / "code")


def test_fails_with_the_last_line_and_the_tail(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The reason has thirty lines, the log all."""
    script = "import sys\nfor n in range(40): print(n, file=sys.stderr)\nraise SystemExit('no rows')"
    with pytest.raises(JobError) as error:
        run_script(zipped(tmp_path / "in", script), "run.py", folder=tmp_path / "code", environment={})
    first, *tail = str(error.value).splitlines()
    assert first == "run.py ended with exit code 1: no rows"
    assert (tail[0], tail[-1], len(tail)) == ("11", "no rows", 30)
    assert capfd.readouterr().err.startswith("0\n1\n")


def test_a_script_ends_before_what_it_has_started(tmp_path: Path) -> None:
    """A child that keeps standard error open does not block the job."""
    script = (
        "import os, pathlib, signal, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        "pathlib.Path(os.environ['TO']).write_text(str(child.pid))\n"
        "raise SystemExit('no rows')"
    )
    child = tmp_path / "pid"
    with pytest.raises(JobError, match="exit code 1: no rows"):
        run_script(zipped(tmp_path / "in", script), "run.py", folder=tmp_path / "code", environment={"TO": str(child)})
    os.kill(int(child.read_text()), signal.SIGKILL)


def test_a_script_that_closes_standard_error_runs_on(tmp_path: Path) -> None:
    """The job waits for its end, not for its messages."""
    script = (
        "import os, pathlib, subprocess, sys\nos.close(2)\n"
        "subprocess.run([sys.executable, '-c', 'pass'], check=True)\npathlib.Path(os.environ['TO']).touch()"
    )
    done = tmp_path / "done"
    run_script(zipped(tmp_path / "in", script), "run.py", folder=tmp_path / "code", environment={"TO": str(done)})
    assert done.exists()


def test_a_line_without_an_end_is_cut(tmp_path: Path) -> None:
    """Output without line endings is read in chunks; the reason has the last one."""
    script = "import sys\nfor _ in range(300): sys.stderr.write('é' * 10_000)\nsys.exit(2)"
    with pytest.raises(JobError) as error:
        run_script(zipped(tmp_path / "in", script), "run.py", folder=tmp_path / "code", environment={})
    assert len(str(error.value)) < 40_000


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
    with pytest.raises(JobError, match=r"evil\.zip must not contain paths outside itself, got '\.\./evil\.py'"):
        unpack(tmp_path / "evil.zip", tmp_path / "code")
    assert not (tmp_path / "code").exists()


def test_fails_for_what_is_no_zip(tmp_path: Path) -> None:
    """A broken download is reported by name."""
    (tmp_path / "code.zip").write_bytes(b"PK?")
    with pytest.raises(JobError, match=r"code\.zip is not a zip"):
        unpack(tmp_path / "code.zip", tmp_path / "code")
