"""SQS messages as Lambda delivers them, and the answer that lets a batch fail in part.

See: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. ``sent`` is when the queue took it: the time that decisions about it use."""

    id: str
    body: str
    sent: datetime


def messages(event: Mapping[str, Any]) -> list[Message]:
    """Return the messages of a Lambda event of an SQS event source."""
    return [
        Message(
            id=entry["messageId"],
            body=entry["body"],
            sent=datetime.fromtimestamp(int(entry["attributes"]["SentTimestamp"]) / 1000, UTC),
        )
        for entry in event["Records"]
    ]


def each(event: Mapping[str, Any], work: Callable[[Message], object]) -> dict[str, list[dict[str, str]]]:
    """Do the work for every message; those that raise stay in the queue, the rest are done.

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
        except Exception:  # whatever went wrong with one message must not take the others with it
            logger.exception("message %s failed and stays in the queue", message.id)
            failed.append({"itemIdentifier": message.id})
    return {"batchItemFailures": failed}
