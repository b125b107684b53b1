"""EventBridge schedule rules and EventBridge Scheduler on the embedded clock; each occurrence has its own ``time``.

Sources: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html and
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from ministack.core.responses import new_uuid, request_scope
from ministack.services import eventbridge, scheduler

from mlops_local import clock

LOGGER = logging.getLogger(__name__)

# occurrences closer than this are the same; the shortest rate is a minute
_SAME = 0.001


# claim: schedules-run-on-their-grid
def occurrence(expression: str, *, created: float, after: float, zone: str = "UTC") -> float | None:
    """Return the first occurrence of an expression after a time.

    Args:
        expression: ``rate(...)``, ``cron(...)`` or ``at(...)``.
        created: When a rate's countdown began, in epoch seconds.
        after: Epoch seconds.
        zone: IANA time zone of ``cron`` and ``at``. Default: UTC.

    Returns:
        ``None`` without a further occurrence, or if the expression is not supported.

    Example:
        >>> occurrence("rate(1 hour)", created=0.0, after=3600.0)
        7200.0
    """
    if expression.strip().startswith("at("):
        at = scheduler._at_time_epoch(expression)
        if at is None:
            return None
        at = datetime.fromtimestamp(at, UTC).replace(tzinfo=ZoneInfo(zone)).timestamp()
        return at if at > after + _SAME else None
    interval = eventbridge._parse_rate_seconds(expression)
    if interval is not None:
        return float(created + (max((after + _SAME - created) // interval, 0) + 1) * interval)
    fields = eventbridge._parse_cron_fields(expression)
    if fields is None:
        return None
    following = eventbridge._cron_next_fire(fields, datetime.fromtimestamp(after + _SAME, ZoneInfo(zone)))
    return None if following is None else float(following.timestamp())


def occurrence_between(  # noqa: PLR0917 - the parts of a schedule
    expression: str, created: float, after: float, zone: str, start: float | None, end: float | None
) -> float | None:
    """Return the first occurrence after a time of a schedule with a start, from which its rates count, and an end."""
    if start is not None:
        created, after = start, max(after, start - 2 * _SAME)
    found = occurrence(expression, created=created, after=after, zone=zone)
    return None if found is None or (end is not None and found > end) else found


@dataclass(frozen=True, slots=True)
class _Item:
    """A schedule rule or schedule, with its account and Region."""

    account: str
    region: str
    key: str
    record: dict[str, Any]
    is_rule: bool

    def next(self, after: float) -> float | None:
        record = self.record
        if record.get("State") != "ENABLED" or not record.get("ScheduleExpression"):
            return None
        if self.is_rule:
            return occurrence(record["ScheduleExpression"], created=record.get("CreationTime", after), after=after)
        start, end = scheduler._to_epoch(record.get("StartDate")), scheduler._to_epoch(record.get("EndDate"))
        zone = record.get("ScheduleExpressionTimezone") or "UTC"
        return occurrence_between(
            record["ScheduleExpression"], record.get("CreationDate", after), after, zone, start, end
        )

    def fire(self, at: float) -> None:
        """Deliver one occurrence to its targets, in its own account and Region."""
        with request_scope(self.account, self.region):
            event = {
                "EventId": new_uuid(),
                "Source": "aws.events" if self.is_rule else "aws.scheduler",
                "DetailType": "Scheduled Event",
                "Detail": "{}",
                "EventBusName": self.record.get("EventBusName", "default"),
                "Time": int(at),
                "Resources": [self.record.get("Arn", "")],
                "Account": self.account,
                "Region": self.region,
            }
            LOGGER.info("schedule %s: due at %s", self.key, clock.iso(at))
            for target in self._targets(at, event["EventId"]):
                eventbridge._invoke_target(target, event, self.record)
            once = self.record["ScheduleExpression"].strip().startswith("at(")
            if once and not self.is_rule and self.record.get("ActionAfterCompletion") == "DELETE":
                scheduler._schedules._data.pop((self.account, self.region, self.key), None)

    def _targets(self, at: float, execution: str) -> list[dict[str, Any]]:
        if self.is_rule:
            return list(eventbridge._targets._data.get((self.account, self.region, self.key), []))
        target = self.record.get("Target") or {}
        if not target.get("Input"):
            return [target]
        # https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
        text = target["Input"]
        attributes = {
            "schedule-arn": self.record.get("Arn", ""),
            "scheduled-time": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "execution-id": execution,
            "attempt-number": "1",
        }
        for name, value in attributes.items():
            text = text.replace(f"<aws.scheduler.{name}>", value)
        return [{**target, "Input": text}]


class Schedules:
    """All schedule rules and schedules, as one source of the embedded clock."""

    def due(self, after: float) -> float | None:
        """Return the next occurrence of any schedule."""
        return min((found for item in _items() if (found := item.next(after)) is not None), default=None)

    def run(self, at: float) -> bool:
        """Fire every schedule with an occurrence at ``at``."""
        fired = False
        for item in _items():
            found = item.next(at - 10 * _SAME)
            if found is None or abs(found - at) > _SAME:
                continue
            fired = True
            try:
                item.fire(at)
            except Exception:
                LOGGER.exception("schedule %s cannot be delivered", item.key)
        return fired


def _items() -> Iterator[_Item]:
    for store, is_rule in ((eventbridge._rules, True), (scheduler._schedules, False)):
        for (account, region, key), record in list(store._data.items()):
            if record.get("ScheduleExpression"):
                if is_rule:
                    record.setdefault("CreationTime", clock.now())  # rules of CloudFormation have none
                yield _Item(account, region, key, record, is_rule)


def _scheduled() -> str | None:
    count = sum(1 for _ in _items())
    return f"{count} schedules exist" if count else None


def install() -> None:
    """Disable MiniStack's own tickers and put schedules on the embedded clock."""
    eventbridge.start_scheduler = scheduler.start_scheduler = lambda: None
    clock.add_source(Schedules())
    clock.add_guard(_scheduled)
