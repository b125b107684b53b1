"""Faults injected into the tasks of state machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mlops_local.cloud import CloudError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlops_local.cloud import Cloud

TABLE = "faults"
PUT = {
    "Type": "Task",
    "Resource": "arn:aws:states:::dynamodb:putItem",
    "Arguments": {"TableName": TABLE, "Item": {"id": {"S": "one"}}},
    "Retry": [{"ErrorEquals": ["DynamoDB.ThrottlingException", "stop"], "IntervalSeconds": 1, "MaxAttempts": 2}],
    "Catch": [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput.Error %}", "Next": "Caught"}],
    "Output": "done",
    "End": True,
}
STATES = {"Put": PUT, "Caught": {"Type": "Pass", "End": True}}


@pytest.fixture
def faults(cloud: Cloud) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Replace the faults, or return the calls that met them: ``faults([{...}])``, ``faults()``; removed after the test."""

    def call(*body: Any) -> list[dict[str, Any]]:
        return list(cloud.call("/_mlops/faults", *body))

    yield call
    call([])


@pytest.fixture(scope="module")
def machine(cloud: Cloud) -> str:
    """A machine that puts one item, retries when throttled, and returns the error that it caught."""
    iam, sfn, dynamodb = cloud.client("iam"), cloud.client("stepfunctions"), cloud.client("dynamodb")
    dynamodb.create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    allow = {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "*"}
    role = iam.create_role(RoleName="faults", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    iam.put_role_policy(RoleName="faults", PolicyName="p", PolicyDocument=json.dumps({"Statement": [allow]}))
    definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "Put", "States": STATES})
    return str(
        sfn.create_state_machine(name="faults", definition=definition, roleArn=role["Role"]["Arn"])["stateMachineArn"]
    )


@pytest.fixture
def run(cloud: Cloud, machine: str, wait_for: Callable[..., Any]) -> Callable[[], tuple[str, Any, bool]]:
    """Run the machine; return its status, its output and whether the item was put."""

    def start() -> tuple[str, Any, bool]:
        sfn, dynamodb = cloud.client("stepfunctions"), cloud.client("dynamodb")
        dynamodb.delete_item(TableName=TABLE, Key={"id": {"S": "one"}})
        arn = sfn.start_execution(stateMachineArn=machine)["executionArn"]
        found = wait_for(lambda: (one := sfn.describe_execution(executionArn=arn))["status"] != "RUNNING" and one)
        item = dynamodb.get_item(TableName=TABLE, Key={"id": {"S": "one"}}).get("Item")
        return str(found["status"]), json.loads(found.get("output") or "null"), item is not None

    return start


THROTTLED = {"integration": "dynamodb:putItem", "error": "DynamoDB.ThrottlingException"}


def test_a_fault_that_passes_is_retried_and_counted(faults: Any, run: Any) -> None:
    """The machine's own Retry gets AWS's error name."""
    faults([{**THROTTLED, "count": 2}])
    assert run() == ("SUCCEEDED", "done", True)
    assert [(f["calls"], f["met"]) for f in faults()] == [(3, 2)]


def test_a_fault_that_stays_is_caught(faults: Any, run: Any) -> None:
    """After the last attempt Catch gets it, and nothing was done."""
    faults([{**THROTTLED, "count": 99}])
    assert run() == ("SUCCEEDED", "DynamoDB.ThrottlingException", False)


def test_an_answer_gets_lost_after_the_work(faults: Any, run: Any) -> None:
    """The state gets a timeout, although the item was put."""
    faults([{"integration": "dynamodb:putItem", "error": "States.Timeout", "after": True}])
    assert run() == ("SUCCEEDED", "States.Timeout", True)


def test_an_execution_ends_in_the_middle(faults: Any, run: Any) -> None:
    """No Retry, no Catch, no later state runs."""
    faults([{"integration": "dynamodb:putItem", "error": "stop"}])
    assert run() == ("ABORTED", None, False)
    assert [(f["calls"], f["met"]) for f in faults()] == [(1, 1)]


