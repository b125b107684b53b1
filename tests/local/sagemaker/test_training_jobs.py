"""Training jobs by boto3 on the embedded cloud: real scripts as processes, checkpoints, managed spot training.

Managed spot training: invalid requests, and a job that continues from its checkpoints on another instance.

Checkpoints are downloaded from S3 at the start, and uploaded while the job runs.
"""

import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.cloud import CloudError
from mlops_local.sagemaker import training_jobs
from mlops_local.sagemaker.container_processes import JobError

if TYPE_CHECKING:
    from conftest import Plane


BUCKET = "plane"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64


class _S3:
    """An in-memory bucket."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def get_paginator(self, name: str) -> Any:
        """Return a paginator of one page."""
        assert name == "list_objects_v2"
        return SimpleNamespace(
            paginate=lambda **request: [
                {"Contents": [{"Key": k} for k in self.objects if k.startswith(request["Prefix"])]}
            ]
        )

    def download_file(self, bucket: str, key: str, path: str) -> None:
        """Write an object to a file."""
        assert bucket == "b"
        Path(path).write_bytes(self.objects[key])

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        """Store a file."""
        if bucket == "closed":
            raise OSError("not allowed")
        self.objects[key] = Path(path).read_bytes()


def _job(root: Path, bucket: str, objects: dict[str, bytes]) -> Any:
    identity = SimpleNamespace(client=lambda _: _S3(objects))
    return SimpleNamespace(
        name="job", root=root, identity=identity, record={"CheckpointConfig": {"S3Uri": f"s3://{bucket}/c/job"}}
    )


def test_what_there_is_comes_and_what_is_written_goes(tmp_path: Path) -> None:
    """Files keep their folders; only new and changed files are uploaded, during the job and at its end."""
    objects = {"c/job/deep/1": b"one", "c/job/2": b"two", "c/jobless/3": b"other"}
    folder, seen = tmp_path / "checkpoints", threading.Event()
    with training_jobs.kept(_job(tmp_path, "b", objects)):
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
    """A job fails, with the reason, if its checkpoints cannot be uploaded."""
    with (
        pytest.raises(JobError, match="ClientError: Checkpoint upload failed: not allowed"),
        training_jobs.kept(_job(tmp_path, "closed", {})),
    ):
        (tmp_path / "checkpoints" / "1").write_bytes(b"1")


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
    """Checkpoints are uploaded to S3 while it runs; after the interruption it restarts with them, and completes.

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
    """``MaxWaitTimeInSeconds`` counts real seconds of the whole job; it ends as Stopped, MaxWaitTimeExceeded."""
    condition = {"MaxRuntimeInSeconds": 8, "MaxWaitTimeInSeconds": 8}
    plane.sagemaker.create_training_job(**_request(plane, "impatient", steps=1000, StoppingCondition=condition))
    requested = {"TrainingJobName": "impatient"}
    plane.wait(lambda: plane.sagemaker.describe_training_job(**requested)["SecondaryStatus"] == "Training", "the job")
    plane.cloud.interrupt_training("impatient")
    plane.cloud.clock_jump(by=timedelta(seconds=8))
    described = _ended(plane, "impatient")
    assert "Interrupted" in [step["Status"] for step in described["SecondaryStatusTransitions"]]
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
    """No job starts."""
    with pytest.raises(ClientError, match=message):
        plane.sagemaker.create_training_job(**_request(plane, "unfit", steps=1, **changes))


def test_only_what_trains_on_spot_can_be_interrupted(plane: "Plane") -> None:
    """An unknown job, another method and another body are rejected by name."""
    with pytest.raises(CloudError, match="'absent' is not a managed spot training job that trains now"):
        plane.cloud.interrupt_training("absent")
    assert training_jobs.control("GET", b"")[0] == 405
    assert training_jobs.control("POST", json.dumps([]).encode())[0] == 400


def _request_training(plane: "Plane", name: str, end: str = "well", **more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "ContainerArguments": [f"end={end}", "path=/opt/ml/input/data"],
        },
        "RoleArn": plane.role,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    } | more


def _channel(name: str, uri: str) -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}


