"""CloudFormation types that the embedded cloud records: checked against their schema and kept, but without effect.

A recorded resource has a physical id, attributes, updates and replacement as CloudFormation would give them. The schemas in
`schemas/` are CloudFormation's own, written by `tools/cloudformation_schemas.py`. `mlops local status` lists what is recorded,
so that nobody takes a flow log on a laptop for one that logs.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol
from urllib.parse import urlsplit

from mlops_runtime.aws_api.public_host import is_public_host

_ID_PREFIXES = {
    "AWS::EC2::EIP": "eipalloc",
    "AWS::EC2::FlowLog": "fl",
    "AWS::EC2::NatGateway": "nat",
    "AWS::EC2::NetworkAcl": "acl",
    "AWS::EC2::SecurityGroupEgress": "sgr",
    "AWS::EC2::SecurityGroupIngress": "sgr",
    "AWS::EC2::SubnetNetworkAclAssociation": "aclassoc",
}


class SchemaError(ValueError):
    """Properties do not fit their CloudFormation schema; the message names each problem."""

    def __init__(self, resource_type: str, problems: list[str]) -> None:
        super().__init__(f"model validation failed for {resource_type}: " + "; ".join(problems))


class UnreachableIssuerError(ValueError):
    """IAM cannot connect to the identity provider that a template names."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"OpenIdIdpCommunicationError: IAM cannot connect to the OpenID Connect identity provider URL {url}; AWS reads "
            "/.well-known/openid-configuration there over the internet"
        )


class _StackClient(Protocol):
    def get_paginator(self, name: str) -> Any: ...


@dataclass(frozen=True)
class RecordedResource:
    """One recorded resource of a stack.

    Attributes:
        stack: The stack's name.
        logical_id: Its id in the template.
        resource_type: Such as `AWS::EC2::FlowLog`.
        physical_id: What `Ref` gives.
    """

    stack: str
    logical_id: str
    resource_type: str
    physical_id: str


@functools.cache
def types() -> frozenset[str]:
    """Name the types that have a schema here, without those that MiniStack or this package executes."""
    files = resources.files("mlops_local").joinpath("schemas").iterdir()
    names = {file.name.removesuffix(".json").replace("-", "::") for file in files if file.name.endswith(".json")}
    return frozenset(names - EXECUTED)


# checked against a schema as well, but with effect
EXECUTED = frozenset(
    {
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::CloudWatch::CompositeAlarm",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EKS::AccessEntry",
        "AWS::EKS::PodIdentityAssociation",
    }
)


def list_recorded(cloudformation: _StackClient) -> list[RecordedResource]:
    """List what the stacks of an embedded cloud hold without effect.

    Args:
        cloudformation: A boto3 client of the embedded cloud.
    """
    found: list[RecordedResource] = []
    for page in cloudformation.get_paginator("list_stacks").paginate():
        for stack in page["StackSummaries"]:
            if stack["StackStatus"] != "DELETE_COMPLETE":
                found += _recorded_in(cloudformation, stack["StackName"])
    return found


def _recorded_in(cloudformation: _StackClient, stack: str) -> Iterable[RecordedResource]:
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack):
        for row in page["StackResourceSummaries"]:
            if row["ResourceType"] in types():
                yield RecordedResource(stack, row["LogicalResourceId"], row["ResourceType"], row["PhysicalResourceId"])


@functools.cache
def schema(resource_type: str) -> dict[str, Any]:
    """Read a type's CloudFormation schema."""
    file = resources.files("mlops_local").joinpath("schemas", f"{resource_type.replace('::', '-')}.json")
    loaded: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return loaded


def validate(resource_type: str, properties: Mapping[str, Any]) -> None:
    """Check resolved properties against the type's schema.

    Raises:
        SchemaError: If a property is unknown, missing, or of the wrong kind.
    """
    # claim: properties-follow-their-schema
    errors = sorted(
        _validator(resource_type).iter_errors(dict(properties)), key=lambda error: list(map(str, error.path))
    )
    problems = [f"#/{'/'.join(map(str, error.path))}: {error.message}" for error in errors]
    written = {path.removeprefix("/properties/") for path in schema(resource_type).get("readOnlyProperties", [])}
    problems += [f"#/{name}: is read-only" for name in sorted(written & properties.keys())]
    if problems:
        raise SchemaError(resource_type, problems)


