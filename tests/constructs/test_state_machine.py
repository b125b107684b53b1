"""States as plain dicts, and the state machine construct."""

import json
from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Annotations, Match, Template

from mlops_constructs import BusinessUnit, ValidationError
from mlops_constructs._state_machine import (
    assign,
    choose,
    define_machine,
    each,
    fail,
    invoke,
    machine,
    on_error,
    put_event,
    successors,
    task,
    tasks,
    wait,
)
from mlops_runtime.aws_api import check_machine

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:gate"


START = "arn:aws:states:::aws-sdk:sagemaker:startPipelineExecution"
DESCRIBE = "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint"


def _machine(**states: dict[str, Any]) -> dict[str, Any]:
    return {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states}


def _describe(next_state: str = "Done", catch: str = "Caught", **options: Any) -> dict[str, Any]:
    arguments = {"EndpointName": "demand-forecast"}
    return task(
        "aws-sdk:sagemaker:describeEndpoint",
        arguments,
        next_state=next_state,
        catch=catch,
        **options,
    )


DONE = {"Type": "Pass", "Output": {"status": "{% $status %}"}, "End": True}
CAUGHT = {"Type": "Pass", "Output": {"caught": "{% $caught %}"}, "End": True}


def test_a_task_has_retry_catch_and_timeout() -> None:
    """Every task has them, and no state passes its result on."""
    state = _describe(timeout=30)

    assert state["Resource"] == "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint"
    assert state["TimeoutSeconds"] == 30
    assert [retrier["ErrorEquals"] for retrier in state["Retry"]] == [["States.TaskFailed", "States.Timeout"]]
    assert [catcher["ErrorEquals"] for catcher in state["Catch"]] == [["States.ALL"]]
    assert (state["Output"], state["Catch"][0]["Output"]) == ({}, {})
    assert "Assign" not in state


def test_a_failed_job_is_not_repeated_under_its_name() -> None:
    """Only throttled start calls are retried; the caller's own retriers come first."""
    first = {"ErrorEquals": ["SageMaker.ResourceLimitExceeded"], "MaxAttempts": 9}

    state = task("sagemaker:createTrainingJob.sync", {}, next_state="a", catch="b", retry=[first], timeout=3600)

    assert state["Retry"][0] == first
    assert [retrier["ErrorEquals"] for retrier in state["Retry"][1:]] == [["SageMaker.AmazonSageMakerException"]]


def test_what_a_task_learns_is_a_variable(run_machine: Callable[..., Any]) -> None:
    """Variables pass data on; outputs stay empty."""
    machine = _machine(
        Look=_describe(assign={"status": "{% $states.result.EndpointStatus %}"}), Done=DONE, Caught=CAUGHT
    )

    run = run_machine(machine, {}, lambda *_: {"EndpointStatus": "InService"})

    assert (run.status, run.output) == ("SUCCEEDED", {"status": "InService"})
    assert check_machine(machine) == []


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (
            json.dumps({"TrainingJobName": "j", "FailureReason": "AlgorithmError: exit code 1", "Tags": []}),
            "AlgorithmError: exit code 1",
        ),
        (json.dumps({"Status": "Failed", "FailureReason": "no capacity"}), "no capacity"),
        ('{"FailureReason":"no spaces","Status":"Failed"}', "no spaces"),
        (
            json.dumps({"errorMessage": "spec is missing", "errorType": "SpecError", "stackTrace": ["line 1"]}),
            "spec is missing",
        ),
        (
            '{"StoppingCondition":{"MaxRuntimeInSeconds":60},"SecondaryStatus":"MaxRuntimeExceeded","TrainingJobStatus":"Stopped"}',
            "the job was stopped: it ran for longer than its limit of 60 s; find what hangs with mlops runs logs, or raise "
            "max_runtime=",
        ),
        (
            '{"SecondaryStatus": "MaxWaitTimeExceeded", "TrainingJobStatus": "Stopped"}',
            "the job was stopped: it waited for spare capacity for longer than max_wait= allows",
        ),
        (
            '{"ProcessingJobStatus": "Stopped", "StoppingCondition": {"MaxRuntimeInSeconds": 3600}}',
            "the job was stopped, or ran for longer than its limit of 3600 s",
        ),
        ("Could not find endpoint", "Could not find endpoint"),
        (json.dumps({"Status": "Failed"}), '{"Status": "Failed"}'),
        ("", ""),
        ("{% $not(an expression) %}", "{% $not(an expression) %}"),
        ("x" * 5000, "x" * 600),
        (json.dumps({"FailureReason": "y" * 5000}), "y" * 600),
    ],
)
def test_the_one_sentence_that_counts_is_caught(
    cause: str, words: str, run_machine: Callable[..., Any], aws_error: type[Exception]
) -> None:
    """A job's description and a function's trace are cut to their error; no cause can make the Catch fail."""

    def fail(*_: object) -> None:
        raise aws_error("SageMaker.SomeException", cause)

    job = task("sagemaker:createTrainingJob.sync", {}, next_state="Done", catch="Caught", timeout=60)
    for look in (job, _describe()) if "Stopped" not in cause else (job,):
        run = run_machine(_machine(Look=look, Done=DONE, Caught=CAUGHT), {}, fail)

        assert (run.status, run.output) == ("SUCCEEDED", {"caught": f"SageMaker.SomeException: {words}"})


