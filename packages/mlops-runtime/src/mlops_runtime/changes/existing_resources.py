"""Names that exist already although a deployment would create them, and how each resource is adopted into its stack.

CloudFormation refuses to create what exists. Resources that a deleted PRODUCTION stack retained are imported instead; those
no longer needed are deleted. A name that the caller may not read is only reported.

See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-manually.html
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_runtime.changes.plan import Action, StackChanges
from mlops_runtime.changes.template import Template, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedResource:
    """A resource that a deployment would create under a fixed name.

    Args:
        stack: Name of the stack.
        logical_id: Its logical id.
        type: Its type.
        name: Its name, as the template fixes it.
        parent: What the name is within: a table's database, a rule's bus, an access entry's cluster. Default: nothing.
        construct_path: Path of the construct. Default: it is not known.
    """

    stack: str
    logical_id: str
    type: str
    name: str
    parent: str = ""
    construct_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """What has the name.

    Args:
        resource: What would be created.
        identifier: What CloudFormation's import asks for, by property; empty for a type that keeps no data, and a Glue table.
        reason: Why it could not be checked. Default: it was, and exists.
    """

    resource: NamedResource
    identifier: Mapping[str, str]
    reason: str | None = None

    @property
    def text(self) -> str:
        """What it is and how it is adopted, as one sentence."""
        one = self.resource
        where = "" if one.construct_path is None else f", {one.construct_path}"
        name = f"{one.parent}/{one.name}" if one.parent else one.name
        if self.reason is not None:
            return f"{one.logical_id} ({one.type}{where}): cannot check whether {name} exists: {self.reason}"
        if self.identifier:
            mapping = json.dumps({one.logical_id: dict(self.identifier)}, separators=(",", ":"))
            way = (
                f"adopt all that a deleted stack kept with mlops plan {one.stack} --mapping adopt.json (docs/adopt.md), or "
                f"this one alone with cdk import {one.stack} --resource-mapping-inline '{mapping}'"
            )
        elif one.type == "AWS::Glue::Table":
            way = "CloudFormation cannot import its type: docs/adopt.md says how its content is kept"
        else:
            way = f"take it into the stack with cdk import {one.stack}"
        return f"{one.logical_id} ({one.type}{where}): {name} exists already; {way}, or delete it if it is not needed"


# the property that fixes a name, as a path, and the one that it is within
_NAMES: dict[str, tuple[str, str]] = {
    "AWS::CloudWatch::Alarm": ("AlarmName", ""),
    "AWS::CloudWatch::CompositeAlarm": ("AlarmName", ""),
    "AWS::CloudWatch::Dashboard": ("DashboardName", ""),
    "AWS::DynamoDB::Table": ("TableName", ""),
    "AWS::EKS::AccessEntry": ("PrincipalArn", "ClusterName"),
    "AWS::Events::EventBus": ("Name", ""),
    "AWS::Events::Rule": ("Name", "EventBusName"),
    "AWS::Glue::DataQualityRuleset": ("Name", ""),
    "AWS::Glue::Database": ("DatabaseInput/Name", ""),
    "AWS::Glue::Job": ("Name", ""),
    "AWS::Glue::Table": ("TableInput/Name", "DatabaseName"),
    "AWS::IAM::ManagedPolicy": ("ManagedPolicyName", ""),
    "AWS::IAM::Role": ("RoleName", ""),
    "AWS::KMS::Alias": ("AliasName", ""),
    "AWS::Lambda::Function": ("FunctionName", ""),
    "AWS::Logs::LogGroup": ("LogGroupName", ""),
    "AWS::S3::Bucket": ("BucketName", ""),
    "AWS::SNS::Topic": ("TopicName", ""),
    "AWS::SQS::Queue": ("QueueName", ""),
    "AWS::SSM::Parameter": ("Name", ""),
    "AWS::SageMaker::ModelPackageGroup": ("ModelPackageGroupName", ""),
    "AWS::StepFunctions::StateMachine": ("StateMachineName", ""),
}
# claim: cloudformation-imports-no-glue-table
# the one property by which CloudFormation imports a type, where the name is its value; the registry's primary identifiers
IDENTIFIERS: dict[str, str] = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Glue::Database": "DatabaseName",
    "AWS::KMS::Key": "KeyId",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupArn",
}


def types() -> frozenset[str]:
    """Return the types whose fixed names are checked."""
    return frozenset(_NAMES)


def named(changes: StackChanges, new: Template) -> Iterator[NamedResource]:
    """Yield what a deployment would create under a name that is known before."""
    bodies = new.resources()
    for change in changes.changes:
        body = bodies.get(change.logical_id)
        if change.action is not Action.CREATED or change.type not in _NAMES or body is None:
            continue
        properties = new.properties(body)
        where, within = _NAMES[change.type]
        name = _found(properties, where) or (_found(properties, "Name") if change.type == "AWS::Glue::Table" else None)
        parent = _text(new, _found(properties, within)) if within else ""
        if not isinstance(name, str) or not name or unknown(name):
            continue
        yield NamedResource(
            stack=changes.stack,
            logical_id=change.logical_id,
            type=change.type,
            name=name,
            parent=parent,
            construct_path=change.construct_path,
        )


def refusals_of(existing: Iterable[Existing]) -> list[str]:
    """Return why the deployment would fail: names that exist, not those that could not be checked."""
    return [one.text for one in existing if one.reason is None]


def _found(properties: Mapping[str, Any], path: str) -> Any:
    value: Any = properties
    for key in path.split("/"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _text(template: Template, value: Any) -> str:
    """Return a name that refers to another resource of the template by that one's own fixed name."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and set(value) == {"Ref"}:
        body = template.resources().get(str(value["Ref"]))
        if body is not None and body["Type"] in _NAMES:
            found = _found(template.properties(body), _NAMES[str(body["Type"])][0])
            return found if isinstance(found, str) else ""
    return ""