def create(
    resource_type: str, logical_id: str, properties: Mapping[str, Any], stack: str, where: str
) -> tuple[str, dict[str, str]]:
    """Record a resource.

    Args:
        resource_type: Its type.
        logical_id: Its id in the template.
        properties: The resolved properties.
        stack: The stack's name.
        where: `<region>:<account>`, for ARNs.

    Returns:
        The physical id and the attributes, both the same for the same identity: a change of a create-only property gives
        another one.

    Raises:
        SchemaError: If the properties do not fit the schema.
        UnreachableIssuerError: If an identity provider is at a host that no public DNS has.
    """
    validate(resource_type, properties)
    if resource_type == "AWS::IAM::OIDCProvider":
        _check_issuer(str(properties.get("Url", "")))
    description = schema(resource_type)
    fixed = {name: properties[name] for name in _names(description, "createOnlyProperties") if name in properties}
    seed = json.dumps([stack, logical_id, fixed], sort_keys=True, default=str)
    digest = hashlib.sha256(seed.encode()).hexdigest()
    read_only = {
        name: _generated(resource_type, name, digest, where) for name in _names(description, "readOnlyProperties")
    }
    if resource_type == "AWS::IAM::OIDCProvider":
        # trust policies name it, and STS finds it by the token's issuer
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagement.html
        issuer = str(properties.get("Url", "")).removeprefix("https://")
        read_only["Arn"] = f"arn:aws:iam::{where.rpartition(':')[2]}:oidc-provider/{issuer}"
    identity = [str(properties.get(name) or read_only.get(name) or f"{stack}-{logical_id}-{digest[:12]}")
                for name in _names(description, "primaryIdentifier")]  # fmt: skip
    # a type that is identified by its ARN is referenced by it alone
    physical = identity[0] if identity[0].startswith("arn:") else "|".join(identity)
    return physical, read_only


def _check_issuer(url: str) -> None:
    """Refuse an issuer that AWS cannot reach by its name; the embedded cloud itself asks nobody."""
    # claim: identity-provider-is-public
    if not is_public_host(urlsplit(url).hostname or ""):
        raise UnreachableIssuerError(url)


def replaces(resource_type: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether an update changes a create-only property."""
    return any(old.get(name) != new.get(name) for name in _names(schema(resource_type), "createOnlyProperties"))


def _names(description: Mapping[str, Any], member: str) -> list[str]:
    """List top-level property names of a schema's pointer list."""
    return [path.removeprefix("/properties/") for path in description.get(member, []) if path.count("/") == 2]


def _generated(resource_type: str, name: str, digest: str, where: str) -> str:
    _, service, kind = resource_type.lower().split("::")
    if name.endswith("Arn"):
        return f"arn:aws:{service}:{where}:{kind}/{digest[:17]}"
    prefix = _ID_PREFIXES.get(resource_type, kind)
    return f"{prefix}-{digest[:17]}"


def _coerced(kind: str, value: Any) -> bool:
    """Tell whether CloudFormation would take a value for a kind: it turns strings into scalars and scalars into strings."""
    if kind == "string":
        return isinstance(value, (str, int, float))
    if kind == "boolean":
        return isinstance(value, bool) or value in ("true", "false")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False
    try:
        number = float(value)
    except ValueError:
        return False
    return kind == "number" or number.is_integer()


@functools.cache
def _validator(resource_type: str) -> Any:
    import jsonschema  # noqa: PLC0415 - the parent process only lists

    checker = jsonschema.Draft7Validator.TYPE_CHECKER
    for kind in ("string", "boolean", "integer", "number"):
        checker = checker.redefine(kind, lambda _, value, kind=kind: _coerced(kind, value))
    extend: Any = jsonschema.validators.extend
    lengths = {keyword: _of_text(jsonschema.Draft7Validator.VALIDATORS[keyword]) for keyword in _OF_TEXT}
    return extend(jsonschema.Draft7Validator, lengths, type_checker=checker)(schema(resource_type))


_OF_TEXT = ("minLength", "maxLength", "pattern")


def _of_text(check: Any) -> Any:
    """Let a keyword on strings see a scalar as the text that CloudFormation makes of it; schemas have them on booleans too."""

    def checked(validator: Any, limit: Any, instance: Any, schema: Any) -> Any:
        is_scalar = isinstance(instance, (bool, int, float))
        yield from check(validator, limit, str(instance) if is_scalar else instance, schema) or ()

    return checked
