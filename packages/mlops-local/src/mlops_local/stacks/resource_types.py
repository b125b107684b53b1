"""CloudFormation types beyond MiniStack's: executed here, or validated against their schema and recorded without effect."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Mapping
from functools import partial
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from ministack.core.responses import get_account_id, get_region
from ministack.services import dynamodb, eventbridge, iam, sns
from ministack.services.cloudformation import provisioners, stacks

from mlops_local import event_buses, s3_bucket
from mlops_local.documents import booleans
from mlops_local.functions import lambda_types
from mlops_local.glue import jobs
from mlops_local.stacks.handler_steps import complete, done
from mlops_local.stacks.recorded_types import recorded_types
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


Properties = dict[str, Any]
Created = tuple[str, dict[str, Any]]
_HANDLERS = provisioners._RESOURCE_HANDLERS
_log = logging.getLogger("mlops_local.stacks.resource_types")
_on_worker: set[str] = set()


class SchemaError(ValueError):
    """Properties do not match their CloudFormation schema; the message lists each problem."""

    def __init__(self, resource_type: str, problems: list[str]) -> None:
        super().__init__(f"model validation failed for {resource_type}: " + "; ".join(problems))


class UnreachableIssuerError(ValueError):
    """IAM cannot connect to the identity provider of a template."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"OpenIdIdpCommunicationError: IAM cannot connect to the OpenID Connect identity provider URL {url}; AWS reads "
            "/.well-known/openid-configuration there over the internet"
        )


@functools.cache
def schema(resource_type: str) -> dict[str, Any]:
    """Return a type's CloudFormation schema."""
    file = resources.files("mlops_local").joinpath("schemas", f"{resource_type.replace('::', '-')}.json")
    loaded: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return loaded


def check_schema(resource_type: str, properties: Mapping[str, Any]) -> None:
    """Validate resolved properties against the type's schema.

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


def create_recorded(
    resource_type: str, logical_id: str, properties: Mapping[str, Any], stack: str, where: str
) -> tuple[str, dict[str, str]]:
    """Record a resource without effect.

    Returns:
        The physical id and the attributes, derived from the identity: a change of a create-only property results in another
        id.

    Raises:
        SchemaError: If the properties do not match the schema.
        UnreachableIssuerError: If an identity provider's host is not in public DNS.
    """
    check_schema(resource_type, properties)
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
        # trust policies refer to it, and STS finds it by the token's issuer
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagement.html
        issuer = str(properties.get("Url", "")).removeprefix("https://")
        read_only["Arn"] = f"arn:aws:iam::{where.rpartition(':')[2]}:oidc-provider/{issuer}"
    identity = [str(properties.get(name) or read_only.get(name) or f"{stack}-{logical_id}-{digest[:12]}")
                for name in _names(description, "primaryIdentifier")]  # fmt: skip
    # a type identified by its ARN is referenced by the ARN only
    physical = identity[0] if identity[0].startswith("arn:") else "|".join(identity)
    return physical, read_only


def _check_issuer(url: str) -> None:
    """Reject an issuer whose name AWS cannot resolve; the embedded cloud itself calls no issuer."""
    # claim: identity-provider-is-public
    if not is_public_host(urlsplit(url).hostname or ""):
        raise UnreachableIssuerError(url)


def is_replaced(resource_type: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return whether an update changes a create-only property."""
    return any(old.get(name) != new.get(name) for name in _names(schema(resource_type), "createOnlyProperties"))


def _names(description: Mapping[str, Any], member: str) -> list[str]:
    """Return top-level property names from a schema's list of pointers."""
    return [path.removeprefix("/properties/") for path in description.get(member, []) if path.count("/") == 2]


def _generated(resource_type: str, name: str, digest: str, where: str) -> str:
    _, service, kind = resource_type.lower().split("::")
    if name.endswith("Arn"):
        return f"arn:aws:{service}:{where}:{kind}/{digest[:17]}"
    prefix = _ID_PREFIXES.get(resource_type, kind)
    return f"{prefix}-{digest[:17]}"


def _coerced(kind: str, value: Any) -> bool:
    """Return whether CloudFormation accepts a value for a kind: it converts between strings and scalars."""
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
    lengths = {keyword: partial(_checked_text, jsonschema.Draft7Validator.VALIDATORS[keyword]) for keyword in _OF_TEXT}
    return extend(jsonschema.Draft7Validator, lengths, type_checker=checker)(schema(resource_type))


_OF_TEXT = ("minLength", "maxLength", "pattern")


