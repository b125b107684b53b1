"""Botocore's service models: which operations a service has and which shape each takes."""

import difflib
from functools import cache

from botocore.exceptions import UnknownServiceError as BotocoreUnknownServiceError
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape, StructureShape

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
# only what botocore carries: models of somebody's home folder would make synthesis depend on it
_LOADER = Loader([Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)


class UnknownServiceError(ValueError):
    """Botocore has no model of the service."""


class UnknownOperationError(ValueError):
    """The service has no such operation; the message names the nearest ones."""


@cache
def service_model(service: str) -> ServiceModel:
    """Return the model of a service, by botocore's name or by the one that Step Functions uses.

    Raises:
        UnknownServiceError: If botocore has no such service.
    """
    name = _SDK_NAMES.get(service, service)
    try:
        return ServiceModel(_LOADER.load_service_model(name, "service-2"), name)
    except BotocoreUnknownServiceError as error:
        raise UnknownServiceError(f"unknown service {service!r}; use botocore's name of an AWS service") from error


def operation_name(service: str, action: str) -> str:
    """Return the API's operation (``UpdateEndpoint``) for a state's action (``updateEndpoint``).

    Step Functions writes actions in camel case and refuses the API's own spelling.

    Raises:
        UnknownServiceError: If botocore has no such service.
        UnknownOperationError: If the service has no such operation.

    Example:
        >>> operation_name("sagemaker", "updateEndpoint")
        'UpdateEndpoint'
    """
    actions = {_camel(name): name for name in service_model(service).operation_names}
    if action in actions:
        return actions[action]
    near = difflib.get_close_matches(_camel(action), actions, n=3)
    hint = f"; did you mean {', '.join(map(repr, near))}" if near else ""
    raise UnknownOperationError(f"{service} has no action {action!r}{hint}")


def input_shape(service: str, operation: str) -> Shape:
    """Return what an operation takes; an operation without input takes an empty structure.

    Raises:
        UnknownServiceError: If botocore has no such service.
        UnknownOperationError: If the service has no such operation.
    """
    model = service_model(service)
    if operation not in model.operation_names:
        near = difflib.get_close_matches(operation, model.operation_names, n=3)
        hint = f"; did you mean {', '.join(map(repr, near))}" if near else ""
        raise UnknownOperationError(f"{service} has no operation {operation!r}{hint}")
    shape: Shape | None = model.operation_model(operation).input_shape
    return StructureShape(f"{operation}Request", {"type": "structure", "members": {}}) if shape is None else shape


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]