def test_variables_of_an_error_stand_beside_it(run_machine: Callable[..., Any], aws_error: type[Exception]) -> None:
    """A Catch may assign more variables than the error."""
    caught = {"Type": "Pass", "Output": "{% $caught & ' after ' & $step %}", "End": True}

    def fail(*_: object) -> None:
        raise aws_error("States.Timeout", "30 s")

    run = run_machine(_machine(Look=_describe(assign_caught={"step": "Look"}), Done=DONE, Caught=caught), {}, fail)

    assert run.output == "States.Timeout: 30 s after Look"
    assert len(run.calls) == 7, "the first try and six more"


def test_a_function_is_invoked_with_its_payload(run_machine: Callable[..., Any]) -> None:
    """The response is read from ``Payload``."""
    look = invoke(
        FUNCTION,
        {"now": "{% $now() %}", "count": 1},
        next_state="Done",
        catch="Caught",
        assign={"status": "{% $states.result.Payload.verdict %}"},
    )
    machine = _machine(Look=look, Done=DONE, Caught=CAUGHT)

    run = run_machine(machine, {}, lambda *_: {"Payload": {"verdict": "PASSED"}})

    assert run.output == {"status": "PASSED"}
    assert run.arguments("lambda:invoke")["FunctionName"] == FUNCTION
    assert run.arguments("lambda:invoke")["Payload"]["count"] == 1
    assert check_machine(machine) == []


@pytest.mark.parametrize(("count", "status"), [(1, "few"), (5, "some"), (50, "many")])
def test_choices_are_tried_in_order(count: int, status: str, run_machine: Callable[..., Any]) -> None:
    """The first matching arm is taken, else the default; waits and assignments continue."""
    machine = _machine(
        Begin=assign("Wait", count=count),
        Wait=wait("{% $count * 2 %}", "Choose"),
        Choose=choose(("$count < 3", "Few"), ("$count < 10", "Some"), default="Many"),
        Few=assign("Done", status="few"),
        Some=assign("Done", status="some"),
        Many=assign("Done", status="many"),
        Done=DONE,
    )

    run = run_machine(machine, {}, lambda *_: {})

    assert (run.output, run.slept) == ({"status": status}, [count * 2])


def test_a_lost_event_changes_nothing(run_machine: Callable[..., Any], aws_error: type[Exception]) -> None:
    """The execution continues as if the event was sent."""

    def fail(*_: object) -> None:
        raise aws_error("EventBridge.EventBridgeException", "throttled")

    event = put_event(
        bus_name="demand",
        source="mlops.demand",
        detail_type="MLOps Rollout Finished",
        detail={"id": "{% $states.context.Execution.Id %}", "outcome": "PROMOTED"},
        next_state="Done",
    )
    machine = _machine(Begin=assign("Tell", status="PROMOTED"), Tell=event, Done=DONE)

    run = run_machine(machine, {}, fail)

    assert (run.status, run.output) == ("SUCCEEDED", {"status": "PROMOTED"})
    assert set(run.names()) == {"events:putEvents"}
    assert check_machine(machine) == []


def test_every_way_out_of_a_state_is_a_successor() -> None:
    """Covers success, each arm, the default and the caught error."""
    assert sorted(successors(_describe("Next", "Handler"))) == ["Handler", "Next"]
    assert list(successors(choose(("a", "A"), ("b", "B"), default="C"))) == ["C", "A", "B"]
    assert list(successors({"Type": "Succeed"})) == []


