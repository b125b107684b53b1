"""Transform jobs by boto3 on the embedded cloud: the model's own server is called for each record."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

BUCKET = "plane"


def _request(
    name: str, model: str, *, kind: str = "text/csv", prefix: str | None = None, **more: Any
) -> dict[str, Any]:
    uri = f"s3://{BUCKET}/rows/{name}/" if prefix is None else prefix
    return {
        "TransformJobName": name,
        "ModelName": model,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
            "ContentType": kind,
            "SplitType": "Line",
        },
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/answers/{name}", "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": 5, "InvocationsMaxRetries": 0},
    } | more


def _ended(plane: "Plane", name: str) -> dict[str, Any]:
    def done() -> Any:
        described = plane.sagemaker.describe_transform_job(TransformJobName=name)
        return described if described["TransformJobStatus"] not in ("InProgress", "Stopping") else None

    found: dict[str, Any] = plane.wait(done, f"the end of job {name}")
    return found


def _put(plane: "Plane", name: str, **files: bytes) -> None:
    for key, content in files.items():
        plane.s3.put_object(Bucket=BUCKET, Key=f"rows/{name}/{key}", Body=content)


def _answers(plane: "Plane", name: str) -> dict[str, str]:
    listed = plane.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"answers/{name}/").get("Contents", [])
    return {
        found["Key"].removeprefix(f"answers/{name}/"): plane.s3.get_object(Bucket=BUCKET, Key=found["Key"])["Body"]
        .read()
        .decode()
        for found in listed
    }


@pytest.fixture(scope="module")
def model(plane: "Plane") -> str:
    """A model that returns CSV in upper case, and for JSON its container's environment."""
    return plane.model("transforms", REGION_OF_MODEL="north")


def test_each_object_is_answered_beside_its_name(plane: "Plane", model: str) -> None:
    """Rows of an object go to the container; its output is below the output path, as <name>.out."""
    _put(plane, "shouts", **{"a.csv": b"x\ny\n", "deep/b.csv": b"z\n"})
    plane.sagemaker.create_transform_job(**_request("shouts", model))
    described = _ended(plane, "shouts")
    assert described["TransformJobStatus"] == "Completed"
    assert described["TransformStartTime"] <= described["TransformEndTime"]
    assert _answers(plane, "shouts") == {"a.csv.out": "X\nY\n\n", "deep/b.csv.out": "Z\n\n"}
    listed = plane.sagemaker.list_transform_jobs(NameContains="shouts")["TransformJobSummaries"]
    assert [job["TransformJobStatus"] for job in listed] == ["Completed"]
    with pytest.raises(ClientError, match="Job name must be unique"):
        plane.sagemaker.create_transform_job(**_request("shouts", model))
    states = plane.events(lambda event: event["detail"].get("TransformJobName") == "shouts", count=2)
    assert {event["detail-type"] for event in states} == {"SageMaker Transform Job State Change"}
    assert [event["detail"]["TransformJobStatus"] for event in states] == ["InProgress", "Completed"]


def test_one_record_a_request_and_the_jobs_own_variables(plane: "Plane", model: str) -> None:
    """SingleRecord sends each line by itself; the container can tell that it serves a batch."""
    _put(plane, "singles", **{"rows.jsonl": b"{}\n{}\n{}\n"})
    request = _request("singles", model, kind="application/json", BatchStrategy="SingleRecord")
    plane.sagemaker.create_transform_job(**request, Environment={"OF_THE_JOB": "1"})
    assert _ended(plane, "singles")["TransformJobStatus"] == "Completed"
    lines = [json.loads(line) for line in _answers(plane, "singles")["rows.jsonl.out"].splitlines()]
    assert len(lines) == 3
    assert {"SAGEMAKER_BATCH", "OF_THE_JOB", "REGION_OF_MODEL"} <= set(lines[0]["keys"])


def test_a_container_may_say_how_it_is_asked(plane: "Plane") -> None:
    """The container's response on /execution-parameters applies where the request sets nothing."""
    model = plane.model("says-how", EXECUTION_PARAMETERS=json.dumps({"BatchStrategy": "SingleRecord"}))
    _put(plane, "said", **{"rows.csv": b"x\ny\n"})
    plane.sagemaker.create_transform_job(**_request("said", model))
    assert _ended(plane, "said")["TransformJobStatus"] == "Completed"
    assert _answers(plane, "said") == {"rows.csv.out": "X\n\nY\n\n"}


