"""CloudFormation's SageMaker types: create, update, replace and delete through the service's operations.

Create-only properties are AWS's: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/AWS_SageMaker.html
"""

import hashlib
import json
import re
import threading
from functools import partial
from typing import Any

from ministack.services.cloudformation import provisioners

from mlops_local import clock
from mlops_local.sagemaker import monitoring_schedules, resource_store, sagemaker_api
from mlops_local.sagemaker.api_shapes import Record, call_of_template, from_text, operation
from mlops_local.stacks import resource_types

Created = tuple[str, dict[str, Any]]

_POLICY = "ModelPackageGroupPolicy"
# properties that are updated in place; any other change is a replacement
_IN_PLACE: dict[str, tuple[str, ...]] = {
    "ModelPackageGroup": ("Tags", _POLICY),
    "Model": ("Tags",),
    "EndpointConfig": ("Tags",),
    "Endpoint": (
        "Tags",
        "EndpointConfigName",
        "DeploymentConfig",
        "RetainAllVariantProperties",
        "ExcludeRetainedVariantProperties",
        "RetainDeploymentConfig",
    ),
    # a definition is never changed, including its tags
    "DataQualityJobDefinition": (),
    "ModelQualityJobDefinition": (),
    "ModelBiasJobDefinition": (),
    "ModelExplainabilityJobDefinition": (),
    "MonitoringSchedule": ("MonitoringScheduleConfig",),
}
# properties of CloudFormation that the create operation lacks
_UPDATE_ONLY = ("RetainAllVariantProperties", "ExcludeRetainedVariantProperties", "RetainDeploymentConfig", _POLICY)
_LOOK = 0.05  # real seconds between two polls of an endpoint

_call = partial(call_of_template, sagemaker_api.call)


def install() -> None:
    """Register the types; their handlers block, so they run on worker threads."""
    for kind in _IN_PLACE:
        provisioners._RESOURCE_HANDLERS[f"AWS::SageMaker::{kind}"] = {
            "create": partial(_create, kind),
            "update": partial(_update, kind),
            "update_with_logical_id": True,
            "delete": partial(_delete, kind),
        }
    resource_types.run_on_worker(*(f"AWS::SageMaker::{kind}" for kind in _IN_PLACE))


def _create(kind: str, logical_id: str, properties: Record, stack: str) -> Created:
    # claim: resource-fails-with-the-services-reason
    spec = resource_store.KINDS[kind]
    request = {k: v for k, v in _typed(f"Create{kind}", properties).items() if k not in _UPDATE_ONLY}
    request.setdefault(spec.name, _generated(stack, logical_id))
    _call(f"Create{kind}", request)
    name = request[spec.name]
    if _POLICY in properties:
        try:
            _put_policy(name, properties[_POLICY])
        except ValueError:
            _call(f"Delete{kind}", {spec.name: name})
            raise
    if kind == "Endpoint":
        _settle(name)
        described = resource_store.get(kind, name)
        if described["EndpointStatus"] != "InService":
            raise ValueError(
                f'Resource handler returned message: "{described.get("FailureReason", "endpoint failed")}"'
            )
    return _created(kind, name)


def _update(  # noqa: PLR0917 - MiniStack's own signature
    kind: str, physical_id: str, old: Record, new: Record, stack: str, logical_id: str
) -> Created:
    # claim: named-endpoint-is-not-replaced
    spec = resource_store.KINDS[kind]
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    if changed - set(_IN_PLACE[kind]):
        if spec.name in new and new.get(spec.name) == old.get(spec.name):
            raise ValueError(
                "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
                f"Rename {new[spec.name]} and update the stack again."
            )
        return _create(kind, logical_id, new, stack)
    if "Tags" in changed:
        _retag(physical_id, old.get("Tags", []), new.get("Tags", []))
    name = resource_store.name_of(kind, physical_id)
    if _POLICY in changed:
        if _POLICY in new:
            _put_policy(name, new[_POLICY])
        else:
            _call("DeleteModelPackageGroupPolicy", {spec.name: name})
    if kind == "Endpoint" and changed - {"Tags"}:
        request = {k: v for k, v in _typed("UpdateEndpoint", new).items() if k not in ("Tags", spec.name)}
        _call("UpdateEndpoint", request | {spec.name: name})
        _settle(name)
        described = resource_store.get(kind, name)
        if (
            described["EndpointStatus"] != "InService"
            or described["EndpointConfigName"] != request["EndpointConfigName"]
        ):
            raise ValueError(f'Resource handler returned message: "the update of endpoint {name} was rolled back"')
    if kind == "MonitoringSchedule" and changed - {"Tags"}:
        request = {k: v for k, v in _typed("UpdateMonitoringSchedule", new).items() if k != "Tags"}
        _call("UpdateMonitoringSchedule", request | {spec.name: name})
    return _created(kind, name)


def _delete(kind: str, physical_id: str, _properties: Record) -> None:
    spec, name = resource_store.KINDS[kind], resource_store.name_of(kind, physical_id)
    if name not in resource_store.store().records[kind]:
        return
    if kind == "Endpoint":
        _settle(name)
    if kind == "MonitoringSchedule":  # SageMaker does not delete it while an execution runs
        _call("StopMonitoringSchedule", {spec.name: name})
        monitoring_schedules.wait_for(name)
    _call(f"Delete{kind}", {spec.name: name})
    pause = threading.Event()
    while name in resource_store.store().records[kind]:
        pause.wait(_LOOK)


def _put_policy(group: str, policy: Any) -> None:
    # claim: groups-have-resource-policies
    text = policy if isinstance(policy, str) else json.dumps(policy, separators=(",", ":"))
    request = {"ModelPackageGroupName": group, "ResourcePolicy": text}
    _call("PutModelPackageGroupPolicy", request)


def _typed(name: str, properties: Record) -> Record:
    typed: Record = from_text(operation(name).input_shape, properties)
    return typed


def _created(kind: str, name: str) -> Created:
    spec, record = resource_store.KINDS[kind], resource_store.get(kind, name)
    arn = record[spec.arn]
    attributes = {spec.name: name, spec.arn: arn, "CreationTime": clock.iso(record["CreationTime"].timestamp())}
    status = f"{kind}Status"
    return arn, attributes | ({status: record[status]} if status in record else {})


def _settle(name: str) -> None:
    """Wait until an endpoint has no change in progress."""
    pause = threading.Event()
    while resource_store.get("Endpoint", name)["EndpointStatus"] not in ("InService", "Failed"):
        pause.wait(_LOOK)


def _retag(arn: str, old: list[Record], new: list[Record]) -> None:
    removed = sorted({tag["Key"] for tag in old} - {tag["Key"] for tag in new})
    if removed:
        _call("DeleteTags", {"ResourceArn": arn, "TagKeys": removed})
    if new:
        _call("AddTags", {"ResourceArn": arn, "Tags": new})


def _generated(stack: str, logical_id: str) -> str:
    """Return a new name in CloudFormation's format: stack, logical id, and a unique suffix."""
    seed = f"{stack}/{logical_id}/{clock.now()}/{threading.get_ident()}"
    end = hashlib.sha256(seed.encode()).hexdigest()[:12]
    head = re.sub(r"[^a-zA-Z0-9]+", "-", f"{stack}-{logical_id}").strip("-")[:50].rstrip("-")
    return f"{head}-{end}"
