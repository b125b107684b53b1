"""SageMaker's state change events on the default bus, in AWS's documented format.

Jobs and endpoints carry times in epoch milliseconds, model packages in ISO 8601; an endpoint's status is in upper snake case.
See: https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ministack.services import eventbridge

from mlops_local import clock
from mlops_local.documents import converted
from mlops_local.sagemaker import resource_store
from mlops_local.sagemaker.api_shapes import Record, output_shape, wire

_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


def state_change(kind: str, record: Record) -> None:
    """Send the event of a job or an endpoint, such as "SageMaker Training Job State Change"."""
    _send(f"SageMaker {_WORDS.sub(' ', kind)} State Change", kind, record, milliseconds)


def deployment(record: Record) -> None:
    """Send "SageMaker Endpoint Deployment State Change", including the pending deployment, if any."""
    _send("SageMaker Endpoint Deployment State Change", "Endpoint", record, milliseconds)


def model_package(record: Record, updated: list[str] | None = None) -> None:
    """Send "SageMaker Model Package State Change"; an update adds the changed members as ``UpdatedModelPackageFields``."""
    # claim: approval-event-names-fields
    extra = {} if updated is None else {"UpdatedModelPackageFields": updated}
    _send("SageMaker Model Package State Change", "ModelPackage", record, _iso, extra)


def _send(
    detail_type: str, kind: str, record: Record, time: Callable[[datetime], Any], extra: Record | None = None
) -> None:
    with resource_store.LOCK:
        identity = record[resource_store.KINDS[kind].arn]
        known = wire(output_shape(f"Describe{kind}"), timed(record, time))
        detail = (
            known | {"Tags": dict(resource_store.store().tags.get(identity, {}))} | ({} if extra is None else extra)
        )
    if kind == "Endpoint":
        detail["EndpointStatus"] = _WORDS.sub("_", detail["EndpointStatus"]).upper()
    entry = {
        "Source": "aws.sagemaker",
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
        "Resources": [identity],
        "Time": clock.now(),
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def timed(value: Any, time: Callable[[datetime], Any]) -> Any:
    """Return a document with its times converted."""
    return converted(value, lambda leaf: time(leaf) if isinstance(leaf, datetime) else leaf)


def milliseconds(moment: datetime) -> int:
    """Return a time in epoch milliseconds."""
    return int(moment.timestamp() * 1000)


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