def test_tasks_of_a_machine_are_in_its_partition() -> None:
    """Also inside maps; arguments stay as they are."""
    inner = task("aws-sdk:s3:copyObject", {"Key": "arn:aws:"}, next_state="End", catch="End")
    states = {"Start": put_event(bus_name="b", source="s", detail_type="d", detail={}, next_state="Each")} | {
        "Each": each("{% [1] %}", {"Copy": inner}, next_state="End", catch="End")
    }

    definition = machine(comment="Copies", seconds=60, states=states, partition="aws-cn")

    found = dict(tasks(definition))
    assert (definition["StartAt"], definition["TimeoutSeconds"]) == ("Start", 60)
    assert found["Start"]["Resource"] == "arn:aws-cn:states:::events:putEvents"
    assert found["Copy"]["Resource"] == "arn:aws-cn:states:::aws-sdk:s3:copyObject"
    assert found["Copy"]["Arguments"] == {"Key": "arn:aws:"}


def test_an_error_of_an_iteration_ends_the_map(run_machine: Callable[..., Any], aws_error: type[Exception]) -> None:
    """An iteration sets a variable of its own, and the map the outer one, unless errors are ignored."""

    def refuse(*_: object) -> None:
        raise aws_error("S3.S3Exception", "denied")

    copy = on_error(_describe("Copied", "CopyFailed"), failure="{% $states.errorOutput.Cause %}")
    inner = {"Copy": copy, "Copied": {"Type": "Succeed"}, "CopyFailed": fail("CopyFailed", "{% $failure %}")}
    outer = each("{% [1, 2] %}", inner, next_state="Done", catch="Caught")

    caught = run_machine(_machine(Each=outer, Done=DONE, Caught=CAUGHT), {}, refuse)
    quiet = {**DONE, "Output": "went on"}
    ignored = run_machine(_machine(Each=on_error(outer), Done=DONE, Caught=quiet), {}, refuse)

    assert caught.output == {"caught": "CopyFailed: denied"}
    assert ignored.output == "went on"
    assert "Assign" not in on_error(outer)["Catch"][0]


def test_tasks_inside_maps_are_found() -> None:
    """Rules about tasks apply inside maps too."""
    inner = {"StartAt": "In", "States": {"In": _describe(), "Rest": wait(1, "In")}}
    outer = {"StartAt": "Each", "States": {"Each": {"Type": "Map", "ItemProcessor": inner}, "Out": _describe()}}

    assert [name for name, _ in tasks(outer)] == ["In", "Out"]


@pytest.fixture
def stack() -> cdk.Stack:
    """A stack with a unit."""
    stack = cdk.Stack(cdk.App(), "Demand")
    BusinessUnit(stack, "Unit", name="demand")
    return stack


def _define(stack: cdk.Stack, *tasks: dict[str, Any]) -> Any:
    unit = stack.node.find_child("Unit")
    assert isinstance(unit, BusinessUnit)
    names = [f"Task{number}" for number, _ in enumerate(tasks)]
    states: dict[str, Any] = {
        name: {"Type": "Task", "Next": following, **state}
        for name, following, state in zip(names, [*names[1:], "End"], tasks, strict=True)
    }
    return define_machine(
        stack,
        "Deploy",
        business_unit=unit,
        definition={"QueryLanguage": "JSONata", "StartAt": names[0], "States": {**states, "End": {"Type": "Succeed"}}},
        statements=[
            iam.PolicyStatement(actions=["sagemaker:DescribeEndpoint"], resources=["arn:aws:sagemaker:*:*:endpoint/d"])
        ],
        description="Deploys models",
        wildcard_reason="none more",
    )


def test_a_machine_is_logged_traced_and_encrypted(stack: cdk.Stack) -> None:
    """Events are logged without payloads; key and role are the unit's."""
    machine = _define(stack, {"Resource": DESCRIBE, "Arguments": {"EndpointName": "d"}})

    template = Template.from_stack(stack)
    (properties,) = (r["Properties"] for r in template.find_resources("AWS::StepFunctions::StateMachine").values())
    logs = properties["LoggingConfiguration"]
    assert (logs["Level"], logs["IncludeExecutionData"], len(logs["Destinations"])) == ("ALL", False, 1)
    assert properties["TracingConfiguration"] == {"Enabled": True}
    assert properties["EncryptionConfiguration"]["Type"] == "CUSTOMER_MANAGED_KMS_KEY"
    assert properties["EncryptionConfiguration"]["KmsKeyId"] == stack.resolve(
        stack.node.find_child("Unit").key.key_arn  # type: ignore[attr-defined]  # a unit, see the fixture
    )
    assert properties["RoleArn"] == stack.resolve(machine.role.role_arn)
    assert stack.node.try_find_child("DeployRole") is not None
    assert stack.node.try_find_child("DeployLogs") is not None
    groups = template.find_resources("AWS::Logs::LogGroup")
    (name,) = (g["Properties"]["LogGroupName"] for key, g in groups.items() if key.startswith("DeployLogs"))
    assert name["Fn::Join"][1][0] == "/aws/vendedlogs/states/Demand-DeployLogs-"


