"""Events that request a rollout, and the requested rollout."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.rollout.world import ENDPOINT, EXECUTION, MACHINE, NOW, World

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import DeployReason, LockRow
from mlops_runtime.rollout.deploy_guard import (
    GuardSettings,
    IgnoredError,
    RequestedRollout,
    check_approval,
    check_probation,
    requested_rollout,
)

PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/3"

REFUNDS = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:refunds"
DEMAND = "arn:aws:cloudformation:us-east-1:123456789012:stack/Demand/51af3dc0-da77-11e4-872e-1234567db123"
SETTINGS = GuardSettings(machine_arn=MACHINE, group=ENDPOINT, alarms=("refunds",), stack=DEMAND)


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


def alarm(**changes: Any) -> dict[str, Any]:
    """Return an alarm's event.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
    """
    detail = {"alarmName": "refunds", "state": {"value": "ALARM"}, "previousState": {"value": "OK"}}
    event = {
        "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "account": "123456789012",
        "region": "us-east-1",
        "resources": [REFUNDS],
        "time": "2017-08-01T09:00:00Z",
        "detail": detail | changes.pop("detail", {}),
    }
    return event | changes


def ended(**changes: Any) -> dict[str, Any]:
    """Return the event of an execution's end.

    See: https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    detail = {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "name": "one", "status": "ABORTED"}
    event = {
        "id": "315c1398-40ff-a850-213b-158f73e60175",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": "123456789012",
        "region": "us-east-1",
        "time": "2017-08-01T09:00:00Z",
        "detail": detail | changes.pop("detail", {}),
    }
    return event | changes


def stack(**changes: Any) -> dict[str, Any]:
    """Return the event of a stack's status.

    See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/event-detail-stack-status-change.html
    """
    detail = {"stack-id": DEMAND, "status-details": {"status": "UPDATE_COMPLETE", "status-reason": ""}}
    event = {
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": "CloudFormation Stack Status Change",
        "source": "aws.cloudformation",
        "account": "123456789012",
        "region": "us-east-1",
        "time": "2017-08-01T09:00:00Z",
        "detail": detail | changes.pop("detail", {}),
    }
    return event | changes


def _requested(event: object) -> RequestedRollout:
    return requested_rollout(json.dumps(event), settings=SETTINGS, now=NOW)


def test_an_approval_asks_for_its_package() -> None:
    """Named by version and time, so that a repeated delivery, and a second event of an approval, are the same request."""
    requested = _requested(approval())
    assert requested.name.startswith("approval-3-")
    assert requested.request is not None
    assert (requested.request.reason, requested.request.model_package_arn) == (DeployReason.APPROVAL, PACKAGE)
    assert _requested(approval(id="another")).name == requested.name
    assert _requested(approval(time="2017-08-01T11:00:00+02:00")).name == requested.name
    assert _requested(approval(time="2017-08-01T09:01:00Z")).name != requested.name


def test_an_alarm_asks_for_a_rollback() -> None:
    """It names itself, and is confirmed at its source."""
    requested = _requested(alarm())
    assert requested.request is not None
    assert (requested.request.reason, requested.request.alarm, requested.alarm) == (
        DeployReason.ROLLBACK,
        "refunds",
        "refunds",
    )


@pytest.mark.parametrize("status", ["ABORTED", "FAILED", "TIMED_OUT"])
def test_an_execution_that_died_asks_for_what_is_desired(status: str) -> None:
    """The next execution waits for the endpoint, cleans up leftovers and records the serving version."""
    requested = _requested(ended(detail={"status": status}))
    assert requested.request is not None
    assert (requested.request.reason, requested.died) == (DeployReason.SPEC, EXECUTION)
    assert requested.name.startswith("recover-")


@pytest.mark.parametrize("status", ["UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"])
def test_a_deployment_asks_for_what_is_desired(status: str) -> None:
    """CloudFormation may have reset the endpoint, also by a stack tag: one check per event."""
    requested = _requested(stack(detail={"status-details": {"status": status}}))
    assert requested.request is not None
    assert (requested.request.reason, requested.died, requested.alarm) == (DeployReason.SPEC, None, None)
    assert requested.request.requested_by == f"deployment of {DEMAND} ({status})"
    assert requested.name.startswith("deployed-")
    assert _requested(stack(time="2017-08-01T09:01:00Z")).name == requested.name


def test_a_deployment_asks_for_nothing_where_it_resets_nothing() -> None:
    """A SageMaker endpoint is in no template."""
    settings = GuardSettings(machine_arn=MACHINE, group=ENDPOINT)
    with pytest.raises(IgnoredError, match=f"stack '{DEMAND}' is not None"):
        requested_rollout(json.dumps(stack()), settings=settings, now=NOW)