def _seen(plane: "Plane", uri: str) -> dict[str, Any]:
    body = plane.s3.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
        member = tar.extractfile("seen.json")
        assert member is not None
        seen: dict[str, Any] = json.loads(member.read())
    return seen


@pytest.fixture(scope="module")
def completed(plane: "Plane") -> Iterator[dict[str, Any]]:
    """One completed job that uses the whole layout."""
    for key in ("sets/train/a.csv", "sets/train/deep/b.csv", "code/code.zip"):
        plane.s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    plane.sagemaker.create_training_job(
        **_request_training(
            plane,
            "completed",
            HyperParameters={"depth": "6"},
            Environment={"WHERE": "/opt/ml/model"},
            InputDataConfig=[
                _channel("train", f"s3://{BUCKET}/sets/train"),
                _channel("code", f"s3://{BUCKET}/code/code.zip"),
            ],
            Tags=[{"Key": "mlops:unit", "Value": "demand"}],
        )
    )
    yield _ended(plane, "completed")


def test_completes_with_a_model_in_s3(plane: "Plane", completed: dict[str, Any]) -> None:
    """A job that exits 0 is Completed, with its model at S3OutputPath and its times on the embedded clock."""
    assert completed["TrainingJobStatus"] == "Completed"
    assert completed["ModelArtifacts"] == {"S3ModelArtifacts": f"s3://{BUCKET}/out/completed/output/model.tar.gz"}
    steps = [step["Status"] for step in completed["SecondaryStatusTransitions"]]
    assert steps == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert completed["CreationTime"] <= completed["TrainingStartTime"] < completed["TrainingEndTime"]
    # sixty embedded seconds take a real one
    assert completed["TrainingTimeInSeconds"] > 5
    assert completed["HyperParameters"] == {"depth": "6"}


def test_script_sees_sagemakers_layout(plane: "Plane", completed: dict[str, Any]) -> None:
    """Channels, configuration files, variables and mapped paths follow the container contract."""
    seen = _seen(plane, completed["ModelArtifacts"]["S3ModelArtifacts"])
    root, files = seen["environment"]["MLOPS_OPT_ML"], seen["files"]
    assert files["input/data/train/a.csv"] == "sets/train/a.csv"
    assert files["input/data/train/deep/b.csv"] == "sets/train/deep/b.csv"
    assert files["input/data/code/code.zip"] == "code/code.zip"
    assert json.loads(files["input/config/hyperparameters.json"]) == {"depth": "6"}
    assert json.loads(files["input/config/resourceconfig.json"])["current_host"] == "algo-1"
    assert json.loads(files["input/config/inputdataconfig.json"])["train"]["TrainingInputMode"] == "File"
    env = seen["environment"]
    assert env["SM_CHANNEL_TRAIN"] == f"{root}/input/data/train"
    assert env["SM_MODEL_DIR"] == f"{root}/model"
    assert env["SM_HP_DEPTH"] == "6"
    assert env["WHERE"] == f"{root}/model"
    assert seen["arguments"]["path"] == f"{root}/input/data"
    assert "MLOPS_LOCAL_PORT" not in env
    assert env["OMP_WAIT_POLICY"] == "PASSIVE"  # waiting threads must not use the machine's CPU


def test_script_acts_as_the_jobs_role(plane: "Plane", completed: dict[str, Any]) -> None:
    """The process holds temporary credentials of RoleArn, not the launcher's."""
    seen = _seen(plane, completed["ModelArtifacts"]["S3ModelArtifacts"])
    assert seen["caller"] == "arn:aws:sts::000000000000:assumed-role/execution/SageMaker"


def test_output_data_are_uploaded(plane: "Plane", completed: dict[str, Any]) -> None:
    """The content of /opt/ml/output/data is uploaded as output.tar.gz."""
    assert _seen(plane, f"s3://{BUCKET}/out/completed/output/output.tar.gz")["arguments"]["end"] == "well"


