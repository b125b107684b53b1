"""States that register and deregister scaling: their calls against AWS's API, and their behavior."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aws_cdk as cdk
import pytest

from mlops_constructs._state_machine import State, tasks
from mlops_constructs.rollout.scaling_states import (
    deregister_scaling_states,
    register_scaling_states,
    scaling_statements,
)
from mlops_runtime.aws_api import check_machine
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import AsynchronousSpec, ScalingSpec, ScheduledCapacitySpec, ServerlessSpec

_TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/demand-forecast/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
SCALING: dict[str, Any] = {
    "deregister": [_TARGET],
    "alarm_names": ["demand-forecast-scaling-AllTraffic-wake"],
    "targets": [{**_TARGET, "MinCapacity": 0, "MaxCapacity": 4}],
    "policies": [{**_TARGET, "PolicyName": "target"}],
    "schedules": [{**_TARGET, "ScheduledActionName": name} for name in ("night", "day")],
    "wake": [{"policy": {**_TARGET, "PolicyName": "wake"}, "alarm": {"AlarmName": "wake", "Threshold": 1.0}}],
}
NOTHING: dict[str, Any] = {key: [] for key in SCALING}


def machine(first: str, states: dict[str, State]) -> dict[str, Any]:
    """A machine of these states only, which outputs its variables."""
    message = "{% {'failure': $scaling_failure & '', 'caught': $caught & ''} %}"
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "Begin",
        "States": {
            "Begin": {
                "Type": "Pass",
                "Assign": {"plan": "{% $states.input %}", "caught": "", "scaling_failure": ""},
                "Output": {},
                "Next": first,
            },
            **states,
            "After": {"Type": "Pass", "Output": message, "End": True},
            "Caught": {"Type": "Fail", "Error": "Caught", "Cause": "{% $caught %}"},
        },
    }


REGISTER = machine(*register_scaling_states(next_state="After"))
DEREGISTER = machine(*deregister_scaling_states(next_state="After"))
MACHINES = {"register": REGISTER, "deregister": DEREGISTER}


@pytest.fixture
def run(run_machine: Any, aws_error: type[Exception]) -> Callable[..., Any]:
    """Run a machine on an account with ``existing`` targets in which ``fails`` calls fail."""

    def start(
        definition: dict[str, Any],
        scaling: dict[str, Any],
        *,
        existing: int = 0,
        fails: dict[str, str] | None = None,
        arn: str = "PolicyARN",
    ) -> Any:
        def aws(name: str, _: dict[str, Any]) -> Any:
            short = name.rpartition(":")[2]
            if short in (fails or {}):
                raise aws_error((fails or {})[short], "no")
            return {
                "describeScalableTargets": {"ScalableTargets": [{}] * existing},
                "putScalingPolicy": {arn: "arn:policy"},
            }.get(short, {})

        return run_machine(definition, {"scaling": scaling}, aws)

    return start


@pytest.mark.parametrize("name", MACHINES)
def test_every_call_is_one_that_aws_takes(name: str):
    """No task has a finding against botocore's models."""
    assert check_machine(MACHINES[name]) == []


@pytest.mark.parametrize("name", MACHINES)
def test_every_task_has_retry_catch_and_timeout(name: str):
    """A task without one of them could hang, or end the execution without a record."""
    found = list(tasks(MACHINES[name]))
    assert found
    for task_name, state in found:
        assert state["Retry"], task_name
        assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
        assert 0 < state["TimeoutSeconds"] <= 330


def test_variables_inside_a_map_have_names_of_their_own():
    """States in a Map set no variable that the machine uses outside."""
    for definition in MACHINES.values():
        for state in definition["States"].values():
            for inner in state.get("ItemProcessor", {}).get("States", {}).values():
                named = {
                    *inner.get("Assign", {}),
                    *(key for c in inner.get("Catch", []) for key in c.get("Assign", {})),
                }
                assert not named & {"caught", "reason", "plan", "outcome", "endpoint", "deadline"}


def test_registers_target_policies_alarm_and_schedules_in_this_order(run: Callable[..., Any]):
    """The target comes first, as policies need it; the alarm gets the policy's ARN."""
    done = run(REGISTER, SCALING)
    assert [name.rpartition(":")[2] for name in done.names()] == [
        "describeScalableTargets",
        "registerScalableTarget",
        "putScalingPolicy",
        "putScalingPolicy",
        "putMetricAlarm",
        "putScheduledAction",
        "putScheduledAction",
    ]
    assert done.arguments("applicationautoscaling:registerScalableTarget") == SCALING["targets"][0]
    assert done.arguments("cloudwatch:putMetricAlarm") == SCALING["wake"][0]["alarm"] | {"AlarmActions": ["arn:policy"]}
    assert (done.status, done.output["failure"]) == ("SUCCEEDED", "")


@pytest.mark.parametrize("arn", ["PolicyARN", "PolicyArn", "Policyarn"])
def test_the_policys_arn_is_found_in_any_spelling(run: Callable[..., Any], arn: str):
    """The API documents PolicyARN; the Java SDK may return another spelling."""
    done = run(REGISTER, SCALING, arn=arn)
    assert done.arguments("cloudwatch:putMetricAlarm")["AlarmActions"] == ["arn:policy"]


