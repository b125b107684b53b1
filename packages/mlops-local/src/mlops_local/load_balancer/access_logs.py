"""The test file that a load balancer writes to its log bucket when access logs are enabled.

It is written before any request, so the bucket is not empty when a stack is rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import alb, s3
from ministack.services.cloudformation import provisioners

from mlops_local import clock

_BALANCER = "AWS::ElasticLoadBalancingV2::LoadBalancer"


class LogBucketError(ValueError):
    """Access logs cannot be delivered to the bucket of a load balancer."""


def install() -> None:
    """Write the file when a stack or an API call enables access logs."""
    handler = provisioners._RESOURCE_HANDLERS[_BALANCER]
    handler["create"], handler["update"] = (
        partial(_created, handler["create"], handler["delete"]),
        partial(_updated, handler["update"]),
    )
    modify = alb._ACTION_MAP["ModifyLoadBalancerAttributes"]

    def modified(params: Any) -> Any:
        # claim: balancer-writes-a-test-file
        arn = alb._p(params, "LoadBalancerArn")
        before = _destination(arn)
        answer = modify(params)
        try:
            _test(arn, before)
        except LogBucketError as error:
            return alb._error("InvalidConfigurationRequest", str(error))
        return answer

    alb._ACTION_MAP["ModifyLoadBalancerAttributes"] = modified


def _created(
    create: Callable[..., Any], delete: Callable[..., Any], logical_id: str, properties: dict[str, Any], stack: str
) -> Any:
    made = create(logical_id, properties, stack)
    try:
        _test(made[0], None)
    except LogBucketError:
        delete(made[0], properties)  # a failed create has no physical id to roll back by
        raise
    return made


def _updated(update: Callable[..., Any], physical_id: str, old: dict[str, Any], new: dict[str, Any], *rest: Any) -> Any:
    before = _destination(physical_id)
    made = update(physical_id, old, new, *rest)
    _test(made[0], before if made[0] == physical_id else None)
    return made


def _destination(arn: str) -> tuple[str, str] | None:
    """Return bucket and prefix of the access logs; ``None`` if disabled."""
    attributes: Mapping[str, str] = {entry["Key"]: entry["Value"] for entry in alb._lb_attrs.get(arn) or []}
    if attributes.get("access_logs.s3.enabled") != "true":
        return None
    return attributes.get("access_logs.s3.bucket", ""), attributes.get("access_logs.s3.prefix", "")


def _test(arn: str, before: tuple[str, str] | None) -> None:
    """Write the file if logs were enabled or their destination changed."""
    # claim: balancer-writes-a-test-file
    now = _destination(arn)
    if now is None or now == before or arn not in alb._lbs:
        return
    bucket, prefix = now
    if bucket not in s3._buckets:
        raise LogBucketError(f"S3 bucket {bucket!r} of the access logs does not exist; create it first")
    key = f"{prefix.strip('/')}/AWSLogs/{get_account_id()}/ELBAccessLogTestFile".lstrip("/")
    text = f"Enable AccessLog for ELB: {alb._lbs[arn]['LoadBalancerName']} at {clock.iso()}"
    s3._put_object(bucket, key, text.encode(), {})
