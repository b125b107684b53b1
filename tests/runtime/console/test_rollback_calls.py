"""Rollbacks from a page: once, and only from the current state."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.cloud_connection import CloudConnection
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, Outcome

Ask = Callable[..., tuple[int, dict[str, Any]]]

WAITING = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 86400, "End": True}}}


@pytest.fixture
def busy(unit: DeployedUnit) -> Iterator[DeployedUnit]:
    """A unit whose Deploy machine takes a day, with version 2 in place of 1; what still runs is ended."""
    unit.machine = unit.make_machine("slow", WAITING)
    unit.publish(replace(unit.endpoint_entry, deploy_machine=unit.machine))
    unit.serve(1)
    unit.serve(2, previous=unit.pointer(1).config)
    yield unit
    for execution in unit.stepfunctions.list_executions(stateMachineArn=unit.machine, statusFilter="RUNNING")[
        "executions"
    ]:
        unit.stepfunctions.stop_execution(executionArn=execution["executionArn"])


def body(unit: DeployedUnit, sequence: int = 2, **changes: object) -> dict[str, object]:
    """What a person sends who has seen version 2."""
    return {"reason": "returns went up", "expect": {"sequence": sequence, "package": unit.package(2)}, **changes}


def running(unit: DeployedUnit) -> list[dict[str, Any]]:
    """The requests of the executions that run."""
    found = unit.stepfunctions.list_executions(stateMachineArn=unit.machine, statusFilter="RUNNING")["executions"]
    described = [unit.stepfunctions.describe_execution(executionArn=each["executionArn"]) for each in found]
    return [json.loads(each["input"]) for each in described]


def test_a_rollback_begins_once(ask: Ask, busy: DeployedUnit) -> None:
    """It names the version before, so that a second one would find it serving; two people do not roll back twice."""
    path = f"/units/{busy.name}/endpoints/{busy.endpoint}/rollbacks"

    status, begun = ask("POST", path, body(busy), idempotency_key="key-of-ann")
    again = ask("POST", path, body(busy), idempotency_key="key-of-ann")
    other, problem = ask("POST", path, body(busy), idempotency_key="key-of-ben")
    _, followed = ask("GET", f"{path}/{begun['execution']}")

    assert (status, again) == (202, (202, begun))
    assert (other, "a rollback by root is already running" in problem["detail"]) == (409, True)
    (requested,) = running(busy)
    assert (requested["model_package_arn"], requested["comment"]) == (busy.package(1), "returns went up")
    assert (followed["is_over"], followed["is_served"]) == (False, None)


def test_a_stale_page_rolls_nothing_back(ask: Ask, busy: DeployedUnit) -> None:
    """By the sequence, and by the version that served."""
    path = f"/units/{busy.name}/endpoints/{busy.endpoint}/rollbacks"

    status, problem = ask("POST", path, body(busy, sequence=1), idempotency_key="key-of-ann")
    seen = {"sequence": 2, "package": busy.package(1)}
    other, _ = ask("POST", path, body(busy, expect=seen), idempotency_key="key-of-ben")

    assert (status, other, running(busy)) == (409, 409, [])
    assert "record 2, PROMOTED, by ann" in problem["detail"]


def test_a_rollout_that_runs_is_aborted_once_its_fleet_starts(ask: Ask, busy: DeployedUnit) -> None:
    """Until its alarm exists the same request is sent again; without a rollout there is nothing to abort."""
    path = f"/units/{busy.name}/endpoints/{busy.endpoint}/abort"
    none, problem = ask("POST", path, body(busy), idempotency_key="key-too-soon")
    request = DeployRequest(
        reason=DeployReason.APPROVAL,
        requested_by="ann",
        requested_at="2017-07-01T00:00:00Z",
        model_package_arn=busy.package(3),
    )
    execution = busy.stepfunctions.start_execution(
        stateMachineArn=busy.machine, name="approval-3", input=canonical_json(request).decode()
    )["executionArn"]
    busy.lock(execution)

    status, begun = ask("POST", path, body(busy), idempotency_key="key-of-ann")
    named, refused = ask("POST", path.replace("abort", "rollbacks"), body(busy, to=1), idempotency_key="key-to-one")

    assert (none, "no rollout of" in problem["detail"]) == (409, True)
    assert (status, begun["execution"], begun["aborts"], begun["is_final"]) == (202, "approval-3", True, False)
    assert (named, "abort it first" in refused["detail"]) == (409, True)


def test_an_abort_is_done_once_by_any_process(ask: Ask, busy: DeployedUnit, connection: CloudConnection) -> None:
    """Its record says so where another process took it; another reason is another request, of a page that is out of date."""
    path = f"/units/{busy.name}/endpoints/{busy.endpoint}/abort"
    reason = f"its alarm fired: requested by {connection.identity().arn}: returns went up"
    busy.serve(2, Outcome.ROLLED_BACK, reason, previous=busy.pointer(1).config)

    status, done = ask("POST", path, body(busy), idempotency_key="key-of-ann")
    rolled, back = ask("POST", path.replace("abort", "rollbacks"), body(busy), idempotency_key="key-of-back")
    stale, problem = ask("POST", path, body(busy, reason="else"), idempotency_key="key-of-ann-2")

    assert (status, done["aborts"], done["is_final"], done["execution"]) == (202, True, True, "rollout-2")
    assert done["summary"] == ["this was already done: record 3, ROLLED_BACK"]
    assert (rolled, back["execution"]) == (202, "rollout-2")
    assert (stale, "has changed since it was displayed" in problem["detail"]) == (409, True)


def test_what_cannot_be_followed_is_named(ask: Ask, busy: DeployedUnit) -> None:
    """An execution that is not this endpoint's, and an endpoint of another unit."""
    status, problem = ask("GET", f"/units/{busy.name}/endpoints/{busy.endpoint}/rollbacks/never")
    other, _ = ask("GET", f"/units/other/endpoints/{busy.endpoint}/rollbacks/never")

    assert (status, problem["detail"]) == (404, "never is not an execution of this endpoint")
    assert other == 404
