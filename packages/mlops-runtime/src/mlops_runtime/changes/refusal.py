"""Which changes nobody makes by accident: what holds data, or was declared to stay, is replaced or deleted only by name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_runtime.changes.model import Action, Effect, ResourceChange, StackChanges

# what CDK's own database of services calls stateful (without log groups: those that matter are declared to stay), and what holds
# models and features
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
        "AWS::SQS::Queue",
        "AWS::SageMaker::Endpoint",
        "AWS::SageMaker::FeatureGroup",
        "AWS::SageMaker::ModelPackageGroup",
        "AWS::SecretsManager::Secret",
        # their functions delete the endpoint or what serves on a cluster, and empty the bucket or the group (but see sweeps.py)
        "Custom::BucketSweep",
        "Custom::MLOpsManifests",
        "Custom::MLOpsServingSpec",
        "Custom::ModelPackageSweep",
    }
)
_KEEPING = frozenset({"Retain", "RetainExceptOnCreate", "Snapshot"})
_LOSING = frozenset({Action.REPLACED, Action.MAY_BE_REPLACED, Action.DELETED})


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
    """Return whether a resource holds what a template cannot bring back, or was declared to stay.

    Args:
        body: The resource as a template has it.
    """
    policies = {body.get("DeletionPolicy"), body.get("UpdateReplacePolicy")}
    return body.get("Type") in STATEFUL or bool(policies & _KEEPING)


def is_kept(body: Mapping[str, Any], action: Action) -> bool:
    """Return whether the old resource stays in the account after it was replaced or deleted.

    See: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatereplacepolicy.html

    Args:
        body: The resource as a template has it.
        action: What happens to it.
    """
    policy = "DeletionPolicy" if action is Action.DELETED else "UpdateReplacePolicy"
    return action in _LOSING and body.get(policy) in _KEEPING


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
        or (change.holds_data and change.action in _LOSING and change.logical_id not in allowed)
    ]


def unused_names(stacks: Iterable[StackChanges], allowed: Sequence[str]) -> list[str]:
    """Return the names that allow nothing: a forgotten one would let a later change through.

    Args:
        stacks: What would change.
        allowed: Logical ids that may be replaced or deleted.
    """
    needed = {
        change.logical_id
        for found in stacks
        for change in found.changes
        if change.holds_data and change.action in _LOSING
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
