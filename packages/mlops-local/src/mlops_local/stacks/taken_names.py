"""Names of resources: existing names are rejected on creation, and generated names are unique.

MiniStack's handlers overwrite an existing resource of the same name, and derive generated names from stack and logical id only, so
that a redeployed stack would adopt retained resources of the previous one. Both would hide AWS's behaviour for retained resources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ministack.core.responses import new_uuid
from ministack.services import (
    alb,
    cloudwatch,
    cloudwatch_logs,
    dynamodb,
    eventbridge,
    glue,
    iam,
    kms,
    lambda_svc,
    secretsmanager,
    sns,
    sqs,
    ssm,
    stepfunctions,
)
from ministack.services.cloudformation import provisioners, stacks

from mlops_local.saved_state import kept_stores
from mlops_local.stacks import recorded_types, resource_types

Properties = dict[str, Any]
_LOG_GROUP_NAME = 512  # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
# recorded resources, which exist only as records of stacks, by type and physical id
_recorded: set[tuple[str, str]] = kept_stores.keep(__name__, "_recorded", set())


class AlreadyExistsError(ValueError):
    """The name of a new resource is in use; the message is CloudFormation's."""

    def __init__(self, resource_type: str, name: str) -> None:
        super().__init__(
            f"Resource handler returned message: \"Resource of type '{resource_type}' with identifier '{name}' already "
            'exists." (HandlerErrorCode: AlreadyExists)'
        )


def install() -> None:
    """Check names before every create, and add a unique part to generated names."""
    provision = stacks._provision_resource

    def provisioned(resource_type: str, logical_id: str, props: Properties, stack_name: str) -> Any:
        # claim: cloudformation-refuses-a-name-that-exists
        check(resource_type, props)
        if not provisioners._NAME_SEED.get():
            # claim: cloudformation-generates-new-names
            provisioners._NAME_SEED.set(new_uuid()[:8])
        return provision(resource_type, logical_id, props, stack_name)

    stacks._provision_resource = provisioned
    handlers = provisioners._RESOURCE_HANDLERS
    _name_log_groups(handlers["AWS::Logs::LogGroup"])
    for resource_type, name in (("AWS::DynamoDB::Table", "TableName"), ("AWS::S3::Bucket", "BucketName")):
        _keep_name(handlers[resource_type], name)
    _protect(handlers["AWS::DynamoDB::Table"], _table_is_protected)
    _protect(handlers["AWS::ElasticLoadBalancingV2::LoadBalancer"], _balancer_is_protected)
    for resource_type in recorded_types.recorded_types():
        _remember(resource_type, handlers[resource_type])


def check(resource_type: str, properties: Mapping[str, Any]) -> None:
    """Reject the creation of an existing resource; without a fixed name there is no conflict.

    Raises:
        AlreadyExistsError: If a resource of the type has the name.
    """
    # claim: cloudformation-refuses-a-name-that-exists
    taken = _TAKEN.get(resource_type)
    name = None if taken is None else taken(properties)
    if name is not None:
        raise AlreadyExistsError(resource_type, name)


def _named(name: str, exists: Callable[[str], object]) -> Callable[[Mapping[str, Any]], str | None]:
    """Return a check by one property."""

    def taken(properties: Mapping[str, Any]) -> str | None:
        value = properties.get(name)
        return str(value) if value and exists(str(value)) else None

    return taken


def _ends(records: Any, name: str) -> bool:
    """Return whether an ARN of a store ends with a name."""
    return any(str(arn).rpartition(":")[2].rpartition("/")[2] == name for arn in list(records))


def _rule(properties: Mapping[str, Any]) -> str | None:
    name = properties.get("Name")
    if not name:
        return None
    key = eventbridge._rule_key(name, provisioners._eb_rule_bus_name(properties))
    return str(name) if key in eventbridge._rules else None


def _database(properties: Mapping[str, Any]) -> str | None:
    name = properties.get("DatabaseName") or (properties.get("DatabaseInput") or {}).get("Name")
    return str(name) if name and str(name).lower() in glue._databases else None


def _glue_table(properties: Mapping[str, Any]) -> str | None:
    name = (properties.get("TableInput") or {}).get("Name") or properties.get("Name")
    key = f"{properties.get('DatabaseName', '')}/{name}"
    return key if name and key in glue._tables else None


