"""How an endpoint scales: states of the Deploy machine that register and deregister it, and what they need to be allowed.

The machine does it, not the stack: Application Auto Scaling takes a variant only once its endpoint is in service, and SageMaker
refuses to change the instance type of a variant that is registered.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
"""

from collections.abc import Mapping

from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._roles import alarm_arn, sagemaker_arn
from mlops_constructs._stack_values import stack_values
from mlops_constructs._state_machine import CAUGHT, State, assign, choose, task
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.rollout.fleet_capacity import DIMENSION, NAMESPACE, render_scaling

_SDK = "aws-sdk:applicationautoscaling:"
_PRINCIPAL = "sagemaker.application-autoscaling.amazonaws.com"
_SERVICE_LINKED_ROLE = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
# The API returns PolicyARN; Step Functions names members as the Java SDK does, which does not keep every acronym in capitals.
# https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
_POLICY_ARN = "{% $lookup($states.result, $keys($states.result)[$lowercase($) = 'policyarn']) %}"
# a variable of its own: inside a Map it must not bear the name of one outside
_FAILURE = {"failure": CAUGHT}


def register_scaling_states(
    *, next_state: str, partition: str, failed_state: str | None = None
) -> tuple[str, dict[str, State]]:
    """Return the first state's name and the states that make a serving endpoint scale as ``$plan.scaling`` says.

    A target that exists keeps its bounds, which a schedule may have moved; policies and schedules are put again under their names.
    The endpoint is already live, so a failure does not fail the rollout: it is stored as a sentence in
    ``$scaling_failure``, which is empty otherwise.

    Args:
        next_state: Where to go on.
        partition: AWS partition, may be a token.
        failed_state: Where to go on if it could not be registered. Default: ``next_state``.
    """
    problem = "{% 'the endpoint serves, but does not scale as it should: ' & $caught %}"
    return "StartScaling", {
        "StartScaling": assign("HasScaling", scaling_failure=""),
        "HasScaling": choose(("$count($plan.scaling.targets) > 0", "RegisterTargets"), default=next_state),
        "RegisterTargets": _each(
            "targets", {**_find_target(partition), **_register(partition)}, "FindTarget", "PutPolicies"
        ),
        "PutPolicies": _each("policies", _put_policy(partition), "PutPolicy", "PutWakes"),
        "PutWakes": _each("wake", _put_wake(partition), "PutWakePolicy", "PutSchedules"),
        "PutSchedules": _each("schedules", _put_schedule(partition), "PutSchedule", next_state),
        "ScalingFailed": assign(next_state if failed_state is None else failed_state, scaling_failure=problem),
    }


def deregister_scaling_states(
    *, next_state: str, partition: str, failed_state: str = "Caught"
) -> tuple[str, dict[str, State]]:
    """Return the first state's name and the states that remove all scaling that ``$plan.scaling.deregister`` names.

    That deletes the targets' policies and schedules too. A target that does not exist counts as removed.

    See: https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DeregisterScalableTarget.html

    Args:
        next_state: Where to go on.
        partition: AWS partition, may be a token.
        failed_state: Where to go, with the error in ``$caught``, if something stays registered. Default: ``Caught``.
    """
    inner = {
        "DeregisterTarget": _inner(f"{_SDK}deregisterScalableTarget", "{% $states.input %}", partition, "TargetIsGone"),
        "TargetIsGone": choose(("$contains($failure, 'ObjectNotFound')", "TargetGone"), default="DeregisterFailed"),
        "TargetGone": {"Type": "Succeed"},
        "DeregisterFailed": {"Type": "Fail", "Error": "DeregisterFailed", "Cause": "{% $failure %}"},
    }
    alarms = task(
        "aws-sdk:cloudwatch:deleteAlarms",
        {"AlarmNames": "{% [$plan.scaling.alarm_names] %}"},
        partition=partition,
        next_state=next_state,
        # an alarm that stays calls a policy that is gone: harmless
        catch=next_state,
    )
    return "IsScaling", {
        "IsScaling": choose(("$count($plan.scaling.deregister) > 0", "DeregisterTargets"), default=next_state),
        "DeregisterTargets": _each("deregister", inner, "DeregisterTarget", "DeleteWakes", failed=failed_state),
        "DeleteWakes": alarms,
    }


def scaling_statements(scope: Construct, *, spec: ServingSpec) -> list[iam.PolicyStatement]:
    """Return what the Deploy machine needs to register and deregister the variants of one endpoint.

    Scalable targets have ids that are unknown beforehand, so the service and the dimension are conditions. Application Auto
    Scaling reads and scales the endpoint, and keeps the alarms of target tracking, in the name of who registers. An endpoint that
    does not scale may have scaled under an earlier spec: that can be removed.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html and
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsapplicationautoscaling.html

    Args:
        scope: Any construct of the stack.
        spec: How the endpoint is served.
    """
    requests = render_scaling(spec)
    if not requests["deregister"]:
        return []
    tracking = alarm_arn(scope, f"TargetTracking-endpoint/{spec.endpoint}/*")
    waking = alarm_arn(scope, f"{spec.endpoint}-scaling-*")
    remove = iam.PolicyStatement(actions=["cloudwatch:DeleteAlarms"], resources=[tracking, waking])
    actions = ["application-autoscaling:DeregisterScalableTarget"]
    if not requests["targets"]:
        return [_targets_statement(scope, actions), remove]
    actions += [f"application-autoscaling:{name}" for name in ("PutScalingPolicy", "RegisterScalableTarget")]
    if requests["schedules"]:
        actions.append("application-autoscaling:PutScheduledAction")
    watched = [tracking, waking] if requests["wake"] else [tracking]
    return [
        _targets_statement(scope, actions),
        remove,
        iam.PolicyStatement(actions=["cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm"], resources=watched),
        *([iam.PolicyStatement(actions=["cloudwatch:TagResource"], resources=[waking])] if requests["wake"] else []),
        iam.PolicyStatement(actions=["application-autoscaling:DescribeScalableTargets"], resources=["*"]),
        # sagemaker:DescribeEndpoint, which Application Auto Scaling needs too, the machine has anyway
        iam.PolicyStatement(
            actions=["sagemaker:UpdateEndpointWeightsAndCapacities"],
            resources=[sagemaker_arn(scope, "endpoint", spec.endpoint)],
        ),
        iam.PolicyStatement(
            actions=["sagemaker:DescribeEndpointConfig"],
            resources=[sagemaker_arn(scope, "endpoint-config", f"{spec.endpoint}-*")],
        ),
        _service_linked_role(scope),
    ]


