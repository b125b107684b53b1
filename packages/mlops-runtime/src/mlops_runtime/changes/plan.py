"""The plan of a deployment: what happens to each resource, and which changes are refused unless they are named."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Action(StrEnum):
    """What a deployment does to a resource."""

    CREATED = "created"
    CHANGED = "changed"
    REPLACED = "replaced"
    MAY_BE_REPLACED = "may be replaced"
    DELETED = "deleted"
    IMPOSSIBLE = "impossible"


class Effect(StrEnum):
    """What the change of one property does to its resource."""

    UPDATE = "update"
    REPLACE = "replace"
    MAY_REPLACE = "may replace"
    FUNCTION_DECIDES = "its function decides"


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyChange:
    """One property that changes.

    Args:
        path: Where it is, such as ``Environment.Variables.UNIT``; an attribute is in parentheses, such as ``(DeletionPolicy)``.
        effect: What that does to the resource.
        cause: Logical id of the resource whose own change gives another value. Default: the template changes it.
    """

    path: str
    effect: Effect
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceChange:
    """What happens to one resource.

    Args:
        logical_id: Its logical id.
        type: Its type in the new template, or in the deployed one if it is deleted.
        action: What happens.
        construct_path: Path of the construct, as CDK writes it into the template. Default: it is not known.
        properties: What changes. Default: all of it, as it is created or deleted.
        holds_data: Whether something is lost with it that a template cannot bring back. Default: nothing is.
        is_kept: Whether the old resource stays in the account, outside of the stack, when it is replaced or deleted.
            Default: it goes.
        moved_to: Logical id of an equal resource that is created in its place. Default: none.
        was: Its type in the deployed template, where it is another one. Default: the same.
    """

    logical_id: str
    type: str
    action: Action
    construct_path: str | None = None
    properties: tuple[PropertyChange, ...] = ()
    holds_data: bool = False
    is_kept: bool = False
    moved_to: str | None = None
    was: str | None = None

    @property
    def is_tags_only(self) -> bool:
        """Whether nothing but tags changes."""
        return bool(self.properties) and all(
            change.path.partition(".")[0].partition("[")[0] in {"Tags", "TagList", "HostedZoneTags"}
            for change in self.properties
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StackChanges:
    """What happens to one stack.

    Args:
        stack: Its name.
        is_new: Whether there is no such stack yet.
        changes: Each resource that something happens to, in the template's order, what is deleted last.
    """

    stack: str
    is_new: bool
    changes: tuple[ResourceChange, ...]


# what CDK's own database of services calls stateful (without log groups: those that matter are declared to stay; without queues:
# they hold work in flight, which its sender repeats; of dead letters see `dead_letters.py`), and those with models
# and features
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
        # their functions delete the endpoint or the slots on a cluster, and empty the bucket or the group (but see sweeps.py)
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
    """A change that is not made without being named.

    Args:
        stack: Name of the stack.
        logical_id: The resource.
        text: What would happen, why it is refused, and the fix.
    """

    stack: str
    logical_id: str
    text: str


def holds_data(body: Mapping[str, Any]) -> bool:
    """Return whether a resource holds what a template cannot bring back, or was declared to stay."""
    policies = {body.get("DeletionPolicy"), body.get("UpdateReplacePolicy")}
    return body.get("Type") in STATEFUL or bool(policies & _KEEPING)


def is_kept(body: Mapping[str, Any], action: Action) -> bool:
    """Return whether the old resource stays in the account after it was replaced or deleted.

    See: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatereplacepolicy.html
    """
    policy = "DeletionPolicy" if action is Action.DELETED else "UpdateReplacePolicy"
    return action in LOSING and body.get(policy) in _KEEPING


def refusals(stacks: Iterable[StackChanges], allowed: Sequence[str] = ()) -> list[Refusal]:
    """Return what is refused.

    Args:
        stacks: What would change.
        allowed: Logical ids that may be replaced or deleted. Default: none.
    """
    return [
        Refusal(stack=found.stack, logical_id=change.logical_id, text=_text(change))
        for found in stacks
        for change in found.changes
        if change.action is Action.IMPOSSIBLE
        or (change.holds_data and change.action in LOSING and change.logical_id not in allowed)
    ]


def unused_names(stacks: Iterable[StackChanges], allowed: Sequence[str]) -> list[str]:
    """Return the names that allow nothing: a forgotten one would let a later change through."""
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
            f"{name} is {change.was} now, and CloudFormation changes no resource's type; give the new one another "
            "construct id"
        )
    fix = "undo the change"
    if change.moved_to is not None:
        fix = f"{change.moved_to} is created equal to it: a construct id was changed, change it back"
    return f"{name} would be {_what(change)}; {fix}, or name it with --allow {change.logical_id}"


def _what(change: ResourceChange) -> str:
    kept = ", and the old one left outside of the stack" if change.is_kept else ", with what it holds"
    if change.action is Action.DELETED:
        return f"deleted from the stack{kept}"
    by = [
        c.path if c.cause is None else f"{c.path} through {c.cause}"
        for c in change.properties
        if c.effect in (Effect.REPLACE, Effect.MAY_REPLACE)
    ]
    word = "replaced" if change.action is Action.REPLACED else "replaced, perhaps,"
    return f"{word} by {' and '.join(by)}{kept}"
