"""Write the table of requests that the state machines of this project make, by botocore's models.

Run with `python -m tools.input_shape_table`, after a new version of botocore or a new call of a state machine.
`mlops_runtime/aws_api/service_models.py` reads the table at synthesis instead of botocore, whose import and models are slow.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlops_runtime.aws_api.service_models import ServiceModel, service_model

TABLE = Path(__file__).parent.parent / "packages/mlops-runtime/src/mlops_runtime/aws_api/input_shapes.json"
OPERATIONS: dict[str, tuple[str, ...]] = {
    "application-autoscaling": (
        "DeregisterScalableTarget",
        "DescribeScalableTargets",
        "PutScalingPolicy",
        "PutScheduledAction",
        "RegisterScalableTarget",
    ),
    "cloudwatch": (
        "DeleteAlarms",
        "DescribeAlarms",
        "GetMetricStatistics",
        "PutMetricAlarm",
        "PutMetricData",
        "SetAlarmState",
    ),
    "dynamodb": ("GetItem", "UpdateItem"),
    "ecr": ("DescribeImages",),
    "elbv2": ("DescribeTargetHealth", "ModifyRule"),
    "events": ("EnableRule", "PutEvents"),
    "glue": ("StartJobRun",),
    "lambda": ("Invoke",),
    "s3": ("CopyObject", "ListObjectsV2"),
    "sagemaker": (
        "CreateEndpoint",
        "CreateEndpointConfig",
        "CreateModel",
        "CreateModelPackage",
        "CreateProcessingJob",
        "CreateTrainingJob",
        "CreateTransformJob",
        "DeleteEndpoint",
        "DeleteEndpointConfig",
        "DeleteModel",
        "DescribeEndpoint",
        "DescribeEndpointConfig",
        "DescribeModel",
        "UpdateEndpoint",
        "UpdateModelPackage",
    ),
    "service-quotas": ("ListServiceQuotas",),
    "sns": ("Publish",),
}
# what a check reads
KEPT = ("type", "required", "members", "member", "key", "value", "min", "max", "pattern", "enum", "document", "union")
KEPT_OF_REFERENCE = ("shape", "idempotencyToken")


def rendered() -> str:
    """Return the text of the table: a line for each shape."""
    services = []
    for service, operations in OPERATIONS.items():
        model = service_model(service)
        inputs = {operation: model.inputs[operation] for operation in operations}
        shapes = ",\n".join(f"{json.dumps(name)}: {json.dumps(shape)}" for name, shape in _shapes(model, inputs))
        services.append(f'{json.dumps(service)}: {{"inputs": {json.dumps(inputs)}, "shapes": {{\n{shapes}\n}}}}')
    return "{\n" + ",\n".join(services) + "\n}\n"


def _shapes(model: ServiceModel, inputs: Mapping[str, str | None]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the shapes of the requests and of their parts, by name."""
    found: dict[str, dict[str, Any]] = {}
    pending = [name for name in inputs.values() if name is not None]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found[name] = {key: _reference(value) for key, value in model.shapes[name].items() if key in KEPT}
        members = found[name].get("members", {}).values()
        parts = [found[name][key] for key in ("member", "key", "value") if key in found[name]]
        pending += [reference["shape"] for reference in (*members, *parts)]
    yield from sorted(found.items())


def _reference(value: Any) -> Any:
    """Return a reference to a shape, or the members that are references, with only what a check reads."""
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("shape"), str):
        return {key: value[key] for key in KEPT_OF_REFERENCE if key in value}
    return {name: _reference(member) for name, member in value.items()}


if __name__ == "__main__":
    TABLE.write_text(rendered(), encoding="utf-8")