def test_a_recovery_that_died_only_leaves_its_lock() -> None:
    """A failure of every execution must not start executions for ever."""
    arn = EXECUTION.rpartition(":")[0] + ":recover-0123456789abcdef"
    requested = _requested(ended(detail={"executionArn": arn}))
    assert (requested.request, requested.died) == (None, arn)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (approval(source="aws.sagemake"), "starts no rollout"),
        (stack(account="111122223333"), "account '111122223333' is not '123456789012'"),
        (stack(detail={"stack-id": DEMAND.replace("Demand", "Supply")}), "is not 'arn:aws:cloudformation"),
        (stack(detail={"status-details": {"status": "UPDATE_IN_PROGRESS"}}), "is 'UPDATE_IN_PROGRESS'"),
        (stack(detail={"status-details": "UPDATE_COMPLETE"}), "is None"),
        (approval(**{"detail-type": "SageMaker Endpoint State Change"}), "starts no rollout"),
        (approval(source="aws.cloudwatch"), "starts no rollout"),
        (approval(account="210987654321"), "account '210987654321' is not '123456789012'"),
        (approval(account=None), "account None is not"),
        (approval(detail={"ModelApprovalStatus": "Rejected"}), "is 'Rejected'"),
        (approval(detail={"UpdatedModelPackageFields": ["CustomerMetadataProperties"]}), "updated in CustomerMetadata"),
        (approval(detail={"ModelPackageArn": PACKAGE.replace("demand", "other")}), "not a model package of group"),
        (approval(detail={"ModelPackageArn": PACKAGE.replace("123456789012", "210987654321")}), "not a model package"),
        (approval(detail={"ModelPackageArn": None}), "not a model package"),
        (approval(time="2017-08-01T08:44:59Z"), "event of 2017-08-01T08:44:59.* was received at 2017-08-01T09:00:00"),
        (approval(time="2017-08-01T09:05:01Z"), "was received at"),
        (alarm(account="210987654321"), "account '210987654321' is not '123456789012'"),
        (alarm(detail={"alarmName": "other"}), "alarm 'other' is not one of refunds"),
        (alarm(detail={"alarmName": ["refunds"]}), "is not one of refunds"),
        (alarm(detail={"state": {"value": "OK"}}), "alarm refunds changed to 'OK'"),
        (alarm(detail={"state": "ALARM"}), "alarm refunds changed to None"),
        (alarm(time="2017-08-01T08:00:00Z"), "was received at"),
        (alarm(region="eu-west-1"), "region 'eu-west-1' is not 'us-east-1'"),
        (alarm(resources=None), "resources must be .*alarm:refunds' alone, got \\[\\]"),
        (alarm(resources=[REFUNDS, REFUNDS]), "alone"),
        (alarm(resources=[REFUNDS.replace("us-east-1", "eu-west-1")]), "is not of account '123456789012' and region"),
        (alarm(resources=[REFUNDS.replace("123456789012", "210987654321")]), "is not of account"),
        (alarm(resources=[REFUNDS.replace("refunds", "other")]), "alone"),
        (approval(region=None), "region None is not 'us-east-1'"),
        (approval(resources=["model-package/3"]), "resources must be ARNs of at most 2048 characters"),
        (approval(resources=[PACKAGE + "x" * 2048]), "resources must be ARNs"),
        (approval(id="x" * 129), "event id must match"),
        (approval(id=""), "event id must match"),
        (approval(id="a\nb"), "event id must match"),
        (approval(detail={"ModelPackageArn": PACKAGE.replace("/3", "/03")}), "not a model package"),
        (approval(detail={"ModelPackageArn": PACKAGE.replace("us-east-1", "eu-west-1")}), "not a model package"),
        (approval(detail={"ModelPackageArn": PACKAGE + "0" * 9}), "not a model package"),
        (ended(detail={"executionArn": EXECUTION + "x" * 80}), "is not an execution of"),
        (ended(detail={"executionArn": EXECUTION + ":one"}), "is not an execution of"),
        (stack(region="us-west-2"), "region 'us-west-2' is not 'us-east-1'"),
        (ended(detail={"status": "SUCCEEDED"}), "is 'SUCCEEDED'"),
        (ended(detail={"executionArn": EXECUTION.replace("Deploy", "Other")}), "is not an execution of"),
        (ended(detail={"executionArn": 3}), "is not an execution of"),
        ({"id": "x"}, "source is missing"),
        ([], r"\$ must be an object"),
    ],
)
def test_what_is_none_of_ours_asks_for_nothing(event: Any, message: str) -> None:
    """Forged, foreign, old and future events are dropped with a reason."""
    with pytest.raises(IgnoredError, match=message):
        _requested(event)