def test_lines_reach_cloudwatch_logs(plane: "Plane", completed: dict[str, Any]) -> None:
    """The script's output is in the documented log group, in a stream of the job."""
    group = "/aws/sagemaker/TrainingJobs"
    streams = plane.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="completed/algo-1-")["logStreams"]
    events = plane.logs.get_log_events(logGroupName=group, logStreamName=streams[0]["logStreamName"])["events"]
    assert [event["message"] for event in events] == ["hello from the job"]


def test_events_tell_every_change(plane: "Plane", completed: dict[str, Any]) -> None:
    """The state change event has status, times in milliseconds and tags."""
    found = plane.events(
        lambda e: e["detail"].get("TrainingJobName") == "completed" and e["detail"]["TrainingJobStatus"] == "Completed"
    )
    detail = found[0]["detail"]
    assert found[0]["detail-type"] == "SageMaker Training Job State Change"
    assert found[0]["resources"] == [completed["TrainingJobArn"]]
    assert detail["CreationTime"] == int(completed["CreationTime"].timestamp() * 1000)
    assert detail["Tags"] == {"mlops:unit": "demand"}


def test_tags_are_kept(plane: "Plane", completed: dict[str, Any]) -> None:
    """Tags of a job are added, listed and deleted by its ARN."""
    arn = completed["TrainingJobArn"]
    plane.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "x", "Value": "1"}])
    plane.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["mlops:unit"])
    assert plane.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "x", "Value": "1"}]


def test_failure_file_is_the_reason(plane: "Plane") -> None:
    """Exit 3 makes the job Failed with the text of /opt/ml/output/failure and the exit code; no model is uploaded."""
    plane.sagemaker.create_training_job(**_request_training(plane, "failing", "failure"))
    described = _ended(plane, "failing")
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"] == "AlgorithmError: the data make no sense, exit code: 3"
    assert "ModelArtifacts" not in described


def test_iam_applies_to_the_script(plane: "Plane") -> None:
    """A script that calls what its role may not call fails."""
    plane.sagemaker.create_training_job(**_request_training(plane, "forbidden", "forbidden"))
    assert _ended(plane, "forbidden")["FailureReason"] == "AlgorithmError: , exit code: 1"
    streams = plane.logs.describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="forbidden/"
    )["logStreams"]
    events = plane.logs.get_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=streams[0]["logStreamName"]
    )["events"]
    assert any("not authorized" in event["message"] or "AccessDenied" in event["message"] for event in events)


def test_stops_on_request(plane: "Plane") -> None:
    """StopTrainingJob sends SIGTERM; the job is Stopped with the content of /opt/ml/model."""
    plane.sagemaker.create_training_job(**_request_training(plane, "stopped", "never"))

    def training() -> Any:
        return plane.sagemaker.describe_training_job(TrainingJobName="stopped")["SecondaryStatus"] == "Training"

    plane.wait(training, "the start of the job")
    plane.wait(lambda: _log_lines(plane, "stopped"), "the job's first line")
    plane.sagemaker.stop_training_job(TrainingJobName="stopped")
    described = _ended(plane, "stopped")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert described["ModelArtifacts"]["S3ModelArtifacts"].endswith("/stopped/output/model.tar.gz")
    with pytest.raises(ClientError, match="rejected because the training job is in status Stopped"):
        plane.sagemaker.stop_training_job(TrainingJobName="stopped")


def _log_lines(plane: "Plane", job: str) -> list[Any]:
    found: list[Any] = plane.logs.describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{job}/"
    )["logStreams"]
    return found


def test_overrun_is_stopped(plane: "Plane") -> None:
    """A job that runs longer than MaxRuntimeInSeconds real seconds is Stopped, MaxRuntimeExceeded."""
    plane.sagemaker.create_training_job(
        **_request_training(plane, "overrun", "never", StoppingCondition={"MaxRuntimeInSeconds": 2})
    )
    described = _ended(plane, "overrun")
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


