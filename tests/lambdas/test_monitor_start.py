"""The function that starts the monitor's job, as Lambda loads it (moto)."""

import json

import boto3
import pytest
from moto import mock_aws
from tests.loaded_module import load_handler

from mlops_runtime.contracts import canonical_json
from mlops_runtime.monitor.spec import MonitorSpec

PLAN = {
    "image_uri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "0" * 64,
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
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "ENDPOINT": "demand-forecast",
    "VARIANT": "AllTraffic",
    "UNIT": "demand",
    "EVENT_BUS": "bus",
    "WINDOW_HOURS": "24",
    "MONITOR": canonical_json(MonitorSpec()).decode(),
    "ARTIFACTS_BUCKET": "artifacts",
    "CAPTURE_BUCKET": "captures",
    "ROLLOUT_TABLE": "table",
    "JOB": json.dumps(PLAN),
}


def test_the_time_is_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the schedule's event is in the job's name and arguments."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        module = load_handler("monitor_start")

        answer = module.handler({"time": "2017-08-14T06:00:00Z"}, None)

        job = boto3.client("sagemaker").describe_processing_job(ProcessingJobName=answer["job"])
    assert answer == {"job": "demand-forecast-monitor-201708140600"}
    arguments = job["AppSpecification"]["ContainerArguments"]
    assert arguments[arguments.index("--now") + 1] == "2017-08-14T06:00:00Z"
