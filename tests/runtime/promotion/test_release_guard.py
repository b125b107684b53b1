"""Events that request a release, and ignored ones."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops_runtime.contracts.rollout import LockRow
from mlops_runtime.promotion.release_guard import ReleaseSettings, Trigger, requested_release, standing_problem
from mlops_runtime.rollout.deploy_guard import IgnoredError

NOW = datetime(2017, 8, 1, 9, tzinfo=UTC)
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:Release"
RULE = "arn:aws:events:us-east-1:123456789012:rule/recheck"
PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/3"
SETTINGS = ReleaseSettings(machine_arn=MACHINE, unit="demand", group="demand-forecast", recheck_rule=RULE)
SERVED = ReleaseSettings(
    machine_arn=MACHINE, unit="demand", group="demand-forecast", recheck_rule=RULE, endpoint="demand-forecast"
)
COMMON = {"id": "e1", "account": "123456789012", "region": "us-east-1", "time": "2017-08-01T09:00:00Z"}
APPROVED = COMMON | {
    "source": "aws.sagemaker",
    "detail-type": "SageMaker Model Package State Change",
    "detail": {"ModelPackageArn": PACKAGE, "ModelApprovalStatus": "Approved"},
}
FINISHED = COMMON | {
    "source": "mlops.demand",
    "detail-type": "MLOps Rollout Finished",
    "detail": {"id": "x", "subject": "demand-forecast", "outcome": "PROMOTED"},
}
RECHECK = COMMON | {"source": "aws.events", "detail-type": "Scheduled Event", "resources": [RULE], "detail": {}}


def _requested(event: object, settings: ReleaseSettings = SETTINGS) -> Any:
    body = event if isinstance(event, str) else json.dumps(event)
    return requested_release(body, settings=settings, now=NOW)


def test_an_approval_asks_where_no_endpoint_promotes() -> None:
    """It names its package."""
    requested = _requested(APPROVED)

    assert (requested.trigger, requested.approval.approved[0]) == (Trigger.APPROVED, PACKAGE)


def test_a_promotion_asks_where_an_endpoint_does() -> None:
    """The row has the package."""
    assert (_requested(FINISHED, SERVED).trigger, _requested(FINISHED, SERVED).approval) == (Trigger.PROMOTED, None)


@pytest.mark.parametrize("settings", [SETTINGS, SERVED])
def test_the_schedule_asks_again(settings: ReleaseSettings) -> None:
    """For either kind of registry."""
    assert _requested(RECHECK, settings).trigger is Trigger.RECHECK


@pytest.mark.parametrize(
    ("event", "settings", "message"),
    [
        (APPROVED, SERVED, "releases nothing of 'demand-forecast'"),
        (FINISHED, SETTINGS, "releases nothing of 'demand-forecast'"),
        (FINISHED | {"source": "mlops.pricing"}, SERVED, "releases nothing"),
        (FINISHED | {"detail": {"subject": "demand-returns", "outcome": "PROMOTED"}}, SERVED, "is not endpoint"),
        (
            FINISHED | {"detail": {"subject": "demand-forecast", "outcome": "ROLLED_BACK"}},
            SERVED,
            "ended as 'ROLLED_BACK'",
        ),
        (APPROVED | {"account": "999999999999"}, SETTINGS, "account '999999999999' is not"),
        (APPROVED | {"region": "eu-west-1"}, SETTINGS, "region 'eu-west-1' is not"),
        (APPROVED | {"time": "2017-08-01T08:00:00Z"}, SETTINGS, "was received at"),
        (
            APPROVED
            | {
                "detail": {"ModelPackageArn": PACKAGE.replace("forecast", "returns"), "ModelApprovalStatus": "Approved"}
            },
            SETTINGS,
            "is not a model package of group",
        ),
        (
            APPROVED | {"detail": {"ModelPackageArn": PACKAGE, "ModelApprovalStatus": "Rejected"}},
            SETTINGS,
            "is 'Rejected'",
        ),
        (RECHECK | {"resources": [RULE.replace("recheck", "other")]}, SETTINGS, "releases nothing"),
        ("{", SETTINGS, "not"),
        (json.dumps(APPROVED) + " " * 300_000, SETTINGS, "must have at most"),
    ],
)
def test_what_releases_nothing_says_why(event: object, settings: ReleaseSettings, message: str) -> None:
    """Of another kind of registry, unit, endpoint, outcome, account, region, time, group or rule, or not an event."""
    with pytest.raises(IgnoredError, match=message):
        _requested(event, settings)


def test_a_lock_that_has_ended_holds_nothing() -> None:
    """A dead execution does not block releases for ever."""
    row = LockRow(endpoint="demand-forecast", owner="arn", lock_until=int(NOW.timestamp()) - 1)

    assert standing_problem(row, now=NOW) == "demand-forecast serves nothing yet"
    assert "is running on" in str(standing_problem(row, now=NOW - timedelta(seconds=9)))
