"""CloudFormation types beyond MiniStack's own: executed here, or recorded by `mlops_local.recorded`.

An unknown type is refused by MiniStack before anything is made. Handlers have MiniStack's shape: `create(logical id, properties,
stack)`, `update(physical id, old, new, stack)`, `delete(physical id, properties)`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import dynamodb, eventbridge, iam, sns
from ministack.services.cloudformation import provisioners, stacks

from mlops_local import compat, glue_jobs, lambda_types, recorded, s3_bucket, settings

compat.expect(
    "ministack.services.dynamodb",
    _sse_description_from_spec="(spec)",
    _tables=object,
    _update_continuous_backups="(data)",
    _update_ttl="(data)",
)
compat.expect("ministack.services.eventbridge", _event_buses=object)
compat.expect("ministack.services.sns", _topics=object)
compat.expect(
    "ministack.services.iam",
    _roles=object,
)
compat.expect(
    "ministack.services.cloudformation.provisioners",
    _RESOURCE_HANDLERS=dict,
)
compat.expect(
    "ministack.services.cloudformation.stacks",
    _runs_on_worker_thread="(resource_type)",
)


Properties = dict[str, Any]
Created = tuple[str, dict[str, Any]]
_HANDLERS = provisioners._RESOURCE_HANDLERS
_log = logging.getLogger("mlops_local.cloudformation")
_on_worker: set[str] = set()


def install() -> None:
    """Register the types; others that are registered already keep their handlers."""
    s3_bucket.install(_HANDLERS)
    _wrap("AWS::DynamoDB::Table", _table_settings)
    _wrap("AWS::Events::EventBus", _bus_settings)
    _wrap("AWS::SNS::Topic", _topic_settings)
    _wrap("AWS::IAM::Role", _permissions_boundary)
    _wrap("AWS::Lambda::LayerVersion", lambda_types.check_layer)
    _wrap("AWS::Lambda::Function", lambda_types.complete_function)
    _wrap("AWS::Lambda::EventSourceMapping", lambda_types.check_mapping)
    _wrap("AWS::EC2::VPC", _nothing_more, attributes={"CidrBlock": "CidrBlock"})
    _HANDLERS["AWS::Glue::Table"] = _glue_table(_HANDLERS["AWS::Glue::Table"])
    _HANDLERS.setdefault("AWS::CloudWatch::CompositeAlarm", _COMPOSITE_ALARM)
    run_on_worker("AWS::Glue::Table", "AWS::CloudWatch::CompositeAlarm")
    rules = (
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
    )  # `security_groups` gives them their effect
    for resource_type in (*recorded.types(), *rules):
        _HANDLERS.setdefault(resource_type, _record(resource_type))
    _wrap("AWS::Glue::TableOptimizer", glue_jobs.check_optimizer)
    lambda_types.leave_layers_out()


def run_on_worker(*resource_types: str) -> None:
    """Provision these types on a worker thread: their handlers call the embedded cloud, whose event loop must stay free."""
    if not _on_worker:
        runs = stacks._runs_on_worker_thread
        stacks._runs_on_worker_thread = lambda resource_type: resource_type in _on_worker or runs(resource_type)
    _on_worker.update(resource_types)


def _wrap(
    resource_type: str,
    after: Callable[[str, Properties, Properties], None],
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Complete a type of MiniStack's.

    Args:
        resource_type: The type.
        after: Called with physical id, old and new properties behind create and update.
        attributes: Attributes that are a property's value, by name. Default: MiniStack's attributes are complete.
    """
    handler = _HANDLERS[resource_type]
    missing = attributes or {}
    create, update = handler["create"], handler.get("update")

    def created(logical_id: str, properties: Properties, stack: str) -> Created:
        result: Created = create(logical_id, properties, stack)
        try:
            after(result[0], {}, properties)
        except Exception:
            handler["delete"](result[0], properties)  # a failed create has no physical id to roll back by
            raise
        return result[0], {**result[1], **{name: properties.get(value) for name, value in missing.items()}}

    def updated(physical_id: str, old: Properties, new: Properties, *rest: Any) -> Created:
        result: Created = update(physical_id, old, new, *rest)
        after(result[0], old, new)
        return result[0], {**result[1], **{name: new.get(value) for name, value in missing.items()}}

    handler["create"] = created
    if update is not None:
        handler["update"] = updated


