"""Metrics of queues in ``AWS/SQS``: the number of messages of active queues, each minute, for queues with an alarm.

Queues without an alarm cost nothing and have no metrics. Not implemented: the age of the oldest message, and counts of
calls.

See: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
"""

from collections.abc import Iterator
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import cloudwatch, sqs

from mlops_local import alarms, clock

NAMESPACE = "AWS/SQS"
# by metric: the queue attribute with the same value, and whether zero is reported too
_COUNTS = {
    "ApproximateNumberOfMessagesVisible": ("ApproximateNumberOfMessages", True),
    "ApproximateNumberOfMessagesNotVisible": ("ApproximateNumberOfMessagesNotVisible", False),
    "ApproximateNumberOfMessagesDelayed": ("ApproximateNumberOfMessagesDelayed", False),
}
_MINUTE = 60.0
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/monitoring-using-cloudwatch.html
_ACTIVE = 6 * 3600.0
_WAKING = 15 * 60.0  # "a delay of up to 15 minutes": here always 15 minutes

# in a queue's record, with which it is saved and deleted: when it became active and was last active, in embedded epoch seconds
_ACTIVITY = "mlops_activity"
_NEVER = (0.0, float("-inf"))


# claim: queues-report-while-active
# claim: a-letter-keeps-its-queue-active
def _note(queue: dict[str, Any], at: float) -> None:
    """Record that a queue was accessed or had a message."""
    since, last = queue.get(_ACTIVITY, (at, at))
    queue[_ACTIVITY] = [at if at - last > _ACTIVE else since, max(at, last)]


class QueueMetrics:
    """All queues with alarms, as one source of the embedded clock."""

    def due(self, after: float) -> float | None:
        """Return the next minute for which an active queue reports."""
        found = None
        for _, _, queue in _watched_queues():
            if queue["messages"]:
                _note(queue, after)
            since, last = queue.get(_ACTIVITY, _NEVER)
            following = (max(after, since + _WAKING) // _MINUTE + 1) * _MINUTE
            if following - last <= _ACTIVE and (found is None or following < found):
                found = following
        return found

    def run(self, at: float) -> bool:
        """Report the minute that ends; a jump need not wait for it."""
        for account, region, queue in _watched_queues():
            since, last = queue.get(_ACTIVITY, _NEVER)
            if at - _WAKING <= since or at - last > _ACTIVE:
                continue
            with sqs._queues_lock:
                sqs._refresh_counts(queue)
            with request_scope(account, region):
                _report(queue, at - _MINUTE)
        return False


# claim: queues-report-their-messages
def _report(queue: dict[str, Any], started: float) -> None:
    dimensions = {"QueueName": queue["name"]}
    for name, (attribute, has_zero) in _COUNTS.items():
        value = float(queue["attributes"][attribute])
        if value or has_zero:
            cloudwatch._store_datum(NAMESPACE, name, dimensions, started, "Count", value, None, None, None)


def _watched_queues() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield account, Region and record of each queue with an alarm, without duplicates."""
    names = {
        (account, region, each["Value"])
        for account, region, metric in alarms.watched_metrics(NAMESPACE)
        for each in metric.get("Dimensions") or []
        if each["Name"] == "QueueName"
    }
    for account, region, name in sorted(names):
        url = sqs._queue_name_to_url.get_scoped(account, region, name)
        queue = url and sqs._queues.get_scoped(account, region, url)
        if queue:
            yield account, region, queue


def install() -> None:
    """Record each access to a queue, and report on the embedded clock; installed before alarms, which then see the minute."""
    get = sqs._get_q

    def get_and_note(url: str, action: str | None = None) -> dict[str, Any]:
        queue: dict[str, Any] = get(url, action)
        _note(queue, clock.now())
        return queue

    sqs._get_q = get_and_note
    clock.add_source(QueueMetrics())
