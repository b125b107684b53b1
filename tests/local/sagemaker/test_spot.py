"""Managed spot training: what is refused, and a job that goes on from its checkpoints on another instance."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import CloudError
from mlops_local.sagemaker import spot

if TYPE_CHECKING:
    from conftest import Plane

BUCKET = "plane"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64


def _request(plane: "Plane", name: str, steps: int, *, wait: int | None = 120, **more: Any) -> dict[str, Any]:
    condition = {"MaxRuntimeInSeconds": 60} | ({} if wait is None else {"MaxWaitTimeInSeconds": wait})
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerArguments": ["end=counts", f"steps={steps}"],
        },
        "RoleArn": plane.role,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": condition,
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/checkpoints/{name}"},
    } | more


def _steps(plane: "Plane", name: str) -> dict[int, str]:
    found = plane.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"checkpoints/{name}/").get("Contents", [])
    bodies = {row["Key"]: plane.s3.get_object(Bucket=BUCKET, Key=row["Key"])["Body"].read().decode() for row in found}
    return {int(key.rpartition("/")[2].removesuffix(".step")): body for key, body in bodies.items()}


def _ended(plane: "Plane", name: str) -> dict[str, Any]:
    def done() -> Any:
        described = plane.sagemaker.describe_training_job(TrainingJobName=name)
        return described if described["TrainingJobStatus"] not in ("InProgress", "Stopping") else None

    found: dict[str, Any] = plane.wait(done, f"the end of job {name}")
    return found


def test_an_interrupted_job_goes_on_from_its_checkpoints(plane: "Plane") -> None:
    """Checkpoints go to S3 while it runs; after the interruption it starts again with them, and ends well.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html and, for the secondary status,
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html
    """
    plane.sagemaker.create_training_job(**_request(plane, "resumed", steps=8))
    plane.wait(lambda: len(_steps(plane, "resumed")) >= 2, "two checkpoints")
    assert plane.cloud.interrupt_training("resumed") == {"interrupted": "resumed"}
    described = _ended(plane, "resumed")
    assert described["TrainingJobStatus"] == "Completed"
    passed = [step["Status"] for step in described["SecondaryStatusTransitions"]]
    assert passed == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    steps = _steps(plane, "resumed")
    assert sorted(steps) == list(range(1, 9))
    firsts = {int(text.removeprefix("from ")) for text in steps.values()}
    assert firsts == {1, max(firsts)}
    assert max(firsts) >= 3
    assert described["BillableTimeInSeconds"] < described["TrainingTimeInSeconds"]


def test_a_job_that_waits_too_long_stops(plane: "Plane") -> None:
    """``MaxWaitTimeInSeconds`` counts all that the job takes; it comes to Stopped by MaxWaitTimeExceeded."""
    condition = {"MaxRuntimeInSeconds": 2, "MaxWaitTimeInSeconds": 2}
    plane.sagemaker.create_training_job(**_request(plane, "impatient", steps=1000, StoppingCondition=condition))
    plane.wait(lambda: len(_steps(plane, "impatient")) >= 1, "a checkpoint")
    plane.cloud.interrupt_training("impatient")
    described = _ended(plane, "impatient")
    assert described["TrainingJobStatus"] == "Stopped"
    assert described["SecondaryStatus"] == "MaxWaitTimeExceeded"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wait": None}, "Invalid MaxWaitTimeInSeconds. It must be present .* got None"),
        ({"wait": 30}, r"greater than or equal to MaxRuntimeInSeconds \(60\), got 30"),
        ({"EnableManagedSpotTraining": False}, "MaxWaitTimeInSeconds is for managed spot training only"),
        (
            {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/c", "LocalPath": "/opt/ml/model"}},
            "LocalPath must be a folder of its own under /opt/ml",
        ),
        ({"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/c", "LocalPath": "/checkpoints"}}, "got '/checkpoints'"),
    ],
)
def test_fails_on_what_does_not_fit(plane: "Plane", changes: dict[str, Any], message: str) -> None:
    """Nothing is started."""
    with pytest.raises(ClientError, match=message):
        plane.sagemaker.create_training_job(**_request(plane, "unfit", steps=1, **changes))


def test_only_what_trains_on_spot_can_be_interrupted(plane: "Plane") -> None:
    """Another name, another method and another body are refused by name."""
    with pytest.raises(CloudError, match="'absent' is no managed spot training job that trains now"):
        plane.cloud.interrupt_training("absent")
    assert spot.control("GET", b"")[0] == 405
    assert spot.control("POST", json.dumps([]).encode())[0] == 400
