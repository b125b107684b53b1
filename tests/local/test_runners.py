"""The table of images and their commands."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from mlops_local import runners
from mlops_local.runners import UnknownImageError, lock_of
from mlops_runtime.image.requirements_lock import LOCK_COMMAND, asset_name

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


@pytest.fixture
def assets(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Objects of the bucket for stacks' assets."""
    objects: dict[str, bytes] = {}
    monkeypatch.setattr(runners.s3, "_buckets", {"cdk-x-assets-1": {"objects": objects}})
    monkeypatch.setattr(runners.s3, "_get_object_data", lambda _bucket, key: objects[key])
    monkeypatch.setattr(runners, "_FOUND", {})
    return objects


LOCKED = "000000000000.dkr.ecr.us-east-1.amazonaws.com/team/forecast@sha256:"


def test_an_image_is_found_by_the_hash_of_its_lock(assets: dict[str, bytes]) -> None:
    """Whatever the name of its repository; it serves and trains like our own image."""
    content = f"one==1.0 --hash=sha256:{'0a' * 32}\n".encode()
    digest = hashlib.sha256(content).hexdigest()
    assert lock_of(digest) is None
    assets[f"{asset_name(digest)}.lock"] = content
    assert runners.serve_command(LOCKED + digest) == [sys.executable, "-m", "mlops_runtime.serving", "serve"]
    assert runners.job_command(LOCKED + digest, None, None) == [sys.executable, "-m", "mlops_runtime.jobs.train"]


def test_an_asset_with_other_bytes_is_no_lock(assets: dict[str, bytes]) -> None:
    """Its name alone is not enough."""
    assets[f"{asset_name('0a' * 32)}.lock"] = b"anything"
    assert lock_of("0a" * 32) is None
    with pytest.raises(runners.UnknownImageError, match="no runner for image repository 'team/forecast'"):
        runners.runner(LOCKED + "0a" * 32)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("one>=1\n", "'one>=1' must be pinned as name==version"),
        (f"# uv pip compile --python-platform windows\none==1.0 --hash=sha256:{'0a' * 32}\n", "x86_64-pc-windows-msvc"),
    ],
)
def test_fails_on_a_lock_that_makes_no_environment_here(assets: dict[str, bytes], content: str, problem: str) -> None:
    """When a job or an endpoint uses it; the error has the fix."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    assets[f"{asset_name(digest)}.lock"] = content.encode()
    with pytest.raises(runners.UnknownImageError, match=problem) as raised:
        runners.runner(LOCKED + digest)
    assert LOCK_COMMAND in str(raised.value)
