"""Resource limits of a job on this machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from mlops_local.sagemaker.job_bounds import JobBounds

GIB = 1024**3


def test_input_does_not_count_as_written(tmp_path: Path) -> None:
    """A job with a large training set may write as much as any other; deleted files free space."""
    (tmp_path / "input").write_bytes(bytes(2000))
    bounds = JobBounds(root=tmp_path, volume=GIB, written=1000, free=0)
    assert bounds.problem(0) is None
    (tmp_path / "model").write_bytes(bytes(1000))
    assert bounds._disk() is None
    (tmp_path / "more").write_bytes(bytes(1))
    problem = bounds._disk()
    assert problem is not None
    assert problem.startswith(
        "the job wrote 1001 bytes below /opt/ml, at most 1000 bytes are allowed in the embedded cloud;"
    )
    (tmp_path / "more").unlink()
    assert bounds._disk() is None


def test_the_disk_of_the_machine_is_never_filled(tmp_path: Path) -> None:
    """Whatever filled it: a job must not use the last free space."""
    problem = JobBounds(root=tmp_path, volume=GIB, free=1024**6).problem(0)
    assert problem is not None
    assert "left, 1073741824.0 GiB must stay free; make room for" in problem


def test_processes_of_a_job_are_counted(tmp_path: Path) -> None:
    """Forked processes of its script count while they live."""
    code = "import os, signal, sys\nfor _ in range(4):\n    if os.fork() == 0: signal.pause()\nprint(); signal.pause()"
    bounds = JobBounds(root=tmp_path, volume=GIB, free=0, processes=4)
    with subprocess.Popen([sys.executable, "-uc", code], process_group=0, stdout=subprocess.PIPE) as job:
        assert job.stdout is not None
        job.stdout.readline()
        problem = bounds.problem(job.pid)
        subprocess.run(["kill", "-KILL", "--", f"-{job.pid}"], check=True)
    assert problem == (
        "the job had 5 processes at once, at most 4 run in the embedded cloud; start fewer, or set MLOPS_LOCAL_JOB_PROCESSES "
        "before mlops local up"
    )
    assert bounds.problem(job.pid) is None


def test_bounds_may_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By two variables of the embedded cloud, and by the job's requested volume."""
    record = {"ProcessingResources": {"ClusterConfig": {"VolumeSizeInGB": 7}}}
    assert JobBounds.of(record, tmp_path).volume == 7 * GIB
    assert JobBounds.of({"ResourceConfig": {"VolumeSizeInGB": 3}}, tmp_path).written == 2 * GIB
    monkeypatch.setenv("MLOPS_LOCAL_JOB_GIB", "0.5")
    monkeypatch.setenv("MLOPS_LOCAL_JOB_PROCESSES", "9")
    bounds = JobBounds.of({}, tmp_path)
    assert (bounds.written, bounds.processes, bounds.volume) == (GIB // 2, 9, 30 * GIB)
