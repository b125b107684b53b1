"""The loop of a unit, driven from outside: the execution that a step waits for."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from examples.retail.loop import Loop, LoopError

from mlops_local.cloud import Cloud

NAME = "loop-own-package"
MACHINE = {
    "QueryLanguage": "JSONata",
    "StartAt": "IsBad",
    "States": {
        "IsBad": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input.model_package_arn = 'bad' %}", "Next": "RolledBack"}],
            "Default": "Promoted",
        },
        "Promoted": {"Type": "Succeed"},
        "RolledBack": {"Type": "Fail", "Error": "ROLLED_BACK", "Cause": "it failed calls"},
    },
}


@pytest.fixture
def loop(cloud: Cloud) -> Iterator[Loop]:
    """Return a loop whose machines include one that rolls back bad models."""
    machines, iam = cloud.client("stepfunctions"), cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    machine = machines.create_state_machine(name=NAME, definition=json.dumps(MACHINE), roleArn=role)["stateMachineArn"]
    outputs = {"DeployMachineArn": machine, "RetrainMachineArn": machine, "EndpointName": NAME}
    yield Loop(client=cloud.client, outputs=outputs, unit="demand", now=lambda: datetime.now(UTC))
    machines.delete_state_machine(stateMachineArn=machine)
    iam.delete_role(RoleName=NAME)


def started(loop: Loop, cloud: Cloud, package: str, name: str) -> str:
    """Start a deployment of a package, and return its ARN after its end."""
    machine = loop.outputs["DeployMachineArn"]
    answer = cloud.client("stepfunctions").start_execution(
        stateMachineArn=machine, name=name, input=json.dumps({"model_package_arn": package})
    )
    loop.wait_idle("DeployMachineArn")
    return str(answer["executionArn"])


@pytest.mark.cloud
@pytest.mark.parametrize("order", [("bad", "good"), ("good", "bad")])
def test_a_step_waits_for_the_deployment_of_its_own_package(loop: Loop, cloud: Cloud, order: tuple[str, str]) -> None:
    """The loop promotes another model before or after, which is not taken for the approved one."""
    arns = {package: started(loop, cloud, package, f"approval-{package}") for package in order}

    ended = loop.wait_execution("DeployMachineArn", (), appear=5, finish=5, error="ROLLED_BACK", package="bad")

    assert ended["executionArn"] == arns["bad"]
    with pytest.raises(LoopError, match="ended FAILED: ROLLED_BACK it failed calls"):
        loop.wait_execution("DeployMachineArn", (), appear=5, finish=5, package="bad")
    with pytest.raises(LoopError, match="no new execution of DeployMachineArn with other within 0 s"):
        loop.wait_execution("DeployMachineArn", (), appear=0, finish=5, package="other")


@pytest.mark.cloud
def test_a_package_that_is_deployed_again_is_waited_for_again(loop: Loop, cloud: Cloud) -> None:
    """Covers an ignored approval followed by a valid one."""
    first, second = (started(loop, cloud, "good", f"approval-{number}") for number in (1, 2))

    ended = loop.wait_execution("DeployMachineArn", {first}, appear=5, finish=5, package="good")

    assert ended["executionArn"] == second