def test_the_role_may_do_what_was_given_and_what_logs_need(stack: cdk.Stack) -> None:
    """No inline policy of CDK is added."""
    _define(stack, {"Resource": DESCRIBE, "Arguments": {"EndpointName": "d"}})

    template = Template.from_stack(stack)
    template.resource_count_is("AWS::IAM::Policy", 0)
    policies = template.find_resources("AWS::IAM::ManagedPolicy")
    (document,) = (p["Properties"]["PolicyDocument"] for name, p in policies.items() if name.startswith("DeployRole"))
    uses = [s for s in document["Statement"] if "UnitKey" in json.dumps(s["Resource"])]
    by_resource = {
        json.dumps(s["Resource"]): set(s["Action"] if isinstance(s["Action"], list) else [s["Action"]])
        for s in document["Statement"]
        if s not in uses
    }
    assert by_resource.pop('"*"') == {
        *(
            "logs:CreateLogDelivery",
            "logs:DeleteLogDelivery",
            "logs:DescribeLogGroups",
            "logs:DescribeResourcePolicies",
        ),
        *("logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery"),
        *("xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"),
    }
    assert by_resource == {'"arn:aws:sagemaker:*:*:endpoint/d"': {"sagemaker:DescribeEndpoint"}}
    # the key covers machines and their logs, and nothing else that it encrypts
    assert [(use["Action"], list(use["Condition"]["StringLike"])) for use in uses] == [
        (["kms:Decrypt", "kms:GenerateDataKey"], ["kms:EncryptionContext:aws:states:stateMachineArn"]),
        ("kms:GenerateDataKey", ["kms:EncryptionContext:SourceArn"]),
    ]


def test_tokens_stay_in_the_definition(stack: cdk.Stack) -> None:
    """Tokens are joined into the definition's string."""
    topic = cdk.CfnResource(stack, "Topic", type="AWS::SNS::Topic")

    _define(stack, {"Resource": DESCRIBE, "Arguments": {"EndpointName": topic.ref}})

    (machine,) = Template.from_stack(stack).find_resources("AWS::StepFunctions::StateMachine").values()
    assert {"Ref": "Topic"} in machine["Properties"]["DefinitionString"]["Fn::Join"][1]


def test_a_value_newer_than_botocore_is_a_warning(stack: cdk.Stack) -> None:
    """AWS adds instance types more often than the lock file is updated."""
    production = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m99.large", "InitialInstanceCount": 1}
    arguments = {"EndpointConfigName": "c", "ProductionVariants": [production]}

    _define(stack, {"Resource": "arn:aws:states:::aws-sdk:sagemaker:createEndpointConfig", "Arguments": arguments})

    text = Match.string_like_regexp(
        r"state 'Task0'.*ml\.m99\.large.*\[ack: mlops-constructs:StateMachine\.unknownValue\]"
    )
    Annotations.from_stack(stack).has_warning("/Demand", text)


def test_fails_with_every_task_that_aws_would_refuse(stack: cdk.Stack) -> None:
    """Reports each misspelled or missing field with its state; nothing is defined."""
    with pytest.raises(ValidationError) as error:
        _define(
            stack,
            {"Resource": DESCRIBE, "Arguments": {"EndpointNam": "d"}},
            {"Resource": START, "Arguments": {"PipelineName": 7, "ClientRequestToken": "x" * 32}},
        )

    for part in (
        "InvalidStateMachine",
        "state 'Task0': $.EndpointNam is not a field of DescribeEndpointInput; did you mean 'EndpointName'",
        "state 'Task0': $.EndpointName is missing",
        "state 'Task1': $.PipelineName must be",
    ):
        assert part in str(error.value)
    assert stack.node.try_find_child("DeployRole") is None
    assert stack.node.try_find_child("Deploy") is None


def test_refuses_a_null_which_would_be_lost_on_the_way(stack: cdk.Stack) -> None:
    """CDK omits nulls from the template: the variable would not exist, and every expression with it would fail."""
    task = {
        "Resource": DESCRIBE,
        "Arguments": {"EndpointName": "e"},
        "Assign": {"plan": None, "known": ["a", None]},
    }
    with pytest.raises(ValidationError) as error:
        _define(stack, task)

    for path in ("plan", "known[1]"):
        assert f"definition.States.Task0.Assign.{path} is null, which CDK drops; write '{{% null %}}'" in str(
            error.value
        )
