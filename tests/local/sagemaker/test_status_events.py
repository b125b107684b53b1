"""Events in AWS's documented shapes: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html."""

import json
from typing import Any

import pytest
from ministack.services import eventbridge

from mlops_local.sagemaker import resource_store, status_events


@pytest.fixture
def sent(fresh_account: None, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the entries that reach the default bus, in an account of its own."""
    entries: list[dict[str, Any]] = []

    def put(data: dict[str, Any], allow_aws_source: bool = False) -> None:
        assert allow_aws_source
        entries.extend(data["Entries"])

    monkeypatch.setattr(eventbridge, "_put_events", put)
    return entries


def test_endpoint_statuses_are_upper_snake_case(sent: list[dict[str, Any]]) -> None:
    """InService is IN_SERVICE, times are epoch milliseconds, nested ones too, and tags are an object."""
    record = resource_store.add("Endpoint", "e", {"EndpointStatus": "RollingBack"}, [{"Key": "a", "Value": "b"}])
    pending = {"EndpointConfigName": "c", "StartTime": record["CreationTime"]}
    status_events.deployment(record | {"PendingDeploymentSummary": pending})
    (entry,) = sent
    detail = json.loads(entry["Detail"])
    assert entry["Source"] == "aws.sagemaker"
    assert entry["DetailType"] == "SageMaker Endpoint Deployment State Change"
    assert entry["Resources"] == [record["EndpointArn"]]
    assert detail["EndpointStatus"] == "ROLLING_BACK"
    assert detail["Tags"] == {"a": "b"}
    moment = int(record["CreationTime"].timestamp() * 1000)
    assert (detail["CreationTime"], detail["PendingDeploymentSummary"]["StartTime"]) == (moment, moment)


def test_packages_have_iso_times_and_the_changed_fields(sent: list[dict[str, Any]]) -> None:
    """A new package's event has no changed fields, an update's has them; private members are left out."""
    record = resource_store.add("ModelPackage", "arn:aws:sagemaker:eu-west-1:0:model-package/g/1", {"Private": 1})
    status_events.model_package(record)
    status_events.model_package(record, ["ModelApprovalStatus"])
    made, updated = (json.loads(entry["Detail"]) for entry in sent)
    assert "UpdatedModelPackageFields" not in made
    assert updated["UpdatedModelPackageFields"] == ["ModelApprovalStatus"]
    assert made["CreationTime"] == record["CreationTime"].strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "Private" not in made