def _checked_text(check: Any, validator: Any, limit: Any, instance: Any, schema: Any) -> Any:
    """Apply a string keyword to the string form of a scalar, as CloudFormation does; schemas have such keywords on booleans too."""
    is_scalar = isinstance(instance, (bool, int, float))
    yield from check(validator, limit, str(instance) if is_scalar else instance, schema) or ()


def install() -> None:
    """Register the types; types that are already registered keep their handlers."""
    s3_bucket.install(_HANDLERS)
    complete("AWS::DynamoDB::Table", _table_settings)
    complete("AWS::Events::EventBus", _bus_settings)
    complete("AWS::SNS::Topic", _topic_settings)
    complete("AWS::IAM::Role", _permissions_boundary)
    complete("AWS::Lambda::LayerVersion", lambda_types.check_layer)
    complete("AWS::Lambda::Function", lambda_types.complete_function)
    complete("AWS::Lambda::EventSourceMapping", lambda_types.check_mapping)
    complete("AWS::EC2::VPC", lambda _id, _old, new: {"CidrBlock": new.get("CidrBlock")})
    _HANDLERS["AWS::Glue::Table"] = _glue_table(_HANDLERS["AWS::Glue::Table"])
    _HANDLERS.setdefault("AWS::CloudWatch::CompositeAlarm", _COMPOSITE_ALARM)
    run_on_worker("AWS::Glue::Table", "AWS::CloudWatch::CompositeAlarm")
    rules = (
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
    )  # `security_groups` implements their effect
    for resource_type in (*recorded_types(), *rules):
        _HANDLERS.setdefault(resource_type, _record(resource_type))
    complete("AWS::Glue::TableOptimizer", jobs.check_optimizer)
    lambda_types.leave_layers_out()
    lambda_types.check_variables()


def run_on_worker(*resource_types: str) -> None:
    """Run these types' handlers on a worker thread: they call the embedded cloud, so they must not block its event loop."""
    if not _on_worker:
        runs = stacks._runs_on_worker_thread
        stacks._runs_on_worker_thread = lambda resource_type: resource_type in _on_worker or runs(resource_type)
    _on_worker.update(resource_types)