def _record(resource_type: str) -> dict[str, Any]:
    def create(logical_id: str, properties: Properties, stack: str) -> Created:
        return recorded.create(resource_type, logical_id, properties, stack, f"{get_region()}:{get_account_id()}")

    def update(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Created:
        made = create(logical_id, new, stack)
        return made if recorded.replaces(resource_type, old, new) else (physical_id, made[1])

    def delete(physical_id: str, _properties: Properties) -> None:
        _log.info("forgot %s %s", resource_type, physical_id)

    return {"create": create, "update": update, "update_with_logical_id": True, "delete": delete}


def _nothing_more(_physical_id: str, _old: Properties, _new: Properties) -> None:
    """Leave a type as MiniStack makes it."""


def _bus_settings(name: str, _old: Properties, new: Properties) -> None:
    """Keep key and dead letters, which MiniStack leaves out of a template, and take a description away with its property."""
    bus = eventbridge._event_buses[name]
    bus["Description"] = new.get("Description", "")
    for field in ("KmsKeyIdentifier", "DeadLetterConfig"):
        bus.pop(field, None)
        if field in new:
            bus[field] = new[field]


def _topic_settings(arn: str, old: Properties, new: Properties) -> None:
    """Keep the topic's key, and let its default policy admit the account alone, as that of CreateTopic does.

    See: https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html
    """
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
    """Give a role its boundary, which MiniStack's handler drops."""
    iam._roles[name]["PermissionsBoundary"] = new.get("PermissionsBoundary")


def _table_settings(name: str, old: Properties, new: Properties) -> None:
    """Apply what MiniStack's table drops: time to live, point-in-time recovery, encryption at creation."""
    ttl = new.get("TimeToLiveSpecification")
    if ttl != old.get("TimeToLiveSpecification"):
        previous = old.get("TimeToLiveSpecification") or {}
        dropped = {"Enabled": False, "AttributeName": previous.get("AttributeName")}
        _done(dynamodb._update_ttl({"TableName": name, "TimeToLiveSpecification": _booleans(ttl or dropped)}))
    recovery = new.get("PointInTimeRecoverySpecification")
    if recovery != old.get("PointInTimeRecoverySpecification"):
        wanted = _booleans(recovery or {"PointInTimeRecoveryEnabled": False})
        _done(dynamodb._update_continuous_backups({"TableName": name, "PointInTimeRecoverySpecification": wanted}))
    encryption = new.get("SSESpecification")
    if encryption and not old:
        wanted = {
            "Enabled": str(encryption.get("SSEEnabled", False)).lower() == "true",
            "SSEType": encryption.get("SSEType"),
        }
        key = encryption.get("KMSMasterKeyId")
        description = dynamodb._sse_description_from_spec({**wanted, "KMSMasterKeyId": key} if key else wanted)
        dynamodb._tables[name]["SSEDescription"] = description


def _booleans(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn CloudFormation's `"true"` into the API's `true`."""
    words = {"true": True, "false": False}
    return {key: words.get(value, value) if isinstance(value, str) else value for key, value in settings.items()}


def _done(response: tuple[int, Any, bytes]) -> None:
    # claim: resource-fails-with-the-services-reason
    if response[0] >= 400:
        raise ValueError(response[2].decode("utf-8", "replace"))


def _glue_table(hive: dict[str, Any]) -> dict[str, Any]:
    """Handle Iceberg tables through pyiceberg, and leave others to MiniStack."""

    def create(logical_id: str, properties: Properties, stack: str) -> Created:
        if not properties.get("OpenTableFormatInput"):
            made: Created = hive["create"](logical_id, properties, stack)
            return made
        from mlops_local import iceberg  # noqa: PLC0415 - pyarrow takes a second to load, and most stacks have no table

        return iceberg.create(_catalog(), properties), {}

    def update(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Created:
        if not new.get("OpenTableFormatInput"):
            made: Created = hive["update"](physical_id, old, new, stack, logical_id)
            return made
        if any(old.get(name) != new.get(name) for name in ("DatabaseName", "Name", "CatalogId")):
            return create(logical_id, new, stack)
        from mlops_local import iceberg  # noqa: PLC0415 - see create

        iceberg.update(_catalog(), old, new)
        return physical_id, {}

    return {"create": create, "update": update, "update_with_logical_id": True, "delete": hive["delete"]}


def _catalog() -> Any:
    """Open the Glue catalog of this cloud; on a worker thread only."""
    from pyiceberg.catalog.glue import GlueCatalog  # noqa: PLC0415 - see above

    from mlops_local import clients  # noqa: PLC0415 - needs the endpoint, which is known once the server runs

    glue = clients.client("glue")
    endpoint = glue.meta.endpoint_url
    root = settings.root_keys()
    keys = {"s3.access-key-id": root["aws_access_key_id"], "s3.secret-access-key": root["aws_secret_access_key"]}
    return GlueCatalog("embedded", client=glue, **{"s3.endpoint": endpoint, "s3.region": get_region(), **keys})


def _alarm_arguments(name: str, properties: Properties) -> Properties:
    renamed = {key: value for key, value in properties.items() if key != "AlarmName"}
    if "ActionsSuppressorWaitPeriod" in renamed:
        renamed["ActionsSuppressorWaitPeriod"] = int(renamed["ActionsSuppressorWaitPeriod"])
    if "ActionsSuppressorExtensionPeriod" in renamed:
        renamed["ActionsSuppressorExtensionPeriod"] = int(renamed["ActionsSuppressorExtensionPeriod"])
    return {"AlarmName": name, **_booleans(renamed)}


def _composite_create(logical_id: str, properties: Properties, stack: str) -> Created:
    from mlops_local import clients  # noqa: PLC0415 - see _catalog

    made, attributes = recorded.create(
        "AWS::CloudWatch::CompositeAlarm", logical_id, properties, stack, f"{get_region()}:{get_account_id()}"
    )
    clients.client("cloudwatch").put_composite_alarm(**_alarm_arguments(made, properties))
    return made, {**attributes, "Arn": f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{made}"}


def _composite_update(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Created:
    from mlops_local import clients  # noqa: PLC0415 - see _catalog

    if old.get("AlarmName") != new.get("AlarmName"):
        return _composite_create(logical_id, new, stack)
    recorded.validate("AWS::CloudWatch::CompositeAlarm", new)
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
