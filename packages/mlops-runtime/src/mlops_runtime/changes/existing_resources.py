"""Existing resources with names that a deployment would create, and how to adopt each into its stack.

CloudFormation cannot create a resource whose name exists. Resources that a deleted PRODUCTION stack retained can be imported
instead, or deleted if they are no longer needed. A name that the caller may not read is only reported.

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
    """A resource that a deployment would create under a fixed name."""

    stack: str
    logical_id: str
    type: str
    name: str  # its name in the template
    parent: str = ""  # scope of the name: a table's database, a rule's bus, an access entry's cluster
    construct_path: str | None = None  # path of the construct. Default: unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """A resource that exists, or whose existence could not be checked."""

    resource: NamedResource  # the resource that would be created
    # identifier for CloudFormation's import, by property; empty for a type without data, and for a Glue table
    identifier: Mapping[str, str]
    reason: str | None = None  # why it could not be checked. Default: it was checked and exists

    @property
    def text(self) -> str:
        """One sentence on the resource and how to adopt it."""
        one = self.resource
        where = "" if one.construct_path is None else f", {one.construct_path}"
        name = f"{one.parent}/{one.name}" if one.parent else one.name
        if self.reason is not None:
            return f"{one.logical_id} ({one.type}{where}): cannot check whether {name} exists: {self.reason}"
        if self.identifier:
            mapping = json.dumps({one.logical_id: dict(self.identifier)}, separators=(",", ":"))
            way = (
                f"adopt all resources that a deleted stack retained with mlops plan {one.stack} --mapping adopt.json "
                f"(docs/adopt.md), or only this one with cdk import {one.stack} --resource-mapping-inline '{mapping}'"
            )
        elif one.type == "AWS::Glue::Table":
            way = "CloudFormation cannot import its type: see docs/adopt.md to keep its content"
        else:
            way = f"import it into the stack with cdk import {one.stack}"
        return f"{one.logical_id} ({one.type}{where}): {name} already exists; {way}, or delete it if it is not needed"


# path of the property with the name, and of the one with its scope
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
# identifier property for CloudFormation's import of a type, if the name is its value; the registry's primary identifiers
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
    """Yield the resources that a deployment would create under a fixed name."""
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
    """Return why the deployment would fail: existing names, without those that could not be checked."""
    return [one.text for one in existing if one.reason is None]


def _found(properties: Mapping[str, Any], path: str) -> Any:
    value: Any = properties
    for key in path.split("/"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _text(template: Template, value: Any) -> str:
    """Return a name; a reference to another resource of the template is replaced by that resource's fixed name."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and set(value) == {"Ref"}:
        body = template.resources().get(str(value["Ref"]))
        if body is not None and body["Type"] in _NAMES:
            found = _found(template.properties(body), _NAMES[str(body["Type"])][0])
            return found if isinstance(found, str) else ""
    return ""
