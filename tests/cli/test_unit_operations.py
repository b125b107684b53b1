"""Pausing and resuming a unit, and rolling back, with the command; rollout tests cover the real Deploy machine."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.business_unit.automation import pause_of
from mlops_runtime.contracts.rollout import Outcome

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = "arn:aws:iam::000000000000:root"


def test_a_unit_is_paused_and_resumed_on_the_record(on_cloud: Run, deployed: DeployedUnit) -> None:
    """Each is recorded once; repeating it prints the user and changes nothing."""
    name = deployed.name

    paused = on_cloud("pause", name, "--reason", " stocktaking ")
    again = on_cloud("pause", name, "--reason", "me too")

    state = pause_of(deployed.unit_chain.table.read())
    assert state is not None
    assert (state.is_paused, state.by, state.reason) == (True, ROOT, "stocktaking")
    assert (paused.returncode, paused.stderr) == (0, "")
    assert paused.stdout == f"{name} is paused: automatic retraining, approval and promotion are stopped (record 1)\n"
    assert (again.returncode, again.stdout) == (
        0,
        f"{name} is paused since {state.at} by {ROOT}: stocktaking; nothing changed\n",
    )

    resumed = on_cloud("resume", name, "--reason", "done")

    assert resumed.stdout == f"{name} is resumed (record 2)\n"
    assert on_cloud("resume", name, "--reason", "done").stdout == f"{name} is not paused; nothing changed\n"
    records = deployed.unit_chain.newest(deployed.unit_chain.table.read(), 5)
    assert [record.outcome for record in records] == [Outcome.PAUSED, Outcome.RESUMED]
    assert deployed.problems(deployed.unit_chain) == []


def test_the_time_is_the_clouds(on_cloud: Run, deployed: DeployedUnit) -> None:
    """The local clock is irrelevant."""
    deployed.cloud.clock_jump(by=timedelta(days=2))

    on_cloud("pause", deployed.name, "--reason", "x")

    state = pause_of(deployed.unit_chain.table.read())
    assert state is not None
    assert datetime.fromisoformat(state.at) > datetime.now(UTC) + timedelta(days=1)


def test_fails_without_a_reason(on_cloud: Run, deployed: DeployedUnit) -> None:
    """The record needs a reason; nothing is written."""
    missing = on_cloud("pause", deployed.name)
    blank = on_cloud("pause", deployed.name, "--reason", " ")

    assert missing.returncode == 2
    assert blank.returncode == 1
    assert blank.stderr == "mlops: --reason must not be blank; it is stored in the audit record\n"
    assert deployed.unit_chain.table.read().audit_sequence == 0


@pytest.mark.parametrize("verb", ["pause", "resume", "rollback"])
def test_fails_on_a_reason_that_no_record_should_hold(verb: str, mlops: Run) -> None:
    """Records are read by people; there is no prompt."""
    result = mlops(verb, "demand", "--reason", "x" * 501)

    assert result.returncode == 1
    assert result.stderr == "mlops: --reason must be at most 500 characters, got 501; name a ticket instead\n"


def test_fails_on_a_unit_that_is_not_there(on_cloud: Run, deployed: DeployedUnit) -> None:
    """The error lists existing units."""
    result = on_cloud("pause", "nobody", "--reason", "x")

    assert result.returncode == 1
    assert result.stderr.startswith("mlops: business unit 'nobody' not found; deployed are: ")
    assert deployed.name in result.stderr.split(": ")[-1].strip().split(", ")


def _serving_machine(deployed: DeployedUnit, version: int) -> None:
    """Replace the unit's machine by one that always makes a version live."""
    table = f"{deployed.name}-rollout"
    arguments = {
        "TableName": table,
        "Key": {"endpoint": {"S": deployed.endpoint}},
        "UpdateExpression": "SET live = :live",
        "ExpressionAttributeValues": {":live": {"S": deployed.live_item(version)}},
    }
    task = {"Type": "Task", "Resource": "arn:aws:states:::dynamodb:updateItem", "Arguments": arguments, "End": True}
    allowed = {
        "Effect": "Allow", "Action": "dynamodb:UpdateItem", "Resource": f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}"
    }  # fmt: skip
    definition = {"QueryLanguage": "JSONata", "StartAt": "Serve", "States": {"Serve": task}}
    machine = deployed.make_machine("serving", definition, allowed)
    deployed.publish(replace(deployed.endpoint_entry, deploy_machine=machine))
    deployed.machine = machine


def _inputs(deployed: DeployedUnit) -> list[dict[str, str]]:
    found = deployed.stepfunctions.list_executions(stateMachineArn=deployed.machine)["executions"]
    return [
        json.loads(deployed.stepfunctions.describe_execution(executionArn=e["executionArn"])["input"]) for e in found
    ]


def test_the_machine_is_asked_and_followed(on_cloud: Run, deployed: DeployedUnit) -> None:
    """The request has caller and reason; the exit code reports that the version serves."""
    deployed.serve(2)
    _serving_machine(deployed, 1)

    result = on_cloud("rollback", deployed.endpoint, "--to", 1, "--reason", "returns went up")

    assert result.returncode == 0, result.stderr
    following, outcome = result.stdout.splitlines()
    assert following.startswith(
        f"following arn:aws:states:us-east-1:000000000000:execution:{deployed.name}-serving:rollback-"
    )
    assert outcome.endswith(f"live: {deployed.package(1)}")
    (request,) = _inputs(deployed)
    assert request.pop("requested_at") <= deployed.cloud.clock()["now"]
    assert request == {
        "reason": "rollback",
        "requested_by": "arn:aws:iam::000000000000:root",
        "model_package_arn": deployed.package(1),
        "comment": "returns went up",
        "format": "mlops.deploy-request/1",
    }


def test_fails_when_something_else_serves(on_cloud: Run, deployed: DeployedUnit) -> None:
    """The execution succeeded, but the previous version does not serve."""
    deployed.serve(2)

    result = on_cloud("rollback", deployed.endpoint, "--reason", "errors")

    assert result.returncode == 1
    assert "mlops: not rolled back: " in result.stderr
    assert result.stderr.endswith(f"live: {deployed.package(2)}\n")


def test_fails_when_no_model_serves(on_cloud: Run, deployed: DeployedUnit) -> None:
    """Prints one line and starts nothing."""
    result = on_cloud("rollback", deployed.endpoint, "--reason", "errors")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"mlops: NOT_YET_DEPLOYED: no model is live on {deployed.endpoint} yet, so there is nothing to roll back from; "
        "approve a model package first\n"
    )
    assert _inputs(deployed) == []


def test_fails_on_what_is_no_version(on_cloud: Run, deployed: DeployedUnit) -> None:
    """Starts nothing."""
    deployed.serve(2)

    result = on_cloud("rollback", deployed.endpoint, "--to", "latest", "--reason", "errors")

    assert result.returncode == 1
    assert (
        "the version must be a number such as 3, or an ARN that begins with arn:aws:sagemaker:us-east-1:"
        in result.stderr
    )
    assert _inputs(deployed) == []


def test_fails_on_an_endpoint_that_is_not_there(on_cloud: Run, deployed: DeployedUnit) -> None:
    """The error lists existing endpoints."""
    result = on_cloud("rollback", f"{deployed.name}-pricing", "--reason", "errors")

    assert result.returncode == 1
    assert f"endpoint '{deployed.name}-pricing' not found; deployed are: " in result.stderr
    assert deployed.endpoint in result.stderr
