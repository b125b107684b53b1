"""Going back by command. What the real Deploy machine does with the request is tested with the rollout."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace

from deployed_unit import DeployedUnit

Run = Callable[..., subprocess.CompletedProcess[str]]


def _serving_machine(deployed: DeployedUnit, version: int) -> None:
    """Let the unit's machine be one that makes a version live, whatever is asked."""
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
    """With who asks and why; the exit code says that the version serves."""
    deployed.serve(2)
    _serving_machine(deployed, 1)

    result = on_cloud("rollback", deployed.endpoint, "--to", 1, "--reason", "returns went up")

    assert result.returncode == 0, result.stderr
    following, outcome = result.stdout.splitlines()
    assert following.startswith(
        f"following arn:aws:states:us-east-1:000000000000:execution:{deployed.name}-serving:rollback-"
    )
    assert outcome.endswith(f"{deployed.package(1)} serves")
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
    """The execution succeeded, but the version before still does not serve."""
    deployed.serve(2)

    result = on_cloud("rollback", deployed.endpoint)

    assert result.returncode == 1
    assert result.stderr.startswith("mlops: not rolled back: ")
    assert result.stderr.endswith(f"{deployed.package(2)} serves\n")


def test_fails_when_no_model_serves(on_cloud: Run, deployed: DeployedUnit) -> None:
    """One line that says so; nothing is started."""
    result = on_cloud("rollback", deployed.endpoint)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"mlops: NOT_YET_DEPLOYED: no model serves on {deployed.endpoint} yet, so there is nothing to go back from; "
        "approve a model package first\n"
    )
    assert _inputs(deployed) == []


def test_fails_on_what_is_no_version(on_cloud: Run, deployed: DeployedUnit) -> None:
    """Nothing is started either."""
    deployed.serve(2)

    result = on_cloud("rollback", deployed.endpoint, "--to", "latest")

    assert result.returncode == 1
    assert (
        "the version must be a number such as 3, or an ARN that begins with arn:aws:sagemaker:us-east-1:"
        in result.stderr
    )
    assert _inputs(deployed) == []


def test_fails_on_an_endpoint_that_is_not_there(on_cloud: Run, deployed: DeployedUnit) -> None:
    """Those that are there are named."""
    result = on_cloud("rollback", f"{deployed.name}-pricing")

    assert result.returncode == 1
    assert f"there is no endpoint '{deployed.name}-pricing' here; there are: " in result.stderr
    assert deployed.endpoint in result.stderr
