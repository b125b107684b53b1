"""`aws:ResourceTag`: tags of a call's resource, for the actions that support them, in policies and boundaries alike.

MiniStack only looks up tags if an identity policy needs them, for a few services and any action. The table of actions and taggable
resources comes from AWS's service authorization reference (`tools/resource_tag_table.py`). If the action does not support tags, or
the resource has none, the key is absent: then `StringEquals` does not match, `StringNotEquals` and `...IfExists` do.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import (
    alb,
    athena,
    cloudwatch,
    dynamodb,
    ecr,
    eks,
    eventbridge,
    glue,
    kms,
    lambda_svc,
    scheduler,
    sns,
    sqs,
    ssm,
    stepfunctions,
)
from ministack.services import iam as roles

from mlops_local import bucket_abac
from mlops_runtime.wildcards import matches

_PREFIX = "aws:ResourceTag/"
# S3's additional key for tags of buckets and objects
_ALSO = {"s3": "s3:BucketTag/"}
Tags = Mapping[str, str] | Iterable[Mapping[str, str]] | None


def install() -> None:
    """Replace MiniStack's tag lookup, which covers fewer services and ignores the action."""
    iam_evaluator._names_condition_key = _leave_to_us


# claim: tags-of-a-resource-are-known-to-some-actions
def keys(action: str, arn: str) -> dict[str, str]:
    """Return a resource's tags as condition keys, for an action."""
    service, _, operation = action.partition(":")
    patterns = _table().get(service, {}).get(operation, ())
    if arn == "*" or not any(matches(pattern, arn) for pattern in patterns):
        return {}
    prefixes = [_PREFIX, _ALSO[service]] if service in _ALSO else [_PREFIX]
    found = _plain(FINDERS[service](arn))
    return {f"{prefix}{key}": value for prefix in prefixes for key, value in found.items()}


@cache
def _table() -> dict[str, dict[str, tuple[str, ...]]]:
    services = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))["services"]
    return {
        service: {action: tuple(row["arns"]) for row in rows for action in row["actions"]}
        for service, rows in services.items()
    }


def _leave_to_us(policies: object, prefix: str) -> bool:  # noqa: ARG001 - MiniStack's own signature
    return False


def _plain(tags: Tags) -> dict[str, str]:
    """Convert tags to a mapping; member names are Key and Value, key and value, TagKey and TagValue."""
    if tags is None or isinstance(tags, Mapping):
        return dict(tags or {})
    rows = [{name.lower().removeprefix("tag"): value for name, value in tag.items()} for tag in tags]
    return {row["key"]: row.get("value", "") for row in rows}


def _name(arn: str) -> str:
    return arn.partition("/")[2]


def _dynamodb(arn: str) -> Tags:
    # the indexes of a table have the table's tags
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/attribute-based-access-control.html
    table = arn.partition("/index/")[0]
    return dynamodb._tags.get(table) or (dynamodb._tables.get(_name(table)) or {}).get("tags")


def _states(arn: str) -> Tags:
    # an execution has its machine's tags; a machine's version or alias has its own
    # https://docs.aws.amazon.com/step-functions/latest/dg/tag-based-policies.html
    start, kind, rest = ":".join(arn.split(":")[:5]), arn.split(":")[5], arn.split(":")[6:]
    machine = f"{start}:stateMachine:{rest[0]}" if kind == "execution" else arn
    found: Tags = stepfunctions._tags.get_scoped(get_account_id(), get_region(), machine)
    return found


def _iam(arn: str) -> Tags:
    kind, _, name = arn.rpartition(":")[2].partition("/")
    entities = {"role": roles._roles, "user": roles._users}.get(kind)
    found: Tags = (entities.get(name.rpartition("/")[2]) or {}).get("Tags") if entities is not None else None
    return found


# by service; services that are not MiniStack's add their own
FINDERS: dict[str, Callable[[str], Any]] = {
    "athena": athena._tags.get,
    "cloudwatch": cloudwatch._resource_tags.get,
    "dynamodb": _dynamodb,
    "ecr": lambda arn: (ecr._repositories.get(_name(arn)) or {}).get("tags"),
    "eks": eks._tags.get,
    "elasticloadbalancing": alb._tags.get,
    "events": eventbridge._tags.get,
    "glue": glue._tags.get,
    "iam": _iam,
    "kms": lambda arn: (kms._resolve_key(arn) or {}).get("Tags"),
    "lambda": lambda arn: (lambda_svc._functions.get(arn.split(":")[6]) or {}).get("tags") if ":function:" in arn else None,
    "s3": bucket_abac.tags_of,
    "scheduler": scheduler._tags.get,
    "sns": lambda arn: (sns._topics.get(arn) or {}).get("tags"),
    "sqs": lambda arn: (sqs._queue_by_arn(arn) or {}).get("tags"),
    "ssm": ssm._tags.get,
    "states": _states,
}  # fmt: skip