def _record(resource_type: str) -> dict[str, Any]:
    def create(logical_id: str, properties: Properties, stack: str) -> Created:
        return create_recorded(resource_type, logical_id, properties, stack, f"{get_region()}:{get_account_id()}")

    def update(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Created:
        made = create(logical_id, new, stack)
        return made if is_replaced(resource_type, old, new) else (physical_id, made[1])

    def delete(physical_id: str, _properties: Properties) -> None:
        _log.info("forgot %s %s", resource_type, physical_id)

    return {"create": create, "update": update, "update_with_logical_id": True, "delete": delete}


def _bus_settings(name: str, old: Properties, new: Properties) -> None:
    """Store policy, key and dead letters, which MiniStack drops, and remove a description with its property."""
    bus = eventbridge._event_buses[name]
    bus["Description"] = new.get("Description", "")
    for field in ("KmsKeyIdentifier", "DeadLetterConfig"):
        bus.pop(field, None)
        if field in new:
            bus[field] = new[field]
    if old.get("Policy") != new.get("Policy"):
        event_buses.set_policy(name, new.get("Policy"))


def _topic_settings(arn: str, old: Properties, new: Properties) -> None:
    """Store the topic's key, and limit its default policy to the account, as CreateTopic does."""
    # https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html
    # claim: topics-of-templates-are-as-those-of-calls
    attributes = sns._topics[arn]["attributes"]
    attributes.pop("KmsMasterKeyId", None)
    if "KmsMasterKeyId" in new:
        attributes["KmsMasterKeyId"] = new["KmsMasterKeyId"]
    if not old:
        policy = json.loads(attributes["Policy"])
        policy["Statement"][0]["Condition"] = {"StringEquals": {"AWS:SourceOwner": get_account_id()}}
        attributes["Policy"] = json.dumps(policy)


def _permissions_boundary(name: str, _old: Properties, new: Properties) -> None:
    """Set a role's permissions boundary, which MiniStack's handler drops."""
    iam._roles[name]["PermissionsBoundary"] = new.get("PermissionsBoundary")


def _table_settings(name: str, old: Properties, new: Properties) -> None:
    """Apply properties that MiniStack's table drops: time to live, point-in-time recovery, encryption at creation."""
    # claim: resource-fails-with-the-services-reason
    ttl = new.get("TimeToLiveSpecification")
    if ttl != old.get("TimeToLiveSpecification"):
        previous = old.get("TimeToLiveSpecification") or {}
        dropped = {"Enabled": False, "AttributeName": previous.get("AttributeName")}
        done(dynamodb._update_ttl({"TableName": name, "TimeToLiveSpecification": booleans(ttl or dropped)}))
    recovery = new.get("PointInTimeRecoverySpecification")
    if recovery != old.get("PointInTimeRecoverySpecification"):
        wanted = booleans(recovery or {"PointInTimeRecoveryEnabled": False})
        done(dynamodb._update_continuous_backups({"TableName": name, "PointInTimeRecoverySpecification": wanted}))
    encryption = new.get("SSESpecification")
    if encryption and not old:
        wanted = {
            "Enabled": str(encryption.get("SSEEnabled", False)).lower() == "true",
            "SSEType": encryption.get("SSEType"),
        }
        key = encryption.get("KMSMasterKeyId")
        description = dynamodb._sse_description_from_spec({**wanted, "KMSMasterKeyId": key} if key else wanted)
        dynamodb._tables[name]["SSEDescription"] = description


def _glue_table(hive: dict[str, Any]) -> dict[str, Any]:
    """Handle Iceberg tables with pyiceberg, and other tables with MiniStack."""

    def create(logical_id: str, properties: Properties, stack: str) -> Created:
        if not properties.get("OpenTableFormatInput"):
            made: Created = hive["create"](logical_id, properties, stack)
            return made
        from mlops_local.glue import iceberg_types  # noqa: PLC0415 - pyarrow takes a second to load, and most stacks have no table

        return iceberg_types.create(_catalog(), properties), {}

    def update(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Created:
        if not new.get("OpenTableFormatInput"):
            made: Created = hive["update"](physical_id, old, new, stack, logical_id)
            return made
        if any(old.get(name) != new.get(name) for name in ("DatabaseName", "Name", "CatalogId")):
            return create(logical_id, new, stack)
        from mlops_local.glue import iceberg_types  # noqa: PLC0415 - see create

        iceberg_types.update(_catalog(), old, new)
        return physical_id, {}

    return {"create": create, "update": update, "update_with_logical_id": True, "delete": hive["delete"]}


def _catalog() -> Any:
    """Return the Glue catalog of this cloud; on a worker thread only."""
    from pyiceberg.catalog.glue import GlueCatalog  # noqa: PLC0415 - see above

    from mlops_local import clients  # noqa: PLC0415 - needs the endpoint, which is known once the server runs

    return GlueCatalog("embedded", client=clients.client("glue"), **clients.iceberg_files())


def _alarm_arguments(name: str, properties: Properties) -> Properties:
    renamed = {key: value for key, value in properties.items() if key != "AlarmName"}
    if "ActionsSuppressorWaitPeriod" in renamed:
        renamed["ActionsSuppressorWaitPeriod"] = int(renamed["ActionsSuppressorWaitPeriod"])
    if "ActionsSuppressorExtensionPeriod" in renamed:
        renamed["ActionsSuppressorExtensionPeriod"] = int(renamed["ActionsSuppressorExtensionPeriod"])
    return {"AlarmName": name, **booleans(renamed)}


def _composite_create(logical_id: str, properties: Properties, stack: str) -> Created:
    from mlops_local import clients  # noqa: PLC0415 - see _catalog

    made, attributes = create_recorded(
        "AWS::CloudWatch::CompositeAlarm", logical_id, properties, stack, f"{get_region()}:{get_account_id()}"
    )
    clients.client("cloudwatch").put_composite_alarm(**_alarm_arguments(made, properties))
    return made, {**attributes, "Arn": f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{made}"}


def _composite_update(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Created:
    from mlops_local import clients  # noqa: PLC0415 - see _catalog

    if old.get("AlarmName") != new.get("AlarmName"):
        return _composite_create(logical_id, new, stack)
    check_schema("AWS::CloudWatch::CompositeAlarm", new)
    clients.client("cloudwatch").put_composite_alarm(**_alarm_arguments(physical_id, new))
    return physical_id, {"Arn": f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{physical_id}"}


def _composite_delete(physical_id: str, _properties: Properties) -> None:
    from mlops_local import clients  # noqa: PLC0415 - see _catalog

    clients.client("cloudwatch").delete_alarms(AlarmNames=[physical_id])


_COMPOSITE_ALARM = {
    "create": _composite_create,
    "update": _composite_update,
    "update_with_logical_id": True,
    "delete": _composite_delete,
}
