"""Behavior common to all jobs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_local.sagemaker import container_processes, processing_jobs, resource_store, training_jobs
from mlops_local.sagemaker.api_shapes import Record, ServiceError
from mlops_local.sagemaker.container_processes import Job

pytestmark = pytest.mark.usefixtures("fresh_account")


def _job(tmp_path: Path) -> Job:
    record = resource_store.add("ProcessingJob", "j", {"ProcessingJobStatus": "InProgress", "RoleArn": "arn:role"})
    job = Job(kind="ProcessingJob", record=record, image="i", command=["c"], group="g", given={}, isolated=True)
    job.root = tmp_path
    return job


def test_stop_is_asked_for_until_the_job_has_ended(tmp_path: Path) -> None:
    """A running job is Stopping, also after a second request; an ended one stays as it is."""
    job = _job(tmp_path)
    assert not job.is_stopping
    for _ in range(2):
        assert container_processes.request_stop("ProcessingJob", "j")["ProcessingJobStatus"] == "Stopping"
    assert job.is_stopping
    resource_store.update(job.record, ProcessingJobStatus="Failed")
    with pytest.raises(ServiceError, match="rejected because the processing job is in status Failed"):
        container_processes.request_stop("ProcessingJob", "j")


def test_messages_of_the_script_are_cut(tmp_path: Path) -> None:
    """A file under /opt/ml/output is read up to the service's limit; without one there is no message."""
    job = _job(tmp_path)
    assert container_processes.message(job, "failure") is None
    (tmp_path / "output").mkdir()
    (tmp_path / "output/failure").write_text("x" * 2000)
    assert container_processes.message(job, "failure") == "x" * 1024


def test_job_acts_for_itself(tmp_path: Path) -> None:
    """The role's source ARN is the job's."""
    job = _job(tmp_path)
    assert (job.name, job.identity.role, job.identity.source) == ("j", "arn:role", job.record["ProcessingJobArn"])


def test_fails_on_an_image_without_a_runner() -> None:
    """A missing runner is a ValidationException."""
    with pytest.raises(ServiceError, match="no runner for image repository 'unknown'") as error:
        container_processes.command("unknown:1", {})
    assert error.value.code == "ValidationException"


@pytest.mark.parametrize("member", ["training", "processing", "transform"])
def test_local_storage_takes_no_key(member: str) -> None:
    """The error names type and fix; a type with a volume accepts a key, and one without works without a key."""
    resources = {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeKmsKeyId": "arn:key", "VolumeSizeInGB": 30}
    requests: dict[str, tuple[Callable[[Record], Record], Record]] = {
        "training": (training_jobs._refuse, {"ResourceConfig": resources, "OutputDataConfig": {}}),
        "processing": (processing_jobs._refuse, {"ProcessingResources": {"ClusterConfig": resources}}),
        "transform": (
            lambda request: container_processes.check_volume_key(request["TransformResources"]),
            {"TransformResources": resources},
        ),
    }
    check, request = requests[member]
    with pytest.raises(
        ServiceError, match=r"for instance type ml\.g5\.xlarge: it has local storage, .* leave VolumeKmsKeyId out"
    ):
        check(request)
    resources["InstanceType"] = "ml.m5.xlarge"
    check(request)
    resources |= {"InstanceType": "ml.g5.xlarge", "VolumeKmsKeyId": ""}
    check(request)
