"""The function of an API's jobs, with S3 in this process (moto) and SageMaker by botocore's stubber."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws
from tests.loaded_module import load_handler

JOB = "JKJaXmPLvHcESHA"
REQUEST = f"requests/demand-night/api/{JOB}"
ASKED = {
    "EndpointName": "demand-night",
    "InputLocation": f"s3://exchange/{REQUEST}",
    "InferenceId": JOB,
    "Filename": f"api-{JOB}",
    "ContentType": "application/json",
    "Accept": "application/json",
}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Stubber, Any]]:
    """The function as Lambda loads it, SageMaker's stubbed responses, and S3."""
    monkeypatch.setenv("ENDPOINT", "demand-night")
    monkeypatch.setenv("EXCHANGE_BUCKET", "exchange")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="exchange")
        module = load_handler("api_jobs")
        with Stubber(module._jobs._runtime) as runtime:
            yield module, runtime, s3


def deliver(module: Any, *keys: str) -> list[str]:
    """Deliver object events, and return the failed messages."""
    records = [
        {"messageId": key, "body": json.dumps({"detail": {"bucket": {"name": "exchange"}, "object": {"key": key}}})}
        for key in keys
    ]
    return [each["itemIdentifier"] for each in module.handler({"Records": records}, None)["batchItemFailures"]]


def test_a_request_asks_the_endpoint(world: Any) -> None:
    """The inference id is the job's id."""
    module, runtime, s3 = world
    runtime.add_response("invoke_endpoint_async", {"InferenceId": JOB}, ASKED)

    assert deliver(module, REQUEST) == []

    runtime.assert_no_pending_responses()
    assert "Contents" not in s3.list_objects_v2(Bucket="exchange")


@pytest.mark.parametrize("name", [f"api-{JOB}", f"api-{JOB}.out"])
def test_an_answer_is_kept_under_the_id(world: Any, name: str) -> None:
    """The result keeps its content type, with or without SageMaker's file extension."""
    module, _, s3 = world
    key = f"answers/demand-night/{name}"
    s3.put_object(Bucket="exchange", Key=key, Body=b'{"predictions": [4.0]}', ContentType="application/json")

    assert deliver(module, key) == []

    kept = s3.get_object(Bucket="exchange", Key=f"jobs/demand-night/{JOB}")
    assert (kept["Body"].read(), kept["ContentType"]) == (b'{"predictions": [4.0]}', "application/json")


@pytest.mark.parametrize("name", [f"api-{JOB}-error.out", f"api-{JOB}-error", f"api-{JOB}.out", f"api-{JOB}"])
def test_a_failure_is_an_empty_object(world: Any, name: str) -> None:
    """The failure's text would name account and container."""
    module, _, s3 = world

    assert deliver(module, f"failures/demand-night/{name}") == []

    assert s3.get_object(Bucket="exchange", Key=f"jobs/demand-night/{JOB}")["Body"].read() == b""


def test_a_job_that_no_endpoint_takes_fails_at_once(world: Any) -> None:
    """Retrying could not succeed."""
    module, runtime, s3 = world
    runtime.add_client_error("invoke_endpoint_async", "ValidationError", "Endpoint demand-night not found.", 400)

    assert deliver(module, REQUEST) == []

    assert s3.get_object(Bucket="exchange", Key=f"jobs/demand-night/{JOB}")["Body"].read() == b""


def test_what_may_work_later_is_delivered_again(world: Any) -> None:
    """Only that message is retried; the rest of the batch is processed, and other objects are ignored."""
    module, runtime, s3 = world
    runtime.add_client_error("invoke_endpoint_async", "ServiceUnavailable", "Later.", 503)

    assert deliver(module, REQUEST, "requests/demand-night/api/a b", "answers/demand-night/0a1b.out", "other") == [
        REQUEST
    ]

    assert "Contents" not in s3.list_objects_v2(Bucket="exchange")
