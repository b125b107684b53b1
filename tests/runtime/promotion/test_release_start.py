"""The guard with its sources: the executions that it starts, and how often."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.runtime.rollout.world import NOW

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.release import ReleaseRequest
from mlops_runtime.contracts.unit_entries import FreezeSpec, FreezeWindow
from mlops_runtime.lambda_protocol import Message
from mlops_runtime.promotion.release_guard import ReleaseSettings
from mlops_runtime.promotion.release_start import ReleaseGuard
from mlops_runtime.rollout.rollout_table import RolloutTable

RULE = "arn:aws:events:us-east-1:123456789012:rule/recheck"
COMMON = {"id": "e1", "account": "123456789012", "region": "us-east-1", "time": "2017-08-01T09:00:00Z"}
RECHECK = COMMON | {"source": "aws.events", "detail-type": "Scheduled Event", "resources": [RULE], "detail": {}}
FINISHED = COMMON | {
    "source": "mlops.demand",
    "detail-type": "MLOps Rollout Finished",
    "detail": {"subject": "demand-forecast", "outcome": "PROMOTED"},
}


def _approved(package: str) -> dict[str, Any]:
    return COMMON | {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Model Package State Change",
        "detail": {"ModelPackageArn": package, "ModelApprovalStatus": "Approved"},
    }


@dataclass
class _Guarded:
    releasing: Any
    machine: str
    endpoint: str | None = None

    def handle(self, event: object) -> str | None:
        """Pass a message to the guard."""
        world = self.releasing.world
        guard = ReleaseGuard(
            stepfunctions=world.stepfunctions,
            sagemaker=world.sagemaker,
            table=world.table,
            automation=Automation(
                freeze=self.releasing.freeze, table=RolloutTable(world.dynamodb, "automation", "demand")
            ),
            settings=ReleaseSettings(
                machine_arn=self.machine,
                unit="demand",
                group="demand-forecast",
                recheck_rule=RULE,
                endpoint=self.endpoint,
            ),
        )
        return guard.handle(Message(id="m1", body=json.dumps(event), sent=NOW))

    def outcome(self, arn: str | None) -> str:
        """Return the package of an execution's input."""
        described = self.releasing.world.stepfunctions.describe_execution(executionArn=arn)
        return from_json(ReleaseRequest, described["input"]).package_arn


@pytest.fixture
def guarded(releasing: Any) -> _Guarded:
    """Return the guard of a registry without an endpoint."""
    made = releasing.world.stepfunctions.create_state_machine(
        name="Release",
        definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
        roleArn="arn:aws:iam::123456789012:role/r",
    )
    return _Guarded(releasing=releasing, machine=made["stateMachineArn"])


def test_an_approval_starts_one_execution(guarded: _Guarded) -> None:
    """For any number of deliveries, under another id too."""
    package = guarded.releasing.package()
    arn = guarded.handle(_approved(package))

    assert guarded.outcome(arn) == package
    assert guarded.handle(_approved(package)) == arn
    assert guarded.handle(_approved(package) | {"id": "e2"}) == arn
    assert len(guarded.releasing.world.executions("Release")) == 1


def test_what_the_registry_does_not_call_approved_starts_nothing(guarded: _Guarded) -> None:
    """Whatever the event claims."""
    assert guarded.handle(_approved(guarded.releasing.package("PendingManualApproval"))) is None


def test_the_schedule_asks_for_the_newest_approved_package(guarded: _Guarded) -> None:
    """After a lost event; each scheduled event is one execution."""
    assert guarded.handle(RECHECK) is None
    guarded.releasing.package()
    newest = guarded.releasing.package(model_sha256="9" * 64)
    guarded.releasing.package("PendingManualApproval", model_sha256="8" * 64)

    first = guarded.handle(RECHECK)
    assert guarded.outcome(first) == newest
    assert guarded.handle(RECHECK) == first
    assert guarded.handle(RECHECK | {"id": "e9"}) != first


def test_a_promotion_is_released_when_its_probation_is_over(guarded: _Guarded) -> None:
    """By the schedule: the event came during the probation."""
    world, package = guarded.releasing.world, guarded.releasing.package()
    guarded.endpoint = "demand-forecast"
    world.point(world.pointer("v1", package, probation_until=(NOW + timedelta(hours=1)).isoformat()))
    assert guarded.handle(FINISHED) is None
    assert guarded.handle(RECHECK) is None
    world.point(world.pointer("v1", package, probation_until=NOW.isoformat()))

    assert guarded.outcome(guarded.handle(RECHECK)) == package
    arn = guarded.handle(FINISHED)
    assert guarded.outcome(arn) == package
    assert guarded.handle(FINISHED | {"id": "e7"}) == arn


def test_nothing_starts_while_automatic_work_is_stopped(guarded: _Guarded) -> None:
    """The schedule retries after the freeze."""
    window = FreezeWindow(name="peak", start=NOW - timedelta(days=1), end=NOW + timedelta(days=1))
    guarded.releasing.freeze = FreezeSpec(windows=(window,))

    assert guarded.handle(_approved(guarded.releasing.package())) is None