def test_a_target_that_exists_keeps_its_bounds(run: Callable[..., Any]):
    """A new model must not scale up a fleet that a schedule has scaled down at night."""
    done = run(REGISTER, SCALING, existing=1)
    assert "applicationautoscaling:registerScalableTarget" not in done.names()
    assert "applicationautoscaling:putScheduledAction" in done.names()


@pytest.mark.parametrize("definition", [REGISTER, DEREGISTER])
@pytest.mark.parametrize("scaling", [NOTHING, {}])
def test_an_endpoint_that_does_not_scale_asks_nobody(run: Callable[..., Any], definition: Any, scaling: Any):
    """Empty lists, and plans without scaling, make no calls."""
    done = run(definition, scaling)
    assert (done.status, done.names()) == ("SUCCEEDED", [])


@pytest.mark.parametrize(
    "call",
    ["describeScalableTargets", "registerScalableTarget", "putScalingPolicy", "putMetricAlarm", "putScheduledAction"],
)
def test_a_failure_leaves_a_sentence_and_the_rollout_goes_on(run: Callable[..., Any], call: str):
    """The endpoint serves: the failed registration is reported."""
    done = run(REGISTER, SCALING, fails={call: "ApplicationAutoScaling.AccessDeniedException"})
    assert done.status == "SUCCEEDED"
    assert "its scaling could not be registered" in done.output["failure"]
    assert "AccessDenied" in done.output["failure"]


def test_deregisters_targets_and_deletes_their_alarms(run: Callable[..., Any]):
    """Deregistering a target deletes its policies and schedules; the alarm is our own."""
    done = run(DEREGISTER, SCALING)
    assert done.arguments("applicationautoscaling:deregisterScalableTarget") == _TARGET
    assert done.arguments("cloudwatch:deleteAlarms") == {"AlarmNames": SCALING["alarm_names"]}


def test_what_is_not_registered_is_taken_back_already(run: Callable[..., Any]):
    """A first rollout after a spec without scaling continues."""
    gone = {"deregisterScalableTarget": "ApplicationAutoScaling.ObjectNotFoundException"}
    assert run(DEREGISTER, SCALING, fails=gone).status == "SUCCEEDED"


def test_fails_when_a_target_stays_registered(run: Callable[..., Any]):
    """SageMaker would reject the update, so it is not sent."""
    done = run(
        DEREGISTER, SCALING, fails={"deregisterScalableTarget": "ApplicationAutoScaling.InternalServiceException"}
    )
    assert done.status == "FAILED"
    assert "cloudwatch:deleteAlarms" not in done.names()


def _statements(**changes: Any) -> list[dict[str, Any]]:
    spec = ServingSpec(
        endpoint="demand-forecast",
        variant="AllTraffic",
        instance_type="ml.m5.large",
        instance_count=1,
        execution_role="role",
        subnets=(),
        security_groups=(),
        rollout=RolloutSpec(kind="ALL_AT_ONCE", bake=0, maximum=3600),
    )
    stack = cdk.Stack(cdk.App(), "S")
    return [stack.resolve(s.to_statement_json()) for s in scaling_statements(stack, spec=replace(spec, **changes))]


def test_statements_are_of_one_dimension_one_endpoint_and_one_service_linked_role():
    """Every statement is restricted by resource or condition key."""
    statements = _statements(scaling=ScalingSpec(minimum=1, maximum=4, target=9.0))
    assert statements[0]["Condition"]["StringEquals"] == {
        "application-autoscaling:service-namespace": "sagemaker",
        "application-autoscaling:scalable-dimension": "sagemaker:variant:DesiredInstanceCount",
    }
    assert "application-autoscaling:PutScheduledAction" not in statements[0]["Action"]
    assert [s["Action"] for s in statements if s["Resource"] == "*"] == [
        "application-autoscaling:DescribeScalableTargets"
    ]
    role = next(s for s in statements if s["Action"] == "iam:CreateServiceLinkedRole")
    assert role["Condition"] == {
        "StringEquals": {"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"}
    }
    assert "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint" in str(role["Resource"])


def test_an_endpoint_that_does_not_scale_may_only_take_scaling_back():
    """Scaling of an earlier spec can be deregistered; serverless endpoints have none."""
    actions = [s["Action"] for s in _statements()]
    assert actions == ["application-autoscaling:DeregisterScalableTarget", "cloudwatch:DeleteAlarms"]
    assert _statements(serverless=ServerlessSpec(memory_mb=1024, max_concurrency=1)) == []


def test_a_fleet_that_may_be_empty_may_put_the_alarm_that_wakes_it():
    """Schedules and the wake-up alarm are allowed only where they exist."""
    night = ScheduledCapacitySpec(name="night", schedule="cron(0 20 * * ? *)", minimum=0, maximum=0)
    scaling = ScalingSpec(minimum=1, maximum=4, target=9.0, metric="BACKLOG_PER_INSTANCE", schedules=(night,))
    queue = AsynchronousSpec(output="s3://b", failures="s3://b")
    statements = _statements(scaling=scaling, asynchronous=queue)
    assert "application-autoscaling:PutScheduledAction" in statements[0]["Action"]
    (tag,) = (s for s in statements if s["Action"] == "cloudwatch:TagResource")
    assert "alarm:demand-forecast-scaling-*" in str(tag["Resource"])
