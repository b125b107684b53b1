"""The job that a scheduled event starts exactly once."""

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from mlops_runtime.aws_api import check_request
from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.monitor.job_start import MAXIMUM_ENDPOINT_NAME, StartSettings, job_request, start
from mlops_runtime.monitor.scheduled_run import DecideSettings
from mlops_runtime.monitor.spec import MonitorSpec

NOW = datetime(2017, 8, 8, 6, tzinfo=UTC)
PLAN: dict[str, Any] = {
    "image_uri": "1.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "0" * 64,
    "instance_type": "ml.m5.xlarge",
    "count": 1,
    "maximum": 3600,
    "volume_gigabytes": 30,
    "role": "arn:aws:iam::123456789012:role/job",
    "subnets": ["subnet-0123456789"],
    "security_groups": ["sg-0123456789"],
    "kms_key": "arn:aws:kms:us-east-1:123456789012:key/1",
    "owner": "ann",
    "cost_center": "42",
}
SPEC = MonitorSpec(alarm_features=("price",), quality_limits={"rmse": 12.0})
ENVIRONMENT = {
    "ENDPOINT": "demand-forecast",
    "VARIANT": "AllTraffic",
    "UNIT": "demand",
    "EVENT_BUS": "bus",
    "WINDOW_HOURS": "168",
    "PERIOD_HOURS": "24",
    "ARTIFACTS_BUCKET": "artifacts",
    "CAPTURE_BUCKET": "captures",
    "ROLLOUT_TABLE": "table",
    "TRAFFIC": json.dumps({"namespace": "N", "metric": "Calls", "dimensions": {"Service": "s"}}),
}


def _settings(spec: str, **plan: object) -> StartSettings:
    return StartSettings.from_environment({**ENVIRONMENT, "MONITOR": spec, "JOB": json.dumps({**PLAN, **plan})})


def _read(request: Mapping[str, Any]) -> argparse.Namespace:
    """Return the job's parsed arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", nargs="+")
    for name in ("artifacts", "captures", "table", "now"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--attribution-rows", type=int, default=0)
    return parser.parse_args(request["AppSpecification"]["ContainerArguments"])


@pytest.fixture
def spec() -> str:
    """Return the spec that the construct writes."""
    return canonical_json(SPEC).decode()


def test_the_job_is_told_what_the_function_would_be(spec: str):
    """Its settings equal those of the deciding function from the same environment, except for the engine."""
    read = _read(job_request(_settings(spec, attribution_rows=500), NOW))
    reported = from_json(DecideSettings, "".join(read.settings))
    by_function = DecideSettings.from_environment({**ENVIRONMENT, "MONITOR": spec})

    assert (reported.spec, reported.endpoint, reported.window_hours, reported.traffic) == (
        SPEC,
        by_function.endpoint,
        by_function.window_hours,
        by_function.traffic,
    )
    assert (read.artifacts, read.captures, read.table) == ("artifacts", "captures", "table")
    assert (read.now, read.attribution_rows) == ("2017-08-08T06:00:00Z", 500)


@pytest.mark.parametrize("plan", [{}, {"count": 4, "code_uri": "s3://assets/0a1b.py"}])
def test_the_request_is_one_that_sagemaker_takes(spec: str, plan: dict[str, object]):
    """The request fits the API's shape, with the declared network and the unit's key and tags."""
    request = job_request(_settings(spec, **plan), NOW)

    assert list(check_request("sagemaker", "CreateProcessingJob", request)) == []
    assert request["ProcessingJobName"] == "demand-forecast-monitor-201708080600"
    assert request["NetworkConfig"]["VpcConfig"]["Subnets"] == ["subnet-0123456789"]
    assert request["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == PLAN["kms_key"]
    local = job_request(_settings(spec, **plan, instance_type="ml.m5d.large"), NOW)
    assert (
        "VolumeKmsKeyId" not in local["ProcessingResources"]["ClusterConfig"]
    )  # its hardware encrypts and accepts no key
    assert {"Key": "mlops:unit", "Value": "demand"} in request["Tags"]
    assert max(map(len, request["AppSpecification"]["ContainerArguments"])) <= 256


def test_spark_runs_the_application_that_lies_in_s3(spec: str):
    """SageMaker's Spark container gets the path to which the input downloads the file."""
    request = job_request(_settings(spec, count=4, code_uri="s3://assets/0a1b.py"), NOW)
    (given,) = request["ProcessingInputs"]

    assert request["AppSpecification"]["ContainerEntrypoint"] == [
        "smspark-submit",
        "/opt/ml/processing/input/code/0a1b.py",
    ]
    assert (given["S3Input"]["S3Uri"], given["S3Input"]["LocalPath"]) == (
        "s3://assets/0a1b.py",
        "/opt/ml/processing/input/code",
    )
    assert request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 4


def test_the_longest_name_of_an_endpoint_still_makes_a_name():
    """Job names stay within SageMaker's 63 characters."""
    assert len("e" * MAXIMUM_ENDPOINT_NAME + f"-monitor-{NOW:%Y%m%d%H%M}") == 63


@pytest.mark.parametrize(
    ("code", "is_started"), [(None, True), ("ResourceInUse", True), ("ResourceLimitExceeded", False)]
)
def test_the_same_event_starts_one_job(spec: str, code: str | None, is_started: bool):
    """An existing job belongs to the same event; any other error is raised and retried."""
    sagemaker = boto3.client("sagemaker", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(sagemaker) as stub:
        if code is None:
            stub.add_response(
                "create_processing_job", {"ProcessingJobArn": "arn:aws:sagemaker:us-east-1:1:processing-job/j"}
            )
        else:
            stub.add_client_error("create_processing_job", service_error_code=code)
        if is_started:
            assert start(NOW, _settings(spec), sagemaker) == "demand-forecast-monitor-201708080600"
        else:
            with pytest.raises(ClientError, match=str(code)):
                start(NOW, _settings(spec), sagemaker)
