"""Operations of Application Auto Scaling, and the dispatch of requests to them.

A caller needs more than the operation's permission: the service reads and changes the endpoint and creates alarms on behalf of
the caller. See: https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

from ministack.core.responses import get_account_id, get_region

from mlops_local import clock, schedules
from mlops_local.autoscaling import scaling_engine, scaling_store
from mlops_local.autoscaling.scaling_store import DIMENSION, LOCK, NAMESPACE, Target, split, store
from mlops_local.iam import authorization
from mlops_local.sagemaker import endpoints
from mlops_local.sagemaker import resource_store as sagemaker
from mlops_local.sagemaker.api_shapes import Record, ServiceError, check_request, check_response, page, validation

LOGGER = logging.getLogger(__name__)
Response = tuple[int, dict[str, str], bytes]
SERVICE = "application-autoscaling"
_PRINCIPAL = "sagemaker.application-autoscaling.amazonaws.com"
_ROLE = f"role/aws-service-role/{_PRINCIPAL}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
_SUSPENDED = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
_POOL = ThreadPoolExecutor(max_workers=8, thread_name_prefix="autoscaling")


def register(request: Record) -> Record:
    """RegisterScalableTarget: an instance variant and its bounds; updates the given fields of an existing target."""
    # claim: targets-of-endpoints-are-checked
    _may_scale(request["ResourceId"])
    endpoint, variant = split(request["ResourceId"])
    with LOCK:
        known = store().targets.get(request["ResourceId"])
        record = {} if known is None else known.record
        bounds: Record = {m: request.get(m, record.get(m)) for m in ("MinCapacity", "MaxCapacity")}
        if None in bounds.values():
            raise validation("MinCapacity and MaxCapacity are required to register a new scalable target")
        _check_bounds(bounds)
        _check_variant(endpoint, variant, bounds["MinCapacity"])
        suspended = dict(record.get("SuspendedState", dict.fromkeys(_SUSPENDED, False))) | request.get(
            "SuspendedState", {}
        )
        identity = (
            f"arn:aws:application-autoscaling:{get_region()}:{get_account_id()}:scalable-target/{uuid.uuid4().hex}"
        )
        made = {
            **{name: request[name] for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")},
            **bounds,
            "RoleARN": f"arn:aws:iam::{get_account_id()}:{_ROLE}",
            "CreationTime": record.get("CreationTime", clock.utcnow()),
            "SuspendedState": suspended,
            "ScalableTargetARN": record.get("ScalableTargetARN", identity),
        }
        if known is None:
            store().targets[request["ResourceId"]] = Target(record=made)
        else:
            known.record = made
        return {"ScalableTargetARN": made["ScalableTargetARN"]}


def deregister(request: Record) -> Record:
    """DeregisterScalableTarget, including its policies and scheduled actions."""
    target = _target(request)
    for policy in list(target.policies.values()):
        _delete_policy(policy)
    with LOCK:
        del store().targets[request["ResourceId"]]
    return {}


def put_policy(request: Record) -> Record:
    """PutScalingPolicy: step scaling, or target tracking with its alarms."""
    target, name = _target(request), request["PolicyName"]
    scaling_store.check(request)
    made = {
        "PolicyARN": scaling_store.arn(request["ResourceId"], name),
        "PolicyType": "StepScaling",
        "CreationTime": target.policies.get(name, {}).get("CreationTime", clock.utcnow()),
        **request,
    }
    for alarm in scaling_store.alarms(request["ResourceId"], made):
        _require("cloudwatch:PutMetricAlarm", _alarm(alarm["AlarmName"]))
        _require("cloudwatch:DescribeAlarms", _alarm(alarm["AlarmName"]))
    made["Alarms"] = scaling_store.put_alarms(request["ResourceId"], made)
    with LOCK:
        target.policies[name] = made
    clock.wake()
    return {"PolicyARN": made["PolicyARN"], "Alarms": made["Alarms"]}


def delete_policy(request: Record) -> Record:
    """DeleteScalingPolicy."""
    # claim: scheduled-actions-have-a-time
    target, name = _target(request), request["PolicyName"]
    if name not in target.policies:
        raise _absent(f"No scaling policy found for policy name: {name}")
    _delete_policy(target.policies[name])
    with LOCK:
        del target.policies[name]
    return {}


def put_action(request: Record) -> Record:
    """PutScheduledAction: bounds that apply from a time on (``at``, ``cron`` or ``rate``)."""
    # claim: scheduled-actions-have-a-time
    target, name = _target(request), request["ScheduledActionName"]
    record = target.actions.get(name, {}) | request
    for member in ("Schedule", "ScalableTargetAction"):
        if member not in record:
            raise validation(f"{member} is required for a new scheduled action")
    _check_bounds(record["ScalableTargetAction"])
    _check_variant(target.endpoint, target.variant, record["ScalableTargetAction"].get("MinCapacity", 1))
    prefix = (
        target.record["ScalableTargetARN"].replace(f":{SERVICE}:", ":autoscaling:").partition(":scalable-target")[0]
    )
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{target.record['ScalableTargetARN']}/{name}")
    record |= {
        "ScheduledActionARN": f"{prefix}:scheduledAction:{identity}:resource/sagemaker/{request['ResourceId']}:"
        f"scheduledActionName/{name}",
        "CreationTime": record.get("CreationTime", clock.utcnow()),
    }
    try:
        found = schedules.occurrence(record["Schedule"], created=0.0, after=0.0, zone=record.get("Timezone", "UTC"))
    except (KeyError, ValueError) as error:
        raise validation(f"Timezone {record.get('Timezone')!r} is not known: {error}") from error
    if found is None or scaling_engine.occurrence(record, clock.now()) is None:
        raise validation(f"Schedule must be at(...) in the future, cron(...) or rate(...), got {record['Schedule']!r}")
    with LOCK:
        target.actions[name] = record
    clock.wake()
    return {}


def delete_action(request: Record) -> Record:
    """DeleteScheduledAction."""
    # claim: scheduled-actions-have-a-time
    target, name = _target(request), request["ScheduledActionName"]
    with LOCK:
        if target.actions.pop(name, None) is None:
            raise _absent(f"No scheduled action found for name: {name}")
    return {}


def describe_targets(request: Record) -> Record:
    """DescribeScalableTargets."""
    wanted = request.get("ResourceIds")
    rows = [target.record for target in _targets({}) if wanted is None or target.record["ResourceId"] in wanted]
    return page("ScalableTargets", rows, request)


def describe_policies(request: Record) -> Record:
    """DescribeScalingPolicies."""
    rows = [policy for target in _targets(request) for policy in target.policies.values()]
    return page("ScalingPolicies", _named(rows, "PolicyName", request.get("PolicyNames")), request)


def describe_actions(request: Record) -> Record:
    """DescribeScheduledActions."""
    rows = [action for target in _targets(request) for action in target.actions.values()]
    return page("ScheduledActions", _named(rows, "ScheduledActionName", request.get("ScheduledActionNames")), request)


def describe_activities(request: Record) -> Record:
    """DescribeScalingActivities, newest first."""
    rows = [activity for target in _targets(request) for activity in reversed(target.activities)]
    return page("ScalingActivities", rows, request)


OPERATIONS: Mapping[str, Callable[[Record], Record]] = {
    "RegisterScalableTarget": register,
    "DeregisterScalableTarget": deregister,
    "PutScalingPolicy": put_policy,
    "DeleteScalingPolicy": delete_policy,
    "PutScheduledAction": put_action,
    "DeleteScheduledAction": delete_action,
    "DescribeScalableTargets": describe_targets,
    "DescribeScalingPolicies": describe_policies,
    "DescribeScheduledActions": describe_actions,
    "DescribeScalingActivities": describe_activities,
}


def call(name: str, request: object) -> Record:
    """Run an operation; request and response are validated against botocore's model.

    Raises:
        ServiceError: The operation's error, ``ValidationException``, or ``UnknownOperationException`` if unsupported.
    """
    # claim: unknown-operations-are-refused
    operation = OPERATIONS.get(name)
    if operation is None:
        known = ", ".join(sorted(OPERATIONS))
        message = f"{name} is not an operation of the embedded Application Auto Scaling; it has {known}"
        raise ServiceError("UnknownOperationException", message)
    checked = check_request(name, request, SERVICE)
    for member, only in (("ServiceNamespace", NAMESPACE), ("ScalableDimension", DIMENSION)):
        if checked.get(member, only) != only:
            raise validation(f"{member} must be {only} in the embedded cloud, got {checked[member]!r}")
    resource = checked.get("ResourceId", "endpoint/e/variant/v").split("/")
    if len(resource) != 4 or (resource[0], resource[2]) != ("endpoint", "variant"):
        raise validation(f"ResourceId must be endpoint/<endpoint>/variant/<variant>, got {checked['ResourceId']!r}")
    return check_response(name, operation(checked), SERVICE)


async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes | str, query: object) -> Response:
    """Serve a request of the service; MiniStack's handler signature."""
    del method, path, query
    data = body.encode() if isinstance(body, str) else body
    target = {name.lower(): value for name, value in headers.items()}.get("x-amz-target", "").rpartition(".")[2]
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_POOL, partial(copy_context().run, _answer, target, data))