# behaviour of each type's handler; some APIs are idempotent or overwrite, but their handlers must not
# claim: cloudformation-refuses-a-topic-that-exists
# claim: cloudformation-refuses-a-rule-that-exists
# claim: cloudformation-refuses-an-alarm-that-exists
_TAKEN: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "AWS::CloudWatch::Alarm": _named("AlarmName", lambda name: name in cloudwatch._alarms),
    "AWS::CloudWatch::CompositeAlarm": _named("AlarmName", lambda name: name in cloudwatch._composite_alarms),
    "AWS::CloudWatch::Dashboard": _named("DashboardName", lambda name: name in cloudwatch._dashboards),
    "AWS::DynamoDB::Table": _named("TableName", lambda name: name in dynamodb._tables),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _named(
        "Name", lambda name: any(found["LoadBalancerName"] == name for found in list(alb._lbs.values()))
    ),
    "AWS::ElasticLoadBalancingV2::TargetGroup": _named(
        "Name", lambda name: any(found["TargetGroupName"] == name for found in list(alb._tgs.values()))
    ),
    "AWS::Events::EventBus": _named("Name", lambda name: name in eventbridge._event_buses),
    "AWS::Events::Rule": _rule,
    "AWS::Glue::Database": _database,
    "AWS::Glue::Job": _named("Name", lambda name: name in glue._jobs),
    "AWS::Glue::Table": _glue_table,
    "AWS::IAM::ManagedPolicy": _named("ManagedPolicyName", lambda name: _ends(iam._policies, name)),
    "AWS::IAM::Role": _named("RoleName", lambda name: name in iam._roles),
    "AWS::KMS::Alias": _named("AliasName", lambda name: kms._alias_arn(name) in kms._aliases),
    "AWS::Lambda::Function": _named("FunctionName", lambda name: name in lambda_svc._functions),
    "AWS::Logs::LogGroup": _named("LogGroupName", lambda name: name in cloudwatch_logs._log_groups),
    "AWS::SNS::Topic": _named("TopicName", lambda name: _ends(sns._topics, name)),
    "AWS::SQS::Queue": _named("QueueName", lambda name: name in sqs._queue_name_to_url),
    "AWS::SSM::Parameter": _named("Name", lambda name: ssm._lookup_parameter(name)[1] is not None),
    "AWS::SecretsManager::Secret": _named(
        "Name", lambda name: any(found.get("Name") == name for found in list(secretsmanager._secrets.values()))
    ),
    "AWS::StepFunctions::StateMachine": _named(
        "StateMachineName", lambda name: _ends(stepfunctions._state_machines, name)
    ),
}


def types() -> frozenset[str]:
    """Return the types whose existing names are rejected here; recorded types and SageMaker's have their own checks."""
    return frozenset(_TAKEN)


def _name_log_groups(handler: dict[str, Any]) -> None:
    """Name log groups as CloudFormation does, by stack, logical id and a unique part, and keep the name on updates."""
    create = handler["create"]

    def created(logical_id: str, properties: Properties, stack: str) -> Any:
        # claim: cloudformation-refuses-a-name-that-exists
        name = properties.get("LogGroupName") or provisioners._physical_name(stack, logical_id, max_len=_LOG_GROUP_NAME)
        return create(logical_id, {**properties, "LogGroupName": name}, stack)

    handler["create"] = created
    _keep_name(handler, "LogGroupName")


def _keep_name(handler: dict[str, Any], name: str) -> None:
    """Update a resource under its existing name, even if it was imported and another name would be generated.

    claim: cloudformation-keeps-the-name-of-what-was-imported
    """
    update = handler["update"]

    def updated(physical_id: str, old: Properties, new: Properties, *rest: Any) -> Any:
        # claim: cloudformation-refuses-a-name-that-exists
        if old.get(name) or new.get(name) or any(old.get(key) != new.get(key) for key in _CREATE_ONLY):
            return update(physical_id, old, new, *rest)
        return update(physical_id, {**old, name: physical_id}, {**new, name: physical_id}, *rest)

    handler["update"] = updated


# a change of these properties replaces the table, which then gets another name
_CREATE_ONLY = ("KeySchema", "LocalSecondaryIndexes")


def _protect(handler: dict[str, Any], is_protected: Callable[[str], str | None]) -> None:
    """Reject the deletion of protected resources, for any caller.

    claim: cloudformation-deletes-nothing-that-is-protected
    """
    delete = handler["delete"]

    def deleted(physical_id: str, properties: Properties) -> None:
        # claim: cloudformation-deletes-nothing-that-is-protected
        reason = is_protected(physical_id)
        if reason is not None:
            raise ValueError(f'Resource handler returned message: "{reason}" (HandlerErrorCode: ResourceConflict)')
        delete(physical_id, properties)

    handler["delete"] = deleted


def _table_is_protected(name: str) -> str | None:
    table = dynamodb._tables.get(name) or {}
    if str(table.get("DeletionProtectionEnabled", False)).lower() != "true":
        return None
    return (
        "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first."
    )


def _balancer_is_protected(arn: str) -> str | None:
    attributes = {entry["Key"]: entry["Value"] for entry in alb._lb_attrs.get(arn) or []}
    if attributes.get("deletion_protection.enabled") != "true":
        return None
    return f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled"


def _remember(resource_type: str, handler: dict[str, Any]) -> None:
    """Reject a second recorded resource with the same identity: only its record could conflict."""
    create, update, delete = handler["create"], handler["update"], handler["delete"]
    schema = resource_types.schema(resource_type)
    identity = [path.rpartition("/")[2] for path in schema.get("primaryIdentifier", [])]
    is_generated = set(schema.get("readOnlyProperties", [])) & set(schema.get("primaryIdentifier", []))

    def created(logical_id: str, properties: Properties, stack: str) -> Any:
        # claim: cloudformation-refuses-a-name-that-exists
        made = create(logical_id, properties, stack)
        if not is_generated and all(name in properties for name in identity):
            if (resource_type, made[0]) in _recorded:
                raise AlreadyExistsError(resource_type, made[0])
            _recorded.add((resource_type, made[0]))
        return made

    def updated(physical_id: str, old: Properties, new: Properties, *rest: Any) -> Any:
        # claim: cloudformation-refuses-a-name-that-exists
        made = update(physical_id, old, new, *rest)
        if made[0] != physical_id and (resource_type, physical_id) in _recorded:
            if (resource_type, made[0]) in _recorded:
                raise AlreadyExistsError(resource_type, made[0])
            _recorded.add((resource_type, made[0]))
        return made

    def deleted(physical_id: str, properties: Properties) -> None:
        # claim: cloudformation-deletes-nothing-that-is-protected
        delete(physical_id, properties)
        _recorded.discard((resource_type, physical_id))

    handler.update(create=created, update=updated, delete=deleted)
