"""Protocols of Lambda functions: SQS batches, custom resource responses, and classification of SageMaker's errors."""

import json
import logging
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

MAX_REASON = 2000  # of the response's limit of 4096 bytes
TIMEOUT = 20  # seconds
_LOOPBACK = ("127.0.0.1", "localhost")

logger = logging.getLogger(__name__)

_MISSING = ("could not find", "does not exist", "not found")


def is_made_up(event: Mapping[str, Any]) -> bool:
    """Return whether CloudFormation generated the physical id of a request, because no response had returned one.

    When another resource of a stack fails, CloudFormation cancels this one's creation and requests its deletion while the function
    is still creating it: https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/1814. Generated ids contain
    the logical id; ours never do.

    Example:
        >>> event = {"LogicalResourceId": "SpecA1", "PhysicalResourceId": "stack-SpecA1-0K2J4H6G8F1D"}
        >>> is_made_up(event), is_made_up(event | {"PhysicalResourceId": "demand-forecast"})
        (True, False)
    """
    return str(event["LogicalResourceId"]) in str(event.get("PhysicalResourceId", ""))


def answer(
    event: Mapping[str, Any], *, physical_id: str, data: Mapping[str, str] | None = None, failure: str | None = None
) -> None:
    """Send the response to CloudFormation: SUCCESS, or FAILED with the reason.

    Args:
        event: CloudFormation's request.
        physical_id: The resource's physical id; if it changes, CloudFormation deletes the old resource.
        data: Attributes of the resource. Default: none.
        failure: Reason of a failure. Default: success.

    Raises:
        ValueError: If the request's ``ResponseURL`` is neither HTTPS nor on this machine.
    """
    url = urlsplit(event["ResponseURL"])
    if url.scheme != "https" and not (url.scheme == "http" and url.hostname in _LOOPBACK):
        raise ValueError(f"ResponseURL must be HTTPS, got {url.scheme}://{url.hostname}")
    document = {
        "Status": "SUCCESS" if failure is None else "FAILED",
        "Reason": "" if failure is None else failure[:MAX_REASON],
        "PhysicalResourceId": physical_id,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": {} if data is None else dict(data),
    }
    # the presigned URL is signed for an empty content type
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        event["ResponseURL"], data=json.dumps(document).encode(), method="PUT", headers={"Content-Type": ""}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT):  # noqa: S310 - the scheme is checked above
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. ``sent`` is when the queue received it, the time that decisions use."""

    id: str
    body: str
    sent: datetime


def messages(event: Mapping[str, Any]) -> list[Message]:
    """Return the messages of a Lambda event from SQS."""
    return [
        Message(
            id=entry["messageId"],
            body=entry["body"],
            sent=datetime.fromtimestamp(int(entry["attributes"]["SentTimestamp"]) / 1000, UTC),
        )
        for entry in event["Records"]
    ]


def each(event: Mapping[str, Any], work: Callable[[Message], object]) -> dict[str, list[dict[str, str]]]:
    """Process every message; those that raise an exception stay in the queue.

    Example:
        >>> attributes = {"SentTimestamp": "1501578000000"}
        >>> event = {"Records": [{"messageId": "m1", "body": "{}", "attributes": attributes}]}
        >>> each(event, lambda message: None)
        {'batchItemFailures': []}
    """
    failed = []
    for message in messages(event):
        try:
            work(message)
        except Exception:  # an error of one message must not fail the others
            logger.exception("message %s failed and stays in the queue", message.id)
            failed.append({"itemIdentifier": message.id})
    return {"batchItemFailures": failed}


def is_missing(error: ClientError) -> bool:
    """Return whether SageMaker reports that a resource does not exist, for which it has no specific error code."""
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    return code == "ResourceNotFound" or (
        code.startswith("Validation") and any(words in message.lower() for words in _MISSING)
    )
