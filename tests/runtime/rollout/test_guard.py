"""Approval events: which start the Deploy machine, and how often."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollout_world import ENDPOINT, MACHINE, NOW, World

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest
from mlops_runtime.messages import Message
from mlops_runtime.rollout.guard import IgnoredError, guard, request_from

PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/3"


def approval(**changes: Any) -> dict[str, Any]:
    """Return an approval event, as in https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html."""
    detail = {
        "ModelPackageGroupName": ENDPOINT,
        "ModelPackageArn": PACKAGE,
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "Approved",
        "UpdatedModelPackageFields": ["ModelApprovalStatus"],
    }
    event = {
        "version": "0",
        "id": "844e2571-85d4-695f-b930-0153b71dcb42",
        "detail-type": "SageMaker Model Package State Change",
        "source": "aws.sagemaker",
        "account": "123456789012",
        "time": "2017-08-01T09:00:00Z",
        "region": "us-east-1",
        "resources": [PACKAGE],
        "detail": detail | changes.pop("detail", {}),
    }
    return event | changes


def _message(event: object, id: str = "m1") -> Message:
    return Message(id=id, body=json.dumps(event), sent=NOW)


def _guard(world: World, event: object) -> str | None:
    return guard(_message(event), stepfunctions=world.stepfunctions, machine_arn=MACHINE, group=ENDPOINT)


def test_an_approval_starts_one_execution(world: World) -> None:
    """Named by version and event, with the package as its input."""
    arn = _guard(world, approval())
    assert arn == "arn:aws:states:us-east-1:123456789012:execution:Deploy:" + world.executions()[0]
    assert world.executions()[0].startswith("approval-3-")
    document = world.stepfunctions.describe_execution(executionArn=arn)["input"]
    request = from_json(DeployRequest, document)
    assert (request.reason, request.model_package_arn) == (DeployReason.APPROVAL, PACKAGE)


def test_a_second_delivery_starts_no_second_execution(world: World) -> None:
    """Already there is success, and so for a copy that differs in what is not its id."""
    assert (
        _guard(world, approval()) == _guard(world, approval()) == _guard(world, approval(time="2017-08-01T09:01:00Z"))
    )
    assert len(world.executions()) == 1


def test_another_approval_of_the_same_package_starts_again(world: World) -> None:
    """Rejected and approved again is another event; preflight finds whether there is anything to do."""
    _guard(world, approval())
    _guard(world, approval(id="another"))
    assert len(world.executions()) == 2


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (approval(source="aws.sagemake"), "is not a change of a model package"),
        (approval(**{"detail-type": "SageMaker Endpoint State Change"}), "is not a change of a model package"),
        (approval(account="210987654321"), "account '210987654321' is not '123456789012'"),
        (approval(detail={"ModelApprovalStatus": "Rejected"}), "is 'Rejected'"),
        (approval(detail={"UpdatedModelPackageFields": ["CustomerMetadataProperties"]}), "updated in CustomerMetadata"),
        (approval(detail={"ModelPackageArn": PACKAGE.replace("demand", "other")}), "not a model package of group"),
        (approval(detail={"ModelPackageArn": PACKAGE.replace("123456789012", "210987654321")}), "not a model package"),
        (approval(detail={"ModelPackageArn": None}), "not a model package"),
        ({"id": "x"}, "source is missing"),
        ([], r"\$ must be an object"),
    ],
)
def test_what_is_no_approval_of_ours_starts_nothing(world: World, event: Any, message: str) -> None:
    """Each is dropped with its reason, not retried for ever."""
    with pytest.raises(IgnoredError, match=message):
        request_from(json.dumps(event), machine_arn=MACHINE, group=ENDPOINT)
    assert _guard(world, event) is None
    assert world.executions() == []


@given(st.text(max_size=200) | st.binary(max_size=50).map(lambda raw: raw.decode("latin-1")))
def test_no_body_breaks_the_guard(body: str) -> None:
    """Whatever a sender writes is ignored with a reason."""
    with pytest.raises(IgnoredError):
        request_from(body, machine_arn=MACHINE, group=ENDPOINT)


def test_an_approval_without_the_list_of_fields_counts() -> None:
    """Approvals through the API may leave it out."""
    event = approval()
    del event["detail"]["UpdatedModelPackageFields"]
    assert request_from(json.dumps(event), machine_arn=MACHINE, group=ENDPOINT)[1].model_package_arn == PACKAGE