def _targets_statement(scope: Construct, actions: list[str]) -> iam.PolicyStatement:
    targets = stack_values(scope).format_arn(
        service="application-autoscaling", resource="scalable-target", resource_name="*"
    )
    conditions = {
        "application-autoscaling:service-namespace": NAMESPACE,
        "application-autoscaling:scalable-dimension": DIMENSION,
    }
    return iam.PolicyStatement(actions=sorted(actions), resources=[targets], conditions={"StringEquals": conditions})


def _service_linked_role(scope: Construct) -> iam.PolicyStatement:
    """Return the right to have the one service-linked role made, if the account has none yet.

    See: https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-service-linked-roles.html
    """
    role = stack_values(scope).format_arn(
        service="iam", region="", resource="role", resource_name=f"aws-service-role/{_PRINCIPAL}/{_SERVICE_LINKED_ROLE}"
    )
    return iam.PolicyStatement(
        actions=["iam:CreateServiceLinkedRole"],
        resources=[role],
        conditions={"StringEquals": {"iam:AWSServiceName": _PRINCIPAL}},
    )


def _find_target(partition: str) -> dict[str, State]:
    return {
        "FindTarget": _inner(
            f"{_SDK}describeScalableTargets",
            {
                "ServiceNamespace": "{% $states.input.ServiceNamespace %}",
                "ResourceIds": ["{% $states.input.ResourceId %}"],
                "ScalableDimension": "{% $states.input.ScalableDimension %}",
            },
            partition,
            "TargetFailed",
            next_state="IsRegistered",
            assign={"target": "{% $states.input %}", "found": "{% $count($states.result.ScalableTargets) %}"},
        ),
        "IsRegistered": choose(("$found > 0", "TargetStays"), default="RegisterTarget"),
        "TargetStays": {"Type": "Succeed"},
    }


def _register(partition: str) -> dict[str, State]:
    return {
        "RegisterTarget": _inner(f"{_SDK}registerScalableTarget", "{% $target %}", partition, "TargetFailed"),
        "TargetFailed": {"Type": "Fail", "Error": "RegisterTargetFailed", "Cause": "{% $failure %}"},
    }


def _put_policy(partition: str) -> dict[str, State]:
    return {
        "PutPolicy": _inner(f"{_SDK}putScalingPolicy", "{% $states.input %}", partition, "PolicyFailed"),
        "PolicyFailed": {"Type": "Fail", "Error": "PutPolicyFailed", "Cause": "{% $failure %}"},
    }


def _put_wake(partition: str) -> dict[str, State]:
    # the alarm calls the policy, whose ARN is known only now
    return {
        "PutWakePolicy": _inner(
            f"{_SDK}putScalingPolicy",
            "{% $states.input.policy %}",
            partition,
            "WakeFailed",
            next_state="PutWakeAlarm",
            assign={"alarm": "{% $states.input.alarm %}", "policy": _POLICY_ARN},
        ),
        "PutWakeAlarm": _inner(
            "aws-sdk:cloudwatch:putMetricAlarm",
            "{% $merge([$alarm, {'AlarmActions': [$policy]}]) %}",
            partition,
            "WakeFailed",
        ),
        "WakeFailed": {"Type": "Fail", "Error": "PutWakeFailed", "Cause": "{% $failure %}"},
    }


def _put_schedule(partition: str) -> dict[str, State]:
    return {
        "PutSchedule": _inner(f"{_SDK}putScheduledAction", "{% $states.input %}", partition, "ScheduleFailed"),
        "ScheduleFailed": {"Type": "Fail", "Error": "PutScheduleFailed", "Cause": "{% $failure %}"},
    }


def _inner(
    integration: str,
    arguments: object,
    partition: str,
    catch: str,
    *,
    next_state: str = "",
    assign: Mapping[str, object] | None = None,
) -> State:
    """Return a task inside a Map, which ends the round unless it goes on; an error is in ``$failure``."""
    state = task(integration, arguments, partition=partition, next_state=next_state, catch=catch, assign=assign)
    state["Catch"][0]["Assign"] = _FAILURE
    if not next_state:
        del state["Next"]
        state["End"] = True
    return state


def _each(
    requests: str, states: dict[str, State], start: str, next_state: str, *, failed: str = "ScalingFailed"
) -> State:
    """Return a Map over requests of ``$plan.scaling``, one after the other."""
    return {
        "Type": "Map",
        "Items": f"{{% [$plan.scaling.{requests}] %}}",
        "MaxConcurrency": 1,
        "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": start, "States": states},
        "Catch": [{"ErrorEquals": ["States.ALL"], "Assign": {"caught": CAUGHT}, "Output": {}, "Next": failed}],
        "Output": {},
        "Next": next_state,
    }
