"""CloudFormation's ``ScalableTarget`` and ``ScalingPolicy``, implemented with the service's operations.

See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/AWS_ApplicationAutoScaling.html
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from ministack.services.cloudformation import provisioners

from mlops_local.autoscaling import scaling_api, scaling_store
from mlops_local.autoscaling.scaling_store import DIMENSION, NAMESPACE, store
from mlops_local.sagemaker.api_shapes import Record, call_of_template, from_text, operation
from mlops_local.stacks import resource_types

Created = tuple[str, dict[str, Any]]
TARGET, POLICY = "AWS::ApplicationAutoScaling::ScalableTarget", "AWS::ApplicationAutoScaling::ScalingPolicy"
_IDENTITY = ("ResourceId", "ScalableDimension", "ServiceNamespace")

# claim: resource-fails-with-the-services-reason
_call = partial(call_of_template, scaling_api.call)


def install() -> None:
    """Register the types; their handlers call the embedded cloud over HTTP, so they run on worker threads."""
    handlers = provisioners._RESOURCE_HANDLERS
    handlers[TARGET] = _handler(_create_target, _delete_target, _IDENTITY)
    handlers[POLICY] = _handler(_create_policy, _delete_policy, ("PolicyName", *_IDENTITY, "ScalingTargetId"))
    resource_types.run_on_worker(TARGET, POLICY)


def _handler(
    create: Callable[[str, Record, str], Created], delete: Callable[[str, Record], None], fixed: tuple[str, ...]
) -> dict[str, Any]:
    def update(physical_id: str, old: Record, new: Record, stack: str, logical_id: str) -> Created:
        made = create(logical_id, new, stack)
        if any(old.get(name) != new.get(name) for name in fixed):
            return made
        return physical_id, made[1]

    return {"create": create, "update": update, "update_with_logical_id": True, "delete": delete}


def _create_target(_logical_id: str, properties: Record, _stack: str) -> Created:
    resource_types.check_schema(TARGET, properties)
    request = _typed(
        "RegisterScalableTarget", {k: v for k, v in properties.items() if k not in {"ScheduledActions", "RoleARN"}}
    )
    _call("RegisterScalableTarget", request)
    identity = {name: request[name] for name in _IDENTITY}
    wanted = {action["ScheduledActionName"]: action for action in properties.get("ScheduledActions", [])}
    for name in set(store().targets[request["ResourceId"]].actions) - set(wanted):
        _call("DeleteScheduledAction", identity | {"ScheduledActionName": name})
    for action in wanted.values():
        _call("PutScheduledAction", _typed("PutScheduledAction", identity | action))
    physical = "|".join(str(request[name]) for name in _IDENTITY)
    return physical, {
        "Id": physical,
        "ScalableTargetARN": store().targets[request["ResourceId"]].record["ScalableTargetARN"],
    }


def _delete_target(physical_id: str, _properties: Record) -> None:
    resource = physical_id.partition("|")[0]
    if resource in store().targets:
        _call("DeregisterScalableTarget", _target(resource))


def _create_policy(_logical_id: str, properties: Record, _stack: str) -> Created:
    resource_types.check_schema(POLICY, properties)
    given = {name: value for name, value in properties.items() if name != "ScalingTargetId"}
    if "ScalingTargetId" in properties:
        given |= _target(properties["ScalingTargetId"].partition("|")[0])
    _call("PutScalingPolicy", _typed("PutScalingPolicy", given))
    arn = scaling_store.arn(given["ResourceId"], given["PolicyName"])
    return arn, {"Arn": arn}


def _delete_policy(physical_id: str, _properties: Record) -> None:
    for resource, target in list(store().targets.items()):
        for name, policy in list(target.policies.items()):
            if policy["PolicyARN"] == physical_id:
                _call("DeleteScalingPolicy", _target(resource) | {"PolicyName": name})


def _target(resource: str) -> Record:
    return {"ServiceNamespace": NAMESPACE, "ResourceId": resource, "ScalableDimension": DIMENSION}


def _typed(name: str, properties: Record) -> Record:
    typed: Record = from_text(operation(name, scaling_api.SERVICE).input_shape, properties)
    return typed
