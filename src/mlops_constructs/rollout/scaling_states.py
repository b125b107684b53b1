"""Scaling of an endpoint: states of the Deploy machine that register and deregister variants, and their permissions.

The machine registers them, not the stack: Application Auto Scaling accepts a variant only once its endpoint is in service, and
SageMaker refuses to change the instance type of a registered variant.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
"""

from collections.abc import Mapping

from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._roles import alarm_arn, allow, sagemaker_arn
from mlops_constructs._stack_values import stack_values
from mlops_constructs._state_machine import CAUGHT, State, assign, choose, each, fail, on_error, task
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.rollout.fleet_capacity import DIMENSION, NAMESPACE, render_scaling

_SDK = "aws-sdk:applicationautoscaling:"
_PRINCIPAL = "sagemaker.application-autoscaling.amazonaws.com"
_SERVICE_LINKED_ROLE = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
# the API returns PolicyARN; Step Functions spells members like the Java SDK, which does not capitalize every acronym
# https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
_POLICY_ARN = "{% $lookup($states.result, $keys($states.result)[$lowercase($) = 'policyarn']) %}"


def register_scaling_states(*, next_state: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states that register the scaling in ``$plan.scaling``.

    Existing targets keep their bounds, which a schedule may have changed; policies and schedules are overwritten. The endpoint is
    already live, so a failure does not fail the rollout: ``$scaling_failure`` is set to a sentence, otherwise to ''.
    """
    problem = "{% 'the endpoint is in service, but its scaling could not be registered: ' & $caught %}"
    return "StartScaling", {
        "StartScaling": assign("HasScaling", scaling_failure=""),
        "HasScaling": choose(("$count($plan.scaling.targets) > 0", "RegisterTargets"), default=next_state),
        "RegisterTargets": _each("targets", {**_find_target(), **_register()}, "PutPolicies"),
        "PutPolicies": _each("policies", _put_policy(), "PutWakes"),
        "PutWakes": _each("wake", _put_wake(), "PutSchedules"),
        "PutSchedules": _each("schedules", _put_schedule(), next_state),
        "ScalingFailed": assign(next_state, scaling_failure=problem),
    }


def deregister_scaling_states(*, next_state: str) -> tuple[str, dict[str, State]]:
    """Return the name of the first state and the states that deregister the targets in ``$plan.scaling.deregister``.

    Deregistering deletes the targets' policies and schedules too. Missing targets are ignored. If a target stays registered, the
    state ``Caught`` follows with the error in ``$caught``.

    See: https://docs.aws.amazon.com/autoscaling/application/APIReference/API_DeregisterScalableTarget.html
    """
    inner = {
        "DeregisterTarget": _inner(f"{_SDK}deregisterScalableTarget", "{% $states.input %}", "TargetIsGone"),
        "TargetIsGone": choose(("$contains($failure, 'ObjectNotFound')", "TargetGone"), default="DeregisterFailed"),
        "TargetGone": {"Type": "Succeed"},
        "DeregisterFailed": fail("DeregisterFailed", "{% $failure %}"),
    }
    alarms = task(
        "aws-sdk:cloudwatch:deleteAlarms",
        {"AlarmNames": "{% [$plan.scaling.alarm_names] %}"},
        next_state=next_state,
        # a leftover alarm is harmless, as its policy is deleted
        catch=next_state,
    )
    return "IsScaling", {
        "IsScaling": choose(("$count($plan.scaling.deregister) > 0", "DeregisterTargets"), default=next_state),
        "DeregisterTargets": _each("deregister", inner, "DeleteWakes", failed="Caught"),
        "DeleteWakes": alarms,
    }


def scaling_statements(scope: Construct, *, spec: ServingSpec) -> list[iam.PolicyStatement]:
    """Return the Deploy machine's permissions to register and deregister the variants of one endpoint.

    Ids of scalable targets are unknown beforehand, so service and dimension are conditions. Application Auto Scaling reads and
    scales the endpoint, and manages the alarms of target tracking, with the permissions of the caller. An endpoint without scaling
    may have scaled under an earlier spec, so it can be deregistered.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html and
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsapplicationautoscaling.html

    Args:
        scope: Any construct of the stack.
        spec: Serving spec of the endpoint.
    """
    requests = render_scaling(spec)
    if not requests["deregister"]:
        return []
    tracking = alarm_arn(scope, f"TargetTracking-endpoint/{spec.endpoint}/*")
    waking = alarm_arn(scope, f"{spec.endpoint}-scaling-*")
    remove = allow("cloudwatch:DeleteAlarms", tracking, waking)
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
        allow(["cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm"], *watched),
        *([allow("cloudwatch:TagResource", waking)] if requests["wake"] else []),
        allow("application-autoscaling:DescribeScalableTargets", "*"),
        # Application Auto Scaling also needs sagemaker:DescribeEndpoint, which the machine has anyway
        allow("sagemaker:UpdateEndpointWeightsAndCapacities", sagemaker_arn(scope, "endpoint", spec.endpoint)),
        allow("sagemaker:DescribeEndpointConfig", sagemaker_arn(scope, "endpoint-config", f"{spec.endpoint}-*")),
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
    return allow(sorted(actions), targets, conditions={"StringEquals": conditions})


def _service_linked_role(scope: Construct) -> iam.PolicyStatement:
    """Return the permission to create the service-linked role, if the account does not have it yet.

    See: https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-service-linked-roles.html
    """
    role = stack_values(scope).format_arn(
        service="iam", region="", resource="role", resource_name=f"aws-service-role/{_PRINCIPAL}/{_SERVICE_LINKED_ROLE}"
    )
    return allow("iam:CreateServiceLinkedRole", role, conditions={"StringEquals": {"iam:AWSServiceName": _PRINCIPAL}})


def _find_target() -> dict[str, State]:
    return {
        "FindTarget": _inner(
            f"{_SDK}describeScalableTargets",
            {
                "ServiceNamespace": "{% $states.input.ServiceNamespace %}",
                "ResourceIds": ["{% $states.input.ResourceId %}"],
                "ScalableDimension": "{% $states.input.ScalableDimension %}",
            },
            "TargetFailed",
            next_state="IsRegistered",
            assign={"target": "{% $states.input %}", "found": "{% $count($states.result.ScalableTargets) %}"},
        ),
        "IsRegistered": choose(("$found > 0", "TargetStays"), default="RegisterTarget"),
        "TargetStays": {"Type": "Succeed"},
    }


def _register() -> dict[str, State]:
    return {
        "RegisterTarget": _inner(f"{_SDK}registerScalableTarget", "{% $target %}", "TargetFailed"),
        "TargetFailed": fail("RegisterTargetFailed", "{% $failure %}"),
    }


def _put_policy() -> dict[str, State]:
    return {
        "PutPolicy": _inner(f"{_SDK}putScalingPolicy", "{% $states.input %}", "PolicyFailed"),
        "PolicyFailed": fail("PutPolicyFailed", "{% $failure %}"),
    }


def _put_wake() -> dict[str, State]:
    # the alarm's action is the policy, whose ARN is known only at run time
    return {
        "PutWakePolicy": _inner(
            f"{_SDK}putScalingPolicy",
            "{% $states.input.policy %}",
            "WakeFailed",
            next_state="PutWakeAlarm",
            assign={"alarm": "{% $states.input.alarm %}", "policy": _POLICY_ARN},
        ),
        "PutWakeAlarm": _inner(
            "aws-sdk:cloudwatch:putMetricAlarm",
            "{% $merge([$alarm, {'AlarmActions': [$policy]}]) %}",
            "WakeFailed",
        ),
        "WakeFailed": fail("PutWakeFailed", "{% $failure %}"),
    }


def _put_schedule() -> dict[str, State]:
    return {
        "PutSchedule": _inner(f"{_SDK}putScheduledAction", "{% $states.input %}", "ScheduleFailed"),
        "ScheduleFailed": fail("PutScheduleFailed", "{% $failure %}"),
    }


def _inner(
    integration: str,
    arguments: object,
    catch: str,
    *,
    next_state: str = "",
    assign: Mapping[str, object] | None = None,
) -> State:
    """Return a task inside a Map, which ends the iteration without ``next_state``; errors are in ``$failure``."""
    state = task(integration, arguments, next_state=next_state, catch=catch, assign=assign)
    if not next_state:
        del state["Next"]
        state["End"] = True
    return on_error(state, failure=CAUGHT)


def _each(requests: str, states: dict[str, State], next_state: str, *, failed: str = "ScalingFailed") -> State:
    """Return a Map that processes requests of ``$plan.scaling`` sequentially."""
    return each(f"{{% [$plan.scaling.{requests}] %}}", states, next_state=next_state, catch=failed)