@given(st.text(max_size=200) | st.binary(max_size=50).map(lambda raw: raw.decode("latin-1")))
def test_no_body_breaks_the_guard(body: str) -> None:
    """Any body is ignored with a reason."""
    with pytest.raises(IgnoredError):
        requested_rollout(body, settings=SETTINGS, now=NOW)


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
_ARN = st.builds(
    "arn:{}:{}:{}:{}:{}".format,
    st.sampled_from(["aws", "aws-cn", ""]),
    st.sampled_from(["sagemaker", "cloudwatch", "states", "s3"]),
    st.sampled_from(["us-east-1", "eu-west-1", ""]),
    st.sampled_from(["123456789012", "210987654321", ""]),
    st.sampled_from(["model-package/demand-forecast/3", "alarm:refunds", "execution:Deploy:one"])
    | st.text(max_size=30),
)
_KINDS = {"approval": approval, "alarm": alarm, "ended": ended, "stack": stack}


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(_KINDS)), st.data())
def test_a_tampered_event_is_ignored_or_means_the_same(kind: str, data: st.DataObject) -> None:
    """For any field replaced by anything or another ARN: an accepted event requests what the original did."""
    event, whole = _KINDS[kind](), _requested(_KINDS[kind]())
    target = event["detail"] if data.draw(st.booleans()) else event
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(_ANY | _ARN | st.lists(_ARN, max_size=2))
    try:
        requested = _requested(event)
    except IgnoredError as ignored:
        assert len(str(ignored)) < 3000
        return
    assert (requested.alarm, requested.died) == (whole.alarm, whole.died)
    assert (requested.request is None) == (whole.request is None)
    if requested.request is not None and whole.request is not None:
        assert requested.request.reason is whole.request.reason
        assert requested.request.model_package_arn == whole.request.model_package_arn


def test_a_body_of_a_megabyte_is_not_read() -> None:
    """EventBridge events have at most 256 KiB."""
    with pytest.raises(IgnoredError, match="a message must have at most 262144 characters, got 262145"):
        requested_rollout(" " * 262_145, settings=SETTINGS, now=NOW)


REGISTERED = {
    "ModelPackageArn": PACKAGE,
    "ModelPackageGroupName": ENDPOINT,
    "ModelPackageStatus": "Completed",
    "ModelApprovalStatus": "Approved",
    "LastModifiedTime": NOW,
}


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (None, "is not in the registry"),
        (
            REGISTERED | {"ModelApprovalStatus": "Rejected"},
            "has ModelApprovalStatus 'Rejected' in the registry, expected",
        ),
        (REGISTERED | {"ModelPackageStatus": "InProgress"}, "has ModelPackageStatus 'InProgress'"),
        (REGISTERED | {"ModelPackageGroupName": "other"}, "has ModelPackageGroupName 'other'"),
        (REGISTERED | {"ModelPackageArn": PACKAGE + "0"}, "has ModelPackageArn"),
        ({}, "has ModelPackageArn None"),
    ],
)
def test_an_approval_is_confirmed_by_the_registry(described: dict[str, Any] | None, message: str) -> None:
    """A package that is missing, no longer approved, of another group or not ready starts nothing."""
    with pytest.raises(IgnoredError, match=message):
        check_approval(_requested(approval()), described, SETTINGS)


@given(st.integers(-900, 900), st.integers(-900, 900))
def test_events_of_one_change_have_one_name(first: int, second: int) -> None:
    """Within five seconds of the registry's own time, whatever their ids; later changes of the package do not matter."""

    def name(seconds: int, described: dict[str, Any]) -> str:
        at = (NOW + timedelta(seconds=seconds)).isoformat()
        requested = requested_rollout(
            json.dumps(approval(id=f"e{seconds}", time=at)), settings=SETTINGS, now=NOW + timedelta(seconds=seconds)
        )
        return check_approval(requested, described, SETTINGS).name

    names = [name(seconds, REGISTERED) for seconds in (first, second)]
    are_one = first == second or (abs(first) <= 5 and abs(second) <= 5)
    assert (names[0] == names[1]) == are_one
    later = REGISTERED | {"LastModifiedTime": NOW + timedelta(days=1)}
    assert name(0, later) == name(0, REGISTERED) == name(3, REGISTERED)


@given(st.integers(-40, 40))
def test_events_count_for_a_quarter_of_an_hour(minutes: int) -> None:
    """From five minutes in the future, for clock skew, to fifteen minutes in the past."""
    at = NOW - timedelta(minutes=minutes)
    try:
        _requested(approval(time=at.isoformat()))
        counted = True
    except IgnoredError:
        counted = False
    assert counted == (-5 <= minutes <= 15)


def test_an_approval_without_the_list_of_fields_counts() -> None:
    """Approvals through the API may omit it."""
    event = approval()
    del event["detail"]["UpdatedModelPackageFields"]
    requested = _requested(event)
    assert requested.request is not None
    assert requested.request.model_package_arn == PACKAGE


@pytest.mark.parametrize(
    ("until", "state", "message"),
    [
        ("2017-08-01T09:00:01Z", "ALARM", None),
        ("2017-08-01T09:00:00Z", "ALARM", "no probation is active"),
        (None, "ALARM", "no probation is active"),
        ("2017-08-02T09:00:00Z", "OK", "is no longer in ALARM: it is OK"),
        ("2017-08-02T09:00:00Z", None, "is no longer in ALARM: it is deleted"),
    ],
)
def test_an_alarm_is_confirmed_at_its_sources(
    world: World, until: str | None, state: str | None, message: str | None
) -> None:
    """A probation is active and the alarm is still in ALARM."""
    row = LockRow(endpoint=ENDPOINT, live=canonical_json(world.pointer("v1", "p", probation_until=until)).decode())
    if message is None:
        check_probation(_requested(alarm()), row, state, NOW)
        return
    with pytest.raises(IgnoredError, match=message):
        check_probation(_requested(alarm()), row, state, NOW)
