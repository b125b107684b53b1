"""The function that empties buckets and package groups."""

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.loaded_module import load_handler

from mlops_runtime.business_unit.sweep import MARK


class Context:
    """Lambda's context argument."""

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the timeout."""
        return self.milliseconds


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Record responses to CloudFormation."""
    received: list[dict[str, Any]] = []

    class Accepted:
        def __enter__(self) -> "Accepted":
            return self

        def __exit__(self, *_: object) -> None:
            return None

    def take(request: Any, **_: object) -> Accepted:
        received.append(json.loads(request.data))
        return Accepted()

    monkeypatch.setattr("urllib.request.urlopen", take)
    return received


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]]) -> Iterator[ModuleType]:
    """The handler, with a bucket of two versions."""
    for name, value in {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="data")
        s3.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
        s3.put_bucket_tagging(Bucket="data", Tagging={"TagSet": [{"Key": MARK, "Value": "true"}]})
        for body in (b"1", b"2"):
            s3.put_object(Bucket="data", Key="a", Body=body)
        module = load_handler("sweeper")
        yield module


def _event(request: str, **fields: Any) -> dict[str, Any]:
    return {
        "RequestType": request,
        "ResponseURL": "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/x",
        "StackId": "arn:aws:cloudformation:us-east-1:111111111111:stack/s/1",
        "RequestId": "r1",
        "ResourceType": "Custom::BucketSweep",
        "LogicalResourceId": "DataSweep",
        "ResourceProperties": {"BucketName": "data"},
        **fields,
    }


def _versions() -> int:
    return len(boto3.client("s3").list_object_versions(Bucket="data").get("Versions", []))


def test_creation_leaves_the_data_alone(function: ModuleType, answers: list[dict[str, Any]]) -> None:
    """The bucket's name becomes the physical id."""
    function.handler(_event("Create"), Context(900_000))

    assert (answers[0]["Status"], answers[0]["PhysicalResourceId"], _versions()) == ("SUCCESS", "data", 2)


def test_deletion_empties_the_bucket(function: ModuleType, answers: list[dict[str, Any]]) -> None:
    """Deletes every version, and CloudFormation continues."""
    function.handler(_event("Delete", PhysicalResourceId="data"), Context(900_000))

    assert (answers[0]["Status"], _versions()) == ("SUCCESS", 0)


def test_deletion_after_a_failed_creation_succeeds(function: ModuleType, answers: list[dict[str, Any]]) -> None:
    """CloudFormation deletes a failed resource by a physical id that is no bucket, and nothing is emptied."""
    function.handler(_event("Delete", PhysicalResourceId="DataSweep"), Context(900_000))

    assert answers[0]["Status"] == "SUCCESS"


def test_fails_in_time_with_an_answer(function: ModuleType, answers: list[dict[str, Any]]) -> None:
    """CloudFormation gets the reason before the timeout."""
    function.handler(_event("Delete", PhysicalResourceId="data"), Context(10_000))

    assert answers[0]["Status"] == "FAILED"
    assert answers[0]["Reason"].startswith("SweepError: data is not empty yet after 0 deleted versions")


def test_fails_with_an_answer_on_a_broken_request(function: ModuleType, answers: list[dict[str, Any]]) -> None:
    """CloudFormation gets a response instead of waiting for an hour."""
    function.handler(_event("Create", ResourceProperties={}), Context(900_000))

    assert (answers[0]["Status"], answers[0]["PhysicalResourceId"]) == ("FAILED", "DataSweep")
