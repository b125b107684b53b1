"""Processing jobs by boto3 on the embedded cloud."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

BUCKET = "plane"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64


def _request(
    plane: "Plane", name: str, end: str = "well", uri: str = f"s3://{BUCKET}/in/", **more: Any
) -> dict[str, Any]:
    return {
        "ProcessingJobName": name,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerArguments": [f"end={end}", "at=/opt/ml/processing/input"]},
        "RoleArn": plane.role,
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}
        },
        "ProcessingInputs": [
            {
                "InputName": "rows",
                "S3Input": {"S3Uri": uri, "LocalPath": "/opt/ml/processing/input/rows", "S3DataType": "S3Prefix"},
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "report",
                    "S3Output": {
                        "S3Uri": f"s3://{BUCKET}/reports/{name}",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
    } | more


def _ended(plane: "Plane", name: str) -> dict[str, Any]:
    def done() -> Any:
        described = plane.sagemaker.describe_processing_job(ProcessingJobName=name)
        return described if described["ProcessingJobStatus"] not in ("InProgress", "Stopping") else None

    found: dict[str, Any] = plane.wait(done, f"the end of job {name}")
    return found


@pytest.fixture(autouse=True)
def _rows(plane: "Plane") -> None:
    plane.s3.put_object(Bucket=BUCKET, Key="in/part-0.csv", Body=b"1,2\n")


def test_inputs_come_and_outputs_go(plane: "Plane") -> None:
    """The script reads its inputs under the mapped path; its output is uploaded under the output's URI."""
    plane.sagemaker.create_processing_job(**_request(plane, "processed", Environment={"A": "b"}))
    described = _ended(plane, "processed")
    assert described["ProcessingJobStatus"] == "Completed"
    assert described["ProcessingStartTime"] < described["ProcessingEndTime"]
    body = plane.s3.get_object(Bucket=BUCKET, Key="reports/processed/seen.json")["Body"].read()
    seen = json.loads(body)
    assert seen["files"]["processing/input/rows/part-0.csv"] == "1,2\n"
    assert json.loads(seen["files"]["config/resourceconfig.json"])["hosts"] == ["algo-1"]
    assert json.loads(seen["files"]["config/processingjobconfig.json"])["ProcessingJobName"] == "processed"
    assert seen["arguments"]["at"] == f"{seen['environment']['MLOPS_OPT_ML']}/processing/input"
    assert seen["environment"]["A"] == "b"
    listed = plane.sagemaker.list_processing_jobs(NameContains="processed")["ProcessingJobSummaries"]
    assert [job["ProcessingJobStatus"] for job in listed] == ["Completed"]


def test_failure_keeps_the_exit_message(plane: "Plane") -> None:
    """Exit 3 is Failed, with the content of /opt/ml/output/message; nothing is uploaded, and the event says so."""
    plane.sagemaker.create_processing_job(**_request(plane, "unprocessed", "failure"))
    described = _ended(plane, "unprocessed")
    assert described["ProcessingJobStatus"] == "Failed"
    assert described["ExitMessage"] == "the data make no sense"
    assert described["FailureReason"] == "AlgorithmError: See job logs for more information, exit code: 3"
    assert plane.s3.list_objects_v2(Bucket=BUCKET, Prefix="reports/unprocessed/")["KeyCount"] == 0
    found = plane.events(
        lambda e: (
            e["detail"].get("ProcessingJobName") == "unprocessed" and e["detail"]["ProcessingJobStatus"] == "Failed"
        )
    )
    assert found[0]["detail-type"] == "SageMaker Processing Job State Change"
    assert found[0]["detail"]["FailureReason"] == described["FailureReason"]


def test_missing_input_fails_the_job(plane: "Plane") -> None:
    """An input without objects fails the job before its script runs."""
    plane.sagemaker.create_processing_job(**_request(plane, "inputless", uri=f"s3://{BUCKET}/absent/"))
    assert "No S3 objects found under S3 URL" in _ended(plane, "inputless")["FailureReason"]


def test_isolated_job_has_no_credentials(plane: "Plane") -> None:
    """Network isolation removes the endpoint and the credentials, as in a container without a network."""
    plane.sagemaker.create_processing_job(**_request(plane, "isolated", NetworkConfig={"EnableNetworkIsolation": True}))
    assert _ended(plane, "isolated")["ProcessingJobStatus"] == "Completed"
    seen = json.loads(plane.s3.get_object(Bucket=BUCKET, Key="reports/isolated/seen.json")["Body"].read())
    assert not [name for name in seen["environment"] if name.startswith(("AWS_ACCESS", "AWS_SECRET", "AWS_ENDPOINT"))]


def test_stops_on_request(plane: "Plane") -> None:
    """StopProcessingJob ends the script; the job is Stopped."""
    plane.sagemaker.create_processing_job(**_request(plane, "halted", "never"))

    def running() -> Any:
        return plane.logs.describe_log_streams(
            logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix="halted/"
        )["logStreams"]

    plane.wait(running, "the job's first line")
    plane.sagemaker.stop_processing_job(ProcessingJobName="halted")
    assert _ended(plane, "halted")["ProcessingJobStatus"] == "Stopped"


def test_fails_on_a_path_outside_processing(plane: "Plane") -> None:
    """A local path outside /opt/ml/processing is rejected."""
    request = _request(plane, "outside")
    request["ProcessingInputs"][0]["S3Input"]["LocalPath"] = "/opt/ml/processing/../../etc"
    with pytest.raises(ClientError, match="must lie under /opt/ml/processing"):
        plane.sagemaker.create_processing_job(**request)


def test_fails_on_an_absent_job(plane: "Plane") -> None:
    """A missing job is rejected with the service's message."""
    with pytest.raises(ClientError, match="Could not find requested job with name: absent"):
        plane.sagemaker.describe_processing_job(ProcessingJobName="absent")
