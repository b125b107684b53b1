"""Checkpoints of a job: brought from S3, and kept there."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_local.sagemaker import checkpoints
from mlops_local.sagemaker.jobs import JobError


class _S3:
    """A bucket in memory."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def get_paginator(self, name: str) -> Any:
        """Return a paginator of one page."""
        assert name == "list_objects_v2"
        return SimpleNamespace(
            paginate=lambda **asked: [{"Contents": [{"Key": k} for k in self.objects if k.startswith(asked["Prefix"])]}]
        )

    def download_file(self, bucket: str, key: str, path: str) -> None:
        """Write an object to a file."""
        assert bucket == "b"
        Path(path).write_bytes(self.objects[key])

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        """Keep a file."""
        if bucket == "closed":
            raise OSError("not allowed")
        self.objects[key] = Path(path).read_bytes()


def _job(root: Path, bucket: str, objects: dict[str, bytes]) -> Any:
    identity = SimpleNamespace(client=lambda _: _S3(objects))
    return SimpleNamespace(
        name="job", root=root, identity=identity, record={"CheckpointConfig": {"S3Uri": f"s3://{bucket}/c/job"}}
    )


def test_what_there_is_comes_and_what_is_written_goes(tmp_path: Path) -> None:
    """Files come with their folders; only new and changed ones go, while the job runs and at its end."""
    objects = {"c/job/deep/1": b"one", "c/job/2": b"two", "c/jobless/3": b"other"}
    folder, seen = tmp_path / "checkpoints", threading.Event()
    with checkpoints.kept(_job(tmp_path, "b", objects)):
        assert (folder / "deep/1").read_bytes() == b"one"
        assert not (folder / "less/3").exists()
        objects["c/job/2"] = b"left alone"
        (folder / "3").write_bytes(b"three")
        for _ in range(100):
            if "c/job/3" in objects or seen.wait(0.05):
                break
        assert objects["c/job/3"] == b"three"
        (folder / "4").write_bytes(b"four")
    assert (objects["c/job/4"], objects["c/job/2"]) == (b"four", b"left alone")


def test_fails_when_the_role_may_not_write(tmp_path: Path) -> None:
    """A job whose checkpoints cannot be kept fails, and says so."""
    with (
        pytest.raises(JobError, match="ClientError: Checkpoint upload failed: not allowed"),
        checkpoints.kept(_job(tmp_path, "closed", {})),
    ):
        (tmp_path / "checkpoints" / "1").write_bytes(b"1")
