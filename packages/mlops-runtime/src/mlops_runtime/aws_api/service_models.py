"""Operations of AWS services and the shapes of their requests, from botocore's models.

Reading botocore's models takes time at each synthesis. The operations of this project's state machines are in a table,
``input_shapes.json``, which equals these models; they are read only for other operations and for findings.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

# Step Functions names SDK integrations by the Java SDK's package names.
# https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
_SDK_NAMES = {
    "applicationautoscaling": "application-autoscaling",
    "cloudwatchlogs": "logs",
    "elasticloadbalancingv2": "elbv2",
    "eventbridge": "events",
    "sagemakerfeaturestoreruntime": "sagemaker-featurestore-runtime",
    "sagemakerruntime": "sagemaker-runtime",
    "servicequotas": "service-quotas",
    "sfn": "stepfunctions",
}


class UnknownServiceError(ValueError):
    """Botocore has no model of the service."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a request or of a part of it."""

    name: str  # name in botocore's model
    traits: Mapping[str, Any]  # type, bounds and members, with what the reference to the shape adds
    shapes: Mapping[str, Mapping[str, Any]]  # the shapes of its service

    @property
    def type_name(self) -> str:
        """``structure``, ``list``, ``map`` or the type of a scalar."""
        name: str = self.traits["type"]
        return name

    @property
    def members(self) -> dict[str, "Shape"]:
        """Shapes of the fields; empty unless it is a structure."""
        return {name: self.inner(reference) for name, reference in self.traits.get("members", {}).items()}

    def inner(self, reference: Mapping[str, Any]) -> "Shape":
        """Return the shape to which a member, key or value refers."""
        name = reference["shape"]
        return Shape(name, {**self.shapes[name], **reference}, self.shapes)


@dataclass(frozen=True, slots=True)
class ServiceModel:
    """Operations of a service."""

    service_name: str  # botocore's name of the service
    inputs: Mapping[str, str | None]  # name of each operation and of the shape of its request, if it has one
    shapes: Mapping[str, Mapping[str, Any]]

    def input_shape(self, operation: str) -> Shape:
        """Return the shape of an operation's request; an empty structure for an operation without one."""
        name = self.inputs[operation]
        if name is None:
            return Shape(f"{operation}Request", {"type": "structure"}, {})
        return Shape(name, self.shapes[name], self.shapes)


@cache
def service_model(service: str) -> ServiceModel:
    """Return botocore's model of a service, by its name in botocore or in Step Functions.

    Raises:
        UnknownServiceError: If botocore has no such service.
    """
    # slow, and not needed for requests by the table
    from botocore.exceptions import UnknownServiceError as BotocoreUnknownServiceError  # noqa: PLC0415
    from botocore.loaders import Loader  # noqa: PLC0415

    name = _SDK_NAMES.get(service, service)
    # only botocore's own models: synthesis must not depend on models in a user's home folder
    loader = Loader([Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    try:
        model = loader.load_service_model(name, "service-2")
    except BotocoreUnknownServiceError as error:
        raise UnknownServiceError(f"unknown service {service!r}; use botocore's name of an AWS service") from error
    inputs = {operation: found.get("input", {}).get("shape") for operation, found in model["operations"].items()}
    return ServiceModel(name, inputs, model["shapes"])


@cache
def known_models() -> Mapping[str, ServiceModel]:
    """Return the models of the table, each with part of its service's operations."""
    text = resources.files("mlops_runtime.aws_api").joinpath("input_shapes.json").read_text(encoding="utf-8")
    return {name: ServiceModel(name, **model) for name, model in json.loads(text).items()}


def candidates(service: str) -> Iterator[ServiceModel]:
    """Yield the model of a service in the table, if it is there, and then botocore's.

    Raises:
        UnknownServiceError: If botocore has no such service and the first model did not suffice.
    """
    known = known_models().get(_SDK_NAMES.get(service, service))
    if known is not None:
        yield known
    yield service_model(service)