def test_only_what_matches_is_met(faults: Any, run: Any) -> None:
    """Arguments distinguish calls of one integration; an earlier call succeeds."""
    faults([{**THROTTLED, "match": "another-table", "count": 9}, {**THROTTLED, "first": 2, "count": 9}])
    assert run() == ("SUCCEEDED", "done", True)
    assert [f["met"] for f in faults()] == [0, 0]


def test_a_state_alone_meets_its_fault(faults: Any, run: Any) -> None:
    """Two tasks may make the same call."""
    faults([{**THROTTLED, "state": "Other", "count": 9}, {**THROTTLED, "state": "Put", "count": 1}])
    assert run() == ("SUCCEEDED", "done", True)
    assert [f["met"] for f in faults()] == [0, 1]


def test_refuses_what_is_no_fault(faults: Any) -> None:
    """A misspelt field would be a fault that never occurs."""
    with pytest.raises(CloudError) as error:
        faults([{**THROTTLED, "times": 2}])
    assert "unexpected keyword argument 'times'" in str(error.value)


STACK_FAULT = {"error": "InternalFailure", "cause": "a fault", "match": '"Second"'}


def _stack(*, tag: str | None = None) -> str:
    """Return a template of two queues, one after the other."""
    tags = {"Properties": {"Tags": [{"Key": "a", "Value": tag}]}} if tag else {}
    queue = {"Type": "AWS::SQS::Queue", **tags}
    return json.dumps({"Resources": {"First": queue, "Second": {**queue, "DependsOn": "First"}}})


def test_a_resource_of_a_stack_fails_in_each_operation(
    cloud: Cloud, faults: Callable[..., list[dict[str, Any]]], wait_for: Callable[..., Any]
) -> None:
    """A failed creation and update roll back, a failed deletion leaves the resource in the stack; each was met once."""
    stacks, sqs, name = cloud.client("cloudformation"), cloud.client("sqs"), "faults-stack"

    def ended() -> str:
        status: str = wait_for(
            lambda: (
                not (s := stacks.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]).endswith("PROGRESS")
                and s
            )
        )
        return status

    def queues() -> int:
        return len(sqs.list_queues(QueueNamePrefix=name).get("QueueUrls", []))

    faults([{"integration": "cloudformation:create", **STACK_FAULT}])
    stack = stacks.create_stack(StackName=name, TemplateBody=_stack())["StackId"]
    assert (ended(), queues()) == ("ROLLBACK_COMPLETE", 0)
    assert [(f["calls"], f["met"]) for f in faults()] == [(1, 1)]
    stacks.delete_stack(StackName=stack)
    wait_for(lambda: ended() == "DELETE_COMPLETE")

    stack = stacks.create_stack(StackName=name, TemplateBody=_stack())["StackId"]
    assert (ended(), queues()) == ("CREATE_COMPLETE", 2)
    faults([{"integration": "cloudformation:update", **STACK_FAULT}])
    stacks.update_stack(StackName=stack, TemplateBody=_stack(tag="x"))
    assert (ended(), queues()) == ("UPDATE_ROLLBACK_COMPLETE", 2)
    reasons = " ".join(
        event.get("ResourceStatusReason", "") for event in stacks.describe_stack_events(StackName=stack)["StackEvents"]
    )
    assert 'Resource handler returned message: "a fault" (HandlerErrorCode: InternalFailure)' in reasons

    faults([{"integration": "cloudformation:delete", **STACK_FAULT}])
    stacks.delete_stack(StackName=stack)
    assert ended() == "DELETE_FAILED"
    assert queues() >= 1
    stacks.delete_stack(StackName=stack)
    assert (ended(), queues()) == ("DELETE_COMPLETE", 0)


def test_a_resource_cannot_fail_after_its_work(faults: Callable[..., list[dict[str, Any]]]) -> None:
    """Its result would be lost, but AWS's handlers report it."""
    with pytest.raises(CloudError) as refused:
        faults([{"integration": "cloudformation:create", "after": True, **STACK_FAULT}])
    assert "cannot fail after its work" in str(refused.value)
