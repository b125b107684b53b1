"""The table of images and their commands."""

import json
import sys
from pathlib import Path

import pytest

from mlops_local import runners
from mlops_local.runners import UnknownImageError

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (IMAGE, "mlops-runtime"),
        ("000000000000.dkr.ecr.us-east-1.amazonaws.com/team/mlops-runtime:1.2", "team/mlops-runtime"),
        ("localhost:5000/tiny:1", "tiny"),
        ("tiny", "tiny"),
    ],
)
def test_repository_of_an_image(image: str, name: str) -> None:
    """Without registry, tag and digest."""
    assert runners.repository(image) == name


def test_entry_points_run_with_this_python() -> None:
    """Whatever Python the entry point names, this one runs."""
    for python in ("python", "python3", "python3.12", "/usr/bin/python3"):
        command = runners.job_command(IMAGE, [python, "-m", "mlops_runtime.jobs.train"], ["train.py"])
        assert command == [sys.executable, "-m", "mlops_runtime.jobs.train", "train.py"]


def test_a_spark_application_runs_with_this_python() -> None:
    """It creates its own session of this machine's Spark."""
    command = runners.job_command(IMAGE, ["smspark-submit", "/opt/ml/processing/input/code/app.py"], ["--now", "t"])
    assert command == [sys.executable, "/opt/ml/processing/input/code/app.py", "--now", "t"]


def test_serve_is_the_runtimes_server() -> None:
    """Endpoints of our image run its server."""
    assert runners.serve_command(IMAGE) == [sys.executable, "-m", "mlops_runtime.serving", "serve"]


def test_environment_adds_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row from the environment joins the table; it need not support serving."""
    monkeypatch.setenv("MLOPS_LOCAL_RUNNERS", json.dumps({"tiny": {"train": ["-c", "pass"]}}))
    assert runners.job_command("tiny:1", None, ["x"]) == [sys.executable, "-c", "pass", "x"]
    with pytest.raises(UnknownImageError, match="image repository 'tiny' has no 'serve'"):
        runners.serve_command("tiny:1")


def test_fails_on_an_image_that_is_not_in_the_table() -> None:
    """The message has the repository, the image and the table."""
    with pytest.raises(
        UnknownImageError,
        match=r"no runner for image repository 'xgboost'.*runners.py has 'mlops-explain', 'mlops-runtime'",
    ):
        runners.serve_command("000000000000.dkr.ecr.us-east-1.amazonaws.com/xgboost:1")


def test_fails_on_an_entry_point_that_is_not_python() -> None:
    """Other programs are inside the image, which is missing here."""
    with pytest.raises(UnknownImageError, match="entry point '/bin/bash' of image repository 'mlops-runtime'"):
        runners.job_command(IMAGE, ["/bin/bash", "-c", "true"], None)


def test_train_is_the_command_of_the_image() -> None:
    """SageMaker runs `IMAGE train` without arguments; here the command of the image's `train` runs."""
    lines = (
        (ROOT / "packages/mlops-runtime/src/mlops_runtime/image/containers/model/bin/train").read_text().splitlines()
    )
    assert lines[-1] == 'exec python -m mlops_runtime.jobs.train "$@"'
    assert runners.job_command(IMAGE, None, None) == [sys.executable, "-m", "mlops_runtime.jobs.train"]


def test_fails_without_an_entry_point_or_train(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processing jobs of our image need an entry point, and so does every job of an image without `train`."""
    with pytest.raises(UnknownImageError, match=r"has no 'process'.*give ContainerEntrypoint"):
        runners.job_command(IMAGE, None, None, is_processing=True)
    monkeypatch.setenv("MLOPS_LOCAL_RUNNERS", json.dumps({"tiny": {"serve": ["-c", "pass"]}}))
    with pytest.raises(UnknownImageError, match=r"has no 'train'.*give ContainerEntrypoint"):
        runners.job_command("tiny:1", None, None)
