"""Plan of a deployment: changes of each resource, and the changes that are refused unless they are explicitly allowed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Action(StrEnum):
    """Change of a resource by a deployment."""

    CREATED = "created"
    CHANGED = "changed"
    REPLACED = "replaced"
    MAY_BE_REPLACED = "may be replaced"
    DELETED = "deleted"
    IMPOSSIBLE = "impossible"


class Effect(StrEnum):
    """Effect of a property's change on its resource."""

    UPDATE = "update"
    REPLACE = "replace"
    MAY_REPLACE = "may replace"
    FUNCTION_DECIDES = "its function decides"


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyChange:
    """One property that changes."""

    path: str  # path, such as `Environment.Variables.UNIT`; an attribute is in parentheses, such as `(DeletionPolicy)`
    effect: Effect  # effect on the resource
    # logical id of the resource whose change causes the new value. Default: the template changes it
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceChange:
    """Change of one resource."""

    logical_id: str
    type: str  # its type in the new template, or in the deployed one if it is deleted
    action: Action  # kind of the change
    construct_path: str | None = None  # path of the construct, from CDK's metadata in the template. Default: unknown
    properties: tuple[PropertyChange, ...] = ()  # changed properties. Default: none, for a created or deleted resource
    holds_data: bool = False  # whether its loss cannot be undone by a template
    # whether the old resource is retained in the account, outside of the stack, when it is replaced or deleted
    is_kept: bool = False
    moved_to: str | None = None  # logical id of an equal resource that is created instead
    was: str | None = None  # its type in the deployed template, if different. Default: the same

    @property
    def is_tags_only(self) -> bool:
        """Whether only tags change."""
        return bool(self.properties) and all(
            change.path.partition(".")[0].partition("[")[0] in {"Tags", "TagList", "HostedZoneTags"}
            for change in self.properties
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StackChanges:
    """Changes of one stack."""

    stack: str
    is_new: bool  # whether the stack does not exist yet
    changes: tuple[ResourceChange, ...]  # changed resources in the template's order, deleted ones last


# stateful types of CDK's service database (without log groups: important ones are declared to be retained; without queues: their
# senders repeat messages in flight; for dead-letter queues see `dead_letter_queues`), and types with models and features
STATEFUL = frozenset(
    {
        "AWS::Backup::BackupVault",
        "AWS::CloudFormation::Stack",
        "AWS::Cognito::UserPool",
        "AWS::DocDB::DBCluster",
        "AWS::DocDB::DBInstance",
        "AWS::DynamoDB::GlobalTable",
        "AWS::DynamoDB::Table",
        "AWS::EC2::Volume",
        "AWS::ECR::Repository",
        "AWS::EFS::FileSystem",
        "AWS::EKS::Cluster",
        "AWS::EMR::Cluster",
        "AWS::ElastiCache::CacheCluster",
        "AWS::ElastiCache::ReplicationGroup",
        "AWS::FSx::FileSystem",
        "AWS::Glue::Database",
        "AWS::Glue::Table",
        "AWS::KMS::Key",
        "AWS::Kinesis::Stream",
        "AWS::Neptune::DBCluster",
        "AWS::Neptune::DBInstance",
        "AWS::OpenSearchService::Domain",
        "AWS::RDS::DBCluster",
        "AWS::RDS::DBInstance",
        "AWS::Redshift::Cluster",
        "AWS::S3::Bucket",
        "AWS::SDB::Domain",
        "AWS::SageMaker::Endpoint",
        "AWS::SageMaker::FeatureGroup",
        "AWS::SageMaker::ModelPackageGroup",
        "AWS::SecretsManager::Secret",
        # their functions delete the endpoint or the slots on a cluster, and empty the bucket or the group (see empties_nothing)
        "Custom::BucketSweep",
        "Custom::MLOpsManifests",
        "Custom::MLOpsServingSpec",
        "Custom::ModelPackageSweep",
    }
)
_KEEPING = frozenset({"Retain", "RetainExceptOnCreate", "Snapshot"})
LOSING = frozenset({Action.REPLACED, Action.MAY_BE_REPLACED, Action.DELETED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A change that is refused unless it is explicitly allowed."""

    stack: str
    logical_id: str  # logical id of the resource
    text: str  # the change, the reason of the refusal, and the fix


def holds_data(body: Mapping[str, Any]) -> bool:
    """Return whether a resource has content that a template cannot restore, or is declared to be retained."""
    policies = {body.get("DeletionPolicy"), body.get("UpdateReplacePolicy")}
    return body.get("Type") in STATEFUL or bool(policies & _KEEPING)


def is_kept(body: Mapping[str, Any], action: Action) -> bool:
    """Return whether the old resource is retained in the account after a replacement or deletion.

    See: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatereplacepolicy.html
    """
    policy = "DeletionPolicy" if action is Action.DELETED else "UpdateReplacePolicy"
    return action in LOSING and body.get(policy) in _KEEPING


def refusals(stacks: Iterable[StackChanges], allowed: Sequence[str] = ()) -> list[Refusal]:
    """Return the refused changes.

    Args:
        stacks: Changes of the stacks.
        allowed: Logical ids of resources that may be replaced or deleted. Default: none.
    """
    return [
        Refusal(stack=found.stack, logical_id=change.logical_id, text=_text(change))
        for found in stacks
        for change in found.changes
        if change.action is Action.IMPOSSIBLE
        or (change.holds_data and change.action in LOSING and change.logical_id not in allowed)
    ]


def unused_names(stacks: Iterable[StackChanges], allowed: Sequence[str]) -> list[str]:
    """Return the allowed names without a matching change: a forgotten one would allow a later change."""
    needed = {
        change.logical_id
        for found in stacks
        for change in found.changes
        if change.holds_data and change.action in LOSING
    }
    return [name for name in allowed if name not in needed]


def _text(change: ResourceChange) -> str:
    where = "" if change.construct_path is None else f", {change.construct_path}"
    name = f"{change.logical_id} ({change.type}{where})"
    if change.action is Action.IMPOSSIBLE:
        return (
            f"{name} is currently {change.was}, and CloudFormation cannot change the type of a resource; use another construct "
            "id for the new one"
        )
    fix = "undo the change"
    if change.moved_to is not None:
        fix = f"{change.moved_to} is created with the same properties: a construct id was changed, change it back"
    return f"{name} would be {_what(change)}; {fix}, or allow it with --allow {change.logical_id}"


def _what(change: ResourceChange) -> str:
    kept = ", and the old one retained outside of the stack" if change.is_kept else ", with its content"
    if change.action is Action.DELETED:
        return f"deleted from the stack{kept}"
    by = [
        c.path if c.cause is None else f"{c.path} through {c.cause}"
        for c in change.properties
        if c.effect in (Effect.REPLACE, Effect.MAY_REPLACE)
    ]
    word = "replaced" if change.action is Action.REPLACED else "replaced, perhaps,"
    return f"{word} by {' and '.join(by)}{kept}"
