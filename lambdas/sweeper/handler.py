"""Custom resource that empties a bucket or a model package group when it leaves a DEVELOPMENT stack."""

import logging
from typing import Any

import boto3

from mlops_runtime import lambda_protocol
from mlops_runtime.business_unit.sweep import physical_id, sweep

_LOG = logging.getLogger(__name__)
_LOG.setLevel(logging.INFO)
_RESERVE_MS = 30_000


def handler(event: dict[str, Any], context: Any) -> None:
    """Sweep on deletion, and respond to CloudFormation in every case: without a response it waits for an hour."""
    failure: str | None = None
    name = str(event.get("PhysicalResourceId", event["LogicalResourceId"]))
    try:
        name = physical_id(event)
        deleted = sweep(
            event,
            client=boto3.client,
            has_time=lambda: context.get_remaining_time_in_millis() > _RESERVE_MS,
        )
        _LOG.info("deleted %d from %s", deleted, name)
    except Exception as error:  # for any error, CloudFormation must get a response
        failure = f"{type(error).__name__}: {error}"
    lambda_protocol.answer(event, physical_id=name, failure=failure)