def _answer(name: str, body: bytes) -> Response:
    kind = {"Content-Type": "application/x-amz-json-1.1"}
    try:
        return 200, kind, json.dumps(call(name, json.loads(body or b"{}"))).encode()
    except authorization.AccessDeniedError as error:
        failure = ServiceError("AccessDeniedException", str(error))
    except ServiceError as error:
        failure = error
    except Exception as error:
        LOGGER.exception("%s failed", name)
        failure = ServiceError("InternalServiceException", f"{type(error).__name__}: {error}", status=500)
    content = {"__type": failure.code, "message": failure.message}
    return failure.status, kind | {"x-amzn-ErrorType": failure.code}, json.dumps(content).encode()


def _may_scale(resource: str) -> None:
    endpoint = split(resource)[0]
    prefix = f"arn:aws:sagemaker:{get_region()}:{get_account_id()}:"
    for operation in ("DescribeEndpoint", "UpdateEndpointWeightsAndCapacities"):
        _require(f"sagemaker:{operation}", f"{prefix}endpoint/{endpoint}")
    record = sagemaker.store().records["Endpoint"].get(endpoint)
    if record is not None:
        _require("sagemaker:DescribeEndpointConfig", f"{prefix}endpoint-config/{record['EndpointConfigName']}")
    if not store().has_role:
        role = f"arn:aws:iam::{get_account_id()}:{_ROLE}"
        _require("iam:CreateServiceLinkedRole", role, {"iam:AWSServiceName": _PRINCIPAL})
        store().has_role = True


