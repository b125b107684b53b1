"""State of Application Auto Scaling: targets and policies per account and Region, and the alarms of target tracking."""

import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import get_account_id, get_region

from mlops_local import clients
from mlops_local.sagemaker.api_shapes import Record, validation
from mlops_local.saved_state import kept_stores

NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"

INVOCATIONS = "SageMakerVariantInvocationsPerInstance"
_BELOW = 0.9  # fraction of the target below which it scales in
_OUT, _IN = 3, 15  # minutes


# claim: targets-of-endpoints-are-checked
@kept_stores.record
@dataclass(slots=True, kw_only=True)
class Target:
    """A registered variant."""

    record: Record  # the target as DescribeScalableTargets returns it
    # its policies by name, as DescribeScalingPolicies returns them
    policies: dict[str, Record] = field(default_factory=dict)
    # its scheduled actions by name, as DescribeScheduledActions returns them
    actions: dict[str, Record] = field(default_factory=dict)
    activities: list[Record] = field(default_factory=list)  # its activities, including failed ones, oldest first
    scaled_out: float = float("-inf")  # time of the last scale-out, epoch seconds
    scaled: float = float("-inf")  # time of the last change of capacity, epoch seconds
    is_out_of_bounds: bool = False  # whether a scheduled action has set bounds that the capacity may not satisfy yet

    @property
    def endpoint(self) -> str:
        """The endpoint's name."""
        return split(self.record["ResourceId"])[0]

    @property
    def variant(self) -> str:
        """The variant's name."""
        return split(self.record["ResourceId"])[1]


@kept_stores.record
@dataclass(slots=True)
class Store:
    """Targets of an account and Region by resource id, and whether the service-linked role exists."""

    targets: dict[str, Target] = field(default_factory=dict)
    has_role: bool = False


LOCK = threading.RLock()
_STORES: dict[tuple[str, str], Store] = kept_stores.keep(__name__, "_STORES", {})


def store() -> Store:
    """Return the store of the calling account and Region."""
    with LOCK:
        return _STORES.setdefault((get_account_id(), get_region()), Store())


def everywhere() -> list[tuple[str, str, Target]]:
    """Return all targets with their account and Region."""
    with LOCK:
        return [(*scope, target) for scope, kept in _STORES.items() for target in kept.targets.values()]


def is_registered(endpoint: str, variant: str) -> bool:
    """Return whether a variant of the calling account and Region is a scalable target."""
    return f"endpoint/{endpoint}/variant/{variant}" in store().targets


def split(resource: str) -> tuple[str, str]:
    """Return the endpoint and variant of a resource id.

    Example:
        >>> split("endpoint/demand-forecast/variant/AllTraffic")
        ('demand-forecast', 'AllTraffic')
    """
    _, endpoint, _, variant = resource.split("/")
    return endpoint, variant


def arn(resource: str, name: str) -> str:
    """Return a policy's ARN, which stays the same for a policy of the same name."""
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{get_account_id()}/{get_region()}/{resource}/{name}")
    prefix = f"arn:aws:autoscaling:{get_region()}:{get_account_id()}:scalingPolicy:{identity}"
    return f"{prefix}:resource/sagemaker/{resource}:policyName/{name}"


def check(request: Record) -> None:
    """Reject an inconsistent or unsupported policy.

    Raises:
        ServiceError: ``ValidationException`` listing every problem.
    """
    # claim: policies-and-actions-are-checked
    problems = list(_problems(request))
    if problems:
        raise validation("; ".join(problems))


def alarms(resource: str, policy: Record) -> list[Record]:
    """Return a policy's alarms as arguments of PutMetricAlarm; a step policy has none of its own."""
    tracking = policy.get("TargetTrackingScalingPolicyConfiguration")
    if tracking is None:
        return []
    identity = policy["PolicyARN"].split(":")[6]
    sides = [("High", "GreaterThanThreshold", tracking["TargetValue"], _OUT)]
    if not tracking.get("DisableScaleIn", False):
        sides.append(("Low", "LessThanThreshold", tracking["TargetValue"] * _BELOW, _IN))
    return [
        {
            "AlarmName": f"TargetTracking-{resource}-Alarm{side}-{uuid.uuid5(uuid.UUID(identity), side)}",
            "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}.",
            "AlarmActions": [policy["PolicyARN"]],
            "Period": 60,
            "EvaluationPeriods": minutes,
            "Threshold": float(threshold),
            "ComparisonOperator": comparison,
            **_metric(resource, tracking),
        }
        for side, comparison, threshold, minutes in sides
    ]


def put_alarms(resource: str, policy: Record) -> list[Record]:
    """Create a policy's alarms, and return them in the form of DescribeScalingPolicies."""
    client, made = clients.client("cloudwatch"), []
    for alarm in alarms(resource, policy):
        client.put_metric_alarm(**alarm)
        identity = f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{alarm['AlarmName']}"
        made.append({"AlarmName": alarm["AlarmName"], "AlarmARN": identity})
    return made


def delete_alarms(policy: Mapping[str, Any]) -> None:
    """Delete a policy's own alarms."""
    names = [alarm["AlarmName"] for alarm in policy.get("Alarms", [])]
    if names:
        clients.client("cloudwatch").delete_alarms(AlarmNames=names)


def _metric(resource: str, tracking: Record) -> Record:
    if "CustomizedMetricSpecification" in tracking:
        given = tracking["CustomizedMetricSpecification"]
        named = {name: given[name] for name in ("Namespace", "MetricName", "Statistic")}
        return named | {"Dimensions": given.get("Dimensions", [])}
    _, endpoint, _, variant = resource.split("/")
    dimensions = {"EndpointName": endpoint, "VariantName": variant}
    return {
        "Namespace": "AWS/SageMaker",
        "MetricName": "InvocationsPerInstance",
        "Statistic": "Sum",
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
    }


def _problems(request: Record) -> Iterator[str]:
    kind = request.get("PolicyType", "StepScaling")
    members = {
        "StepScaling": "StepScalingPolicyConfiguration",
        "TargetTrackingScaling": "TargetTrackingScalingPolicyConfiguration",
    }
    if kind not in members:
        yield f"PolicyType {kind} is not in the embedded cloud; it has {', '.join(members)}"
        return
    for policy, member in members.items():
        if (member in request) != (policy == kind):
            yield f"a policy of type {kind} must have {members[kind]} and no other configuration"
            return
    yield from _tracking(request[members[kind]]) if kind == "TargetTrackingScaling" else _steps(request[members[kind]])


def _tracking(tracking: Record) -> Iterator[str]:
    if tracking["TargetValue"] <= 0:
        yield f"TargetValue must be positive, got {tracking['TargetValue']}"
    predefined = tracking.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
    customized = tracking.get("CustomizedMetricSpecification")
    if (predefined is None) == (customized is None):
        yield "give either PredefinedMetricSpecification or CustomizedMetricSpecification"
    elif predefined is not None and predefined != INVOCATIONS:
        yield f"PredefinedMetricType must be {INVOCATIONS} in the embedded cloud, got {predefined}"
    elif customized is not None:
        missing = [name for name in ("Namespace", "MetricName", "Statistic") if name not in customized]
        if missing:
            yield f"CustomizedMetricSpecification needs {', '.join(missing)}; metric math is not in the embedded cloud"


def _steps(stepping: Record) -> Iterator[str]:
    for name in ("AdjustmentType", "StepAdjustments"):
        if not stepping.get(name):
            yield f"StepScalingPolicyConfiguration needs {name}"
