"""The functions of releases as Lambda calls them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

NOW = "2017-08-01T09:00:00Z"
Load = Callable[[str], Any]


@pytest.fixture
def releases(world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the environment that the registry gives to its functions."""
    made = world.stepfunctions.create_state_machine(
        name="Release",
        definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
        roleArn="arn:aws:iam::123456789012:role/r",
    )
    for name, value in {
        "NAMES": "demand-forecast",
        "RECHECK_RULE": "arn:aws:events:us-east-1:123456789012:rule/recheck",
        "RELEASE_MACHINE_ARN": made["stateMachineArn"],
    }.items():
        monkeypatch.setenv(name, value)
    return world


def test_an_approval_is_released_or_refused_with_every_problem(releases: Any, load: Load) -> None:
    """The guard starts the machine; the writer returns the values that the machine branches on."""
    package = releases.package()
    event = {
        "id": "e1",
        "account": "123456789012",
        "region": "us-east-1",
        "time": NOW,
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Model Package State Change",
        "detail": {"ModelPackageArn": package, "ModelApprovalStatus": "Approved"},
    }
    sent = str(int(datetime(2017, 8, 1, 9, tzinfo=UTC).timestamp() * 1000))
    message = {"messageId": "m1", "body": json.dumps(event), "attributes": {"SentTimestamp": sent}}
    assert load("release_guard").handler({"Records": [message]}, None) == {"batchItemFailures": []}
    (name,) = releases.executions("Release")
    arn = f"arn:aws:states:us-east-1:123456789012:execution:Release:{name}"
    given = json.loads(releases.stepfunctions.describe_execution(executionArn=arn)["input"])

    answer = load("release_record").handler({"request": given, "execution": arn, "now": NOW}, None)

    assert (answer["outcome"], answer["is_new"]) == ("REFUSED", True)
    assert answer["reason"].startswith("demand-forecast/1 is not released: ")
    assert (
        "the archive s3://artifacts/models/demand-forecast/job/output/model.tar.gz cannot be read" in answer["reason"]
    )
    assert "has no evaluation_sha256" in answer["reason"]