@pytest.mark.parametrize(
    ("size", "volume", "reason"),
    [
        (
            2 * 1024**3,
            1,
            r"No space left on device: the job has 2\.0 GiB below /opt/ml, its volume is 1\.0 GiB; .* volume=",
        ),
        (
            3 * 1024**3,
            30,
            r"the job wrote 3\.0 GiB below /opt/ml, at most 2\.0 GiB are allowed .* set MLOPS_LOCAL_JOB_GIB",
        ),
    ],
)
def test_a_job_that_writes_too_much_ends_while_it_writes(plane: "Plane", size: int, volume: int, reason: str) -> None:
    """It fails with the limit and the fix, and nothing is left in its folder or in S3."""
    request = _request_training(plane, f"writes-{volume}", "writes")
    request["AlgorithmSpecification"]["ContainerArguments"].append(f"bytes={size}")
    request["ResourceConfig"]["VolumeSizeInGB"] = volume
    plane.sagemaker.create_training_job(**request)
    described = _ended(plane, f"writes-{volume}")
    assert described["TrainingJobStatus"] == "Failed"
    assert re.match(f"AlgorithmError: {reason}", described["FailureReason"]), described["FailureReason"]
    assert "ModelArtifacts" not in described
    folder = plane.cloud.home / "state" / "sagemaker" / "jobs" / "TrainingJob" / f"writes-{volume}"
    plane.wait(lambda: not folder.exists(), "the end of the job's folder")


@pytest.mark.slow  # like the tests that make the jobs
def test_lists_in_pages(plane: "Plane", completed: dict[str, Any]) -> None:
    """ListTrainingJobs filters by name and status and continues from NextToken."""
    pages = plane.sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains="e", SortBy="Name", PaginationConfig={"PageSize": 1}
    )
    names = [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]
    assert names == sorted(names)
    assert {"completed", "forbidden", "stopped"} <= set(names)
    failed = plane.sagemaker.list_training_jobs(StatusEquals="Failed")["TrainingJobSummaries"]
    assert {job["TrainingJobName"] for job in failed} >= {"failing", "forbidden"}


def test_fails_on_a_second_job_of_the_name(plane: "Plane", completed: dict[str, Any]) -> None:
    """A duplicate name is ResourceInUse with AWS's message."""
    with pytest.raises(ClientError, match="Job name must be unique within an AWS account and region") as error:
        plane.sagemaker.create_training_job(**_request_training(plane, "completed"))
    assert error.value.response["Error"]["Code"] == "ResourceInUse"


def test_fails_on_an_absent_job(plane: "Plane") -> None:
    """A missing job is a ValidationException with the service's message."""
    with pytest.raises(ClientError, match="Requested resource not found") as error:
        plane.sagemaker.describe_training_job(TrainingJobName="absent")
    assert error.value.response["Error"]["Code"] == "ValidationException"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RoleArn": "arn:aws:iam::000000000000:role/absent"}, "Could not assume role"),
        ({"InputDataConfig": [_channel("train", f"s3://{BUCKET}/nothing/")]}, "No S3 objects found under S3 URL"),
        ({"RetryStrategy": {"MaximumRetryAttempts": 2}}, "RetryStrategy is not supported"),
        ({"TrainingJobName": "not_a_name"}, r"'trainingJobName' failed to satisfy constraint"),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.lrge", "InstanceCount": 1, "VolumeSizeInGB": 5}},
            r"'resourceConfig.instanceType' failed to satisfy constraint: Member must satisfy enum value set",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5}},
            "has 1 instance",
        ),
    ],
)
def test_fails_on_what_cannot_run(plane: "Plane", change: dict[str, Any], message: str) -> None:
    """A request that AWS rejects, or that cannot run here, is rejected with the reason."""
    with pytest.raises(ClientError, match=message):
        plane.sagemaker.create_training_job(**_request_training(plane, "refused") | change)


def test_fails_on_an_image_without_a_runner(plane: "Plane") -> None:
    """The error has the unknown image's repository and the table of runners."""
    request = _request_training(plane, "unknown-image")
    request["AlgorithmSpecification"]["TrainingImage"] = "000000000000.dkr.ecr.us-east-1.amazonaws.com/xgboost:1"
    with pytest.raises(ClientError, match=r"no runner for image repository 'xgboost'.*mlops_local/runners.py"):
        plane.sagemaker.create_training_job(**request)