def test_payloads_keep_to_their_limit(plane: "Plane", model: str) -> None:
    """Lines are batched up to MaxPayloadInMB, and a longer line fails the job."""
    line = b"x" * 600_000 + b"\n"
    _put(plane, "fits", **{"rows.csv": line * 3})
    plane.sagemaker.create_transform_job(**_request("fits", model, MaxPayloadInMB=1, BatchStrategy="MultiRecord"))
    assert _ended(plane, "fits")["TransformJobStatus"] == "Completed"
    # one output per request, each with an extra line end after its last row
    assert _answers(plane, "fits")["rows.csv.out"].count("\n\n") == 3
    _put(plane, "large", **{"rows.csv": line * 3})
    whole = _request("large", model, MaxPayloadInMB=1)
    whole["TransformInput"].pop("SplitType")
    plane.sagemaker.create_transform_job(**whole)
    described = _ended(plane, "large")
    assert described["TransformJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("ClientError: a record is larger than MaxPayloadInMB (1).")


@pytest.mark.parametrize(
    ("name", "bad", "reason"),
    [
        ("caller", b'{"status": 422}\n', "ClientError: See job logs for more information"),
        ("fault", b'{"status": 503}\n', "AlgorithmError: See job logs for more information"),
        ("dies", b'{"exit": 3}\n', "AlgorithmError: See job logs for more information"),
        ("hangs", b'{"sleep": 30}\n', "AlgorithmError: See job logs for more information"),
    ],
)
def test_a_record_that_fails_fails_the_job(plane: "Plane", model: str, name: str, bad: bytes, reason: str) -> None:
    """A response without 2xx, or none in time, fails the job; its object has no output, others have theirs."""
    _put(plane, name, **{"a.jsonl": b"{}\n", "b.jsonl": b"{}\n" + bad})
    request = _request(name, model, kind="application/json", BatchStrategy="SingleRecord")
    request["ModelClientConfig"]["InvocationsTimeoutInSeconds"] = 1
    plane.sagemaker.create_transform_job(**request)
    described = _ended(plane, name)
    assert (described["TransformJobStatus"], described["FailureReason"]) == ("Failed", reason)
    assert list(_answers(plane, name)) == ["a.jsonl.out"]


def test_a_container_that_does_not_start_fails_the_job(plane: "Plane") -> None:
    """A container that does not answer pings with 200 gets no request."""
    _put(plane, "unready", **{"a.csv": b"x\n"})
    plane.sagemaker.create_transform_job(**_request("unready", plane.model("unready", PING="exit")))
    described = _ended(plane, "unready")
    assert described["FailureReason"].startswith("AlgorithmError: the container did not pass the ping health check")
    assert _answers(plane, "unready") == {}


def test_the_models_role_reads_and_writes(plane: "Plane", model: str) -> None:
    """Objects that the model's execution role may not read or write fail the job, as does an input without objects."""
    elsewhere = plane.cloud.client("s3")
    elsewhere.create_bucket(Bucket="elsewhere")
    elsewhere.put_object(Bucket="elsewhere", Key="rows/a.csv", Body=b"x\n")
    plane.sagemaker.create_transform_job(**_request("unread", model, prefix="s3://elsewhere/rows/"))
    assert _ended(plane, "unread")["FailureReason"].startswith("ClientError: Data download failed:")
    _put(plane, "unwritten", **{"a.csv": b"x\n"})
    output = {"S3OutputPath": "s3://elsewhere/answers"}
    plane.sagemaker.create_transform_job(**_request("unwritten", model, TransformOutput=output))
    assert _ended(plane, "unwritten")["FailureReason"].startswith("ClientError: Output upload failed:")
    plane.sagemaker.create_transform_job(**_request("nothing", model))
    assert _ended(plane, "nothing")["FailureReason"].startswith("ClientError: No S3 objects found")


def test_a_stopped_job_stores_nothing(plane: "Plane", model: str) -> None:
    """A stop ends the current request; the job is Stopped without output."""
    _put(plane, "stopped", **{"a.jsonl": b"{}\n", "b.jsonl": b'{"sleep": 60}\n'})
    request = _request("stopped", model, kind="application/json", ModelClientConfig={"InvocationsMaxRetries": 3})
    plane.sagemaker.create_transform_job(**request)

    def started() -> bool:
        return "TransformStartTime" in plane.sagemaker.describe_transform_job(TransformJobName="stopped")

    plane.wait(started, "the start of the job")
    plane.sagemaker.stop_transform_job(TransformJobName="stopped")
    described = _ended(plane, "stopped")
    assert described["TransformJobStatus"] == "Stopped"
    assert "FailureReason" not in described
    assert _answers(plane, "stopped") == {}
    with pytest.raises(ClientError, match="because the transform job is in status Stopped"):
        plane.sagemaker.stop_transform_job(TransformJobName="stopped")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ModelName": "absent"}, "Could not find model"),
        ({"MaxPayloadInMB": 101}, "MaxPayloadInMB must not be greater than 100, got 101"),
        ({"MaxPayloadInMB": 60, "MaxConcurrentTransforms": 2}, "must not exceed 100 MB, got 2 \\* 60"),
        ({"DataProcessing": {"JoinSource": "Input"}}, "DataProcessing.JoinSource must be None"),
        ({"DataProcessing": {"InputFilter": "$[1:]"}}, "DataProcessing.InputFilter must be"),
        ({"DataCaptureConfig": {"DestinationS3Uri": "s3://plane/c"}}, "DataCaptureConfig of a transform job"),
        ({"Environment": {f"A{n}": "" for n in range(17)}}, "less than or equal to 16"),
        ({"TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 2}}, "has 1 instance"),
        (
            {"TransformResources": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeKmsKeyId": "arn:key"}},
            "request a VolumeKmsKeyId for instance type ml.g4dn.xlarge",
        ),
    ],
)
def test_fails_on_what_cannot_run(plane: "Plane", model: str, change: dict[str, Any], message: str) -> None:
    """Rejects what AWS rejects, and unsupported members by name."""
    with pytest.raises(ClientError, match=message):
        plane.sagemaker.create_transform_job(**(_request("refused", model) | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"SplitType": "None"}, "BatchStrategy MultiRecord needs SplitType"),
        ({"SplitType": "RecordIO"}, "SplitType must be None or Line in the embedded SageMaker"),
        (
            {"DataSource": {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": "s3://plane/m"}}},
            "S3DataType must be S3Prefix",
        ),
        ({"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "https://plane/m"}}}, "s3://"),
    ],
)
def test_fails_on_an_input_that_cannot_be_read(
    plane: "Plane", model: str, change: dict[str, Any], message: str
) -> None:
    """An input is S3 objects, split into lines or not at all."""
    request = _request("unsplit", model, BatchStrategy="MultiRecord")
    with pytest.raises(ClientError, match=message):
        plane.sagemaker.create_transform_job(**(request | {"TransformInput": request["TransformInput"] | change}))
