"""Lambda's CloudFormation types: properties that MiniStack's provisioner drops, and checks that it omits.

Lambda rejects a function whose role it cannot assume, or whose role lacks permissions for its network, dead letters or event
source need: https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from ministack.services import lambda_svc

from mlops_local.iam import authorization

Properties = dict[str, Any]
MOST_BYTES = 250 * 1024 * 1024  # limit of a function's code and layers, unzipped
MOST_VARIABLES_BYTES = 4096  # limit of all variables of a function, as JSON
_held_layer_zip = lambda_svc._resolve_layer_zip
_NETWORK_ACTIONS = ("ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface")
_QUEUE_ACTIONS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")


def complete_function(name: str, _old: Properties, new: Properties) -> None:
    """Store network, key and dead letters in the function's configuration, and check its variables, size and role.

    Raises:
        ValueError: If variables, or code and layers, are too large, Lambda cannot assume the role, or the role lacks a permission.
    """
    config = lambda_svc._functions[name]["config"]
    problem = variables_problem(new)
    if problem is not None:
        raise ValueError(problem)
    # claim: function-and-layers-have-a-size
    size = lambda_svc._unzipped_size(lambda_svc._functions[name]["code_zip"])
    size += sum(map(_layer_size, config.get("Layers") or ()))
    if size > MOST_BYTES:
        raise ValueError(
            f"Function code combined with layers exceeds the maximum allowed size of {MOST_BYTES} bytes. "
            f"The actual size is {size} bytes."
        )
    config["VpcConfig"] = lambda_svc._vpc_config_with_id(new.get("VpcConfig"))
    config["KMSKeyArn"] = new.get("KmsKeyArn", "")
    dead_letters = (new.get("DeadLetterConfig") or {}).get("TargetArn")
    if dead_letters:
        config["DeadLetterConfig"] = {"TargetArn": dead_letters}
    needs = [(action, "*") for action in _NETWORK_ACTIONS] if new.get("VpcConfig") else []
    if dead_letters:
        needs.append(("sqs:SendMessage" if ":sqs:" in dead_letters else "sns:Publish", dead_letters))
    _check_role(config, needs)


# claim: variables-have-4-kb
def variables_problem(properties: Mapping[str, Any]) -> str | None:
    """Return Lambda's error if the variables of a function are too large.

    Example:
        >>> [variables_problem({"Environment": {"Variables": {"A": "x" * n}}}) is None for n in (4088, 4089)]
        [True, False]
    """
    variables = (properties.get("Environment") or {}).get("Variables") or {}
    measured = json.dumps(variables, ensure_ascii=False, separators=(",", ":"))
    if len(measured.encode()) <= MOST_VARIABLES_BYTES:
        return None
    return (
        "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded "
        f"the 4KB limit. String measured: {measured}"
    )


def check_variables() -> None:
    """Let CreateFunction and UpdateFunctionConfiguration check the variables."""

    # claim: variables-have-4-kb
    def checked(call: Callable[..., Any]) -> Callable[..., Any]:
        def check(*arguments: Any) -> Any:
            problem = variables_problem(arguments[-1])
            if problem is not None:
                return lambda_svc.error_response_json("InvalidParameterValueException", problem, 400)
            return call(*arguments)

        return check

    lambda_svc._create_function = checked(lambda_svc._create_function)
    lambda_svc._update_config = checked(lambda_svc._update_config)


def check_mapping(_mapping_id: str, _old: Properties, new: Properties) -> None:
    """Check that the function's role may read its event source queue.

    Raises:
        ValueError: If the role may not.
    """
    source, name = str(new.get("EventSourceArn", "")), str(new["FunctionName"])
    function = lambda_svc._functions.get(name.partition(":function:")[2].partition(":")[0] or name)
    if function is not None and ":sqs:" in source:
        _check_role(function["config"], [(action, source) for action in _QUEUE_ACTIONS])


def _check_role(config: Properties, needs: list[tuple[str, str]]) -> None:
    # claim: function-role-is-checked
    try:
        session = authorization.assume(
            config["Role"],
            service="lambda.amazonaws.com",
            source_arn=config["FunctionArn"],
            name=config["FunctionName"],
        )
    except authorization.AccessDeniedError as error:
        raise ValueError("the role defined for the function cannot be assumed by Lambda") from error
    missing = []
    for action, resource in needs:
        try:
            authorization.require(session, action, resource)
        except authorization.AccessDeniedError as error:
            missing.append(str(error))
    if missing:
        raise ValueError("the provided execution role does not have permissions: " + "; ".join(missing))


def check_layer(version_arn: str, _old: Properties, _new: Properties) -> None:
    """Accept a layer without mounting it, if this environment has its distributions.

    Functions run with this interpreter, which wheels built for Lambda's Python would break. The same major version is
    enough: the layer's lock and this environment may be built for different Python versions.

    Raises:
        ValueError: If the layer is too large, or one of its distributions is missing here or has another major version.
    """
    data = _layer_zip(version_arn)
    # claim: function-and-layers-have-a-size
    if lambda_svc._unzipped_size(data) > MOST_BYTES:
        raise ValueError(f"Unzipped size must be smaller than {MOST_BYTES} bytes")
    # claim: layers-are-compatible
    problems = []
    for name, version in sorted(layer_distributions(data or b"")):
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            problems.append(f"{name} {version} is not installed here")
            continue
        if here.partition(".")[0] != version.partition(".")[0]:
            problems.append(f"{name} is {here} here and {version} in the layer")
    if problems:
        raise ValueError(f"this environment does not satisfy layer {version_arn}: " + "; ".join(problems))


def layer_distributions(data: bytes) -> set[tuple[str, str]]:
    """Return name and version of the distributions in a layer's zip; empty for an empty one."""
    if not data:
        return set()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        folders = {part for name in archive.namelist() for part in name.split("/") if part.endswith(".dist-info")}
    return {(folder.removesuffix(".dist-info").rpartition("-")[0], folder.removesuffix(".dist-info").rpartition("-")[2])
            for folder in folders}  # fmt: skip


def _layer_zip(version_arn: str) -> bytes | None:
    _, name, version = version_arn.rsplit(":", 2)
    versions = lambda_svc._layers[name]["versions"]
    data: bytes | None = next((row["_zip_data"] for row in versions if row["Version"] == int(version)), None)
    return data


def leave_layers_out() -> None:
    """Keep layers off the path of function workers; they still count for the function's size."""
    lambda_svc._resolve_layer_zip = lambda *_, **__: None
    lambda_svc._layer_unzipped_size = _layer_size


def _layer_size(attachment: str | Properties) -> int:
    return int(lambda_svc._unzipped_size(_held_layer_zip(attachment)))