def _require(action: str, resource: str, context: Mapping[str, Any] | None = None) -> None:
    authorization.require(authorization.caller_key(), action, resource, context)


def _alarm(name: str) -> str:
    return f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{name}"


def _check_bounds(bounds: Record) -> None:
    # claim: targets-of-endpoints-are-checked
    if len(bounds) == 2 and bounds["MinCapacity"] > bounds["MaxCapacity"]:
        raise validation(f"Maximum capacity cannot be less than minimum capacity, got {bounds}")


def _check_variant(endpoint: str, variant: str, least: int) -> None:
    # claim: targets-of-endpoints-are-checked
    record = sagemaker.store().records["Endpoint"].get(endpoint)
    fleet = None if record is None else endpoints.live(record).fleet
    server = None if fleet is None else fleet.servers.get(variant)
    if record is None or server is None:
        raise validation(f"No endpoint variant exists with the name: endpoint/{endpoint}/variant/{variant}")
    if server.serverless is not None:
        raise validation(f"{DIMENSION} is not supported for the serverless variant {variant}")
    # https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale.html
    if least == 0 and "AsyncInferenceConfig" not in record:
        raise validation(
            f"MinCapacity of variant {variant} must be at least 1; only an asynchronous endpoint scales to zero"
        )


def _delete_policy(policy: Record) -> None:
    for alarm in policy["Alarms"]:
        _require("cloudwatch:DeleteAlarms", alarm["AlarmARN"])
    scaling_store.delete_alarms(policy)


def _target(request: Record) -> Target:
    # claim: targets-of-endpoints-are-checked
    target = store().targets.get(request["ResourceId"])
    if target is None:
        raise _absent(f"No scalable target registered for resource ID: {request['ResourceId']}")
    return target


def _absent(message: str) -> ServiceError:
    return ServiceError("ObjectNotFoundException", message)


def _targets(request: Record) -> list[Target]:
    wanted = request.get("ResourceId")
    with LOCK:
        return [target for name, target in store().targets.items() if wanted is None or name == wanted]


def _named(rows: Iterable[Record], member: str, names: list[str] | None) -> list[Record]:
    return [row for row in rows if names is None or row[member] in names]
