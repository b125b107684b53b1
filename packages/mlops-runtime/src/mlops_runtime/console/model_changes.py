"""Changes of a model: its audit records, the windows of its monitor, and its alarms from CloudWatch's alarm history."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import MonitorReport, monitor_states
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.registry.package_approval import person_of
from mlops_runtime.rollout.fleet_alarms import alarm_prefix

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

_BAD = (Outcome.ROLLED_BACK, Outcome.FAILED, Outcome.REFUSED, Outcome.REJECTED)
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html: names in a call
_NAMES = 100
_MOST = 1000  # newest state changes that are read, of all alarms of the account
_CHANGE = re.compile(r"Alarm updated from (\w+) to (\w+)")
_DIMENSIONS = ("Endpoint", "EndpointName")  # of our metrics, and of SageMaker's


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An event.

    ``kind`` is an outcome of the audit log in lower case, ``window`` for a monitor's report, ``alarm`` or ``alarm ended``.
    """

    at: str
    kind: str
    summary: str
    who: str | None = None
    is_bad: bool = False
    sequence: int | None = None


def record_changes(records: Sequence[AuditRecord], since: datetime) -> Iterator[Change]:
    """Yield the changes that records since a time state."""
    for each in records:
        if datetime.fromisoformat(each.at) >= since:
            version = version_number(each.candidate_package or each.serving_package)
            which = "" if version is None else f" version {version}"
            yield Change(
                at=each.at,
                kind=each.outcome.value.lower(),
                summary=f"{each.outcome.value}{which}{f': {each.reason}' if each.reason else ''}",
                who=person_of(each.requested_by),
                is_bad=each.outcome in _BAD,
                sequence=each.sequence,
            )


def window_changes(reports: Sequence[MonitorReport]) -> Iterator[Change]:
    """Yield a change for the end of each window."""
    for each in reports:
        is_bad = MonitorState.VIOLATION in monitor_states(each).values()
        yield Change(at=each.window_until, kind="window", summary=each.verdict, is_bad=is_bad)


def alarm_events(cloudwatch: "CloudWatchClient", endpoint: str, since: datetime) -> Iterator[Change]:
    """Yield a change for each time an alarm of an endpoint fired or ended, newest first."""
    for at, is_fired, summary in alarm_changes(cloudwatch, endpoint, since):
        kind = "alarm" if is_fired else "alarm ended"
        yield Change(at=f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", kind=kind, summary=summary, is_bad=is_fired)


def alarm_changes(
    cloudwatch: "CloudWatchClient", endpoint: str, since: datetime
) -> Iterator[tuple[datetime, bool, str]]:
    """Yield the state changes of an endpoint's alarms, newest first: time, whether the alarm fired, and a description.

    CloudWatch stores the history for 30 days, also of deleted alarms; deleted alarms of a rollout are recognized by their names.
    """
    found = list(islice(_fired_or_ended(cloudwatch, since), _MOST))
    described = _described(cloudwatch, list(dict.fromkeys(name for _, name, _ in found)))
    for at, name, is_fired in found:
        alarm = described.get(name, {})
        if name.startswith(alarm_prefix(endpoint)) or endpoint in _endpoints(alarm):
            description = str(alarm.get("AlarmDescription") or name).removeprefix(f"{endpoint}: ")
            yield at, is_fired, description if is_fired else f"no longer: {description}"


def _fired_or_ended(cloudwatch: "CloudWatchClient", since: datetime) -> Iterator[tuple[datetime, str, bool]]:
    pages = cloudwatch.get_paginator("describe_alarm_history").paginate(HistoryItemType="StateUpdate", StartDate=since)
    for page in pages:
        for item in page["AlarmHistoryItems"]:
            states = _CHANGE.match(item.get("HistorySummary", ""))
            if states is not None and "ALARM" in states.groups():
                yield item["Timestamp"], item["AlarmName"], states[2] == "ALARM"


def _described(cloudwatch: "CloudWatchClient", names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    parts = [names[start : start + _NAMES] for start in range(0, len(names), _NAMES)]
    found = [cloudwatch.describe_alarms(AlarmNames=part, AlarmTypes=["MetricAlarm"]) for part in parts]
    return {alarm["AlarmName"]: alarm for each in found for alarm in each["MetricAlarms"]}


def _endpoints(alarm: Mapping[str, Any]) -> set[str]:
    """Return the endpoints whose metrics an alarm watches."""
    metrics = [alarm, *(each.get("MetricStat", {}).get("Metric", {}) for each in alarm.get("Metrics", []))]
    return {
        dimension["Value"]
        for metric in metrics
        for dimension in metric.get("Dimensions", [])
        if dimension["Name"] in _DIMENSIONS
    }


def version_number(package: str | None) -> int | None:
    """Return the version in the ARN of a package; None without one."""
    number = "" if package is None else package.rpartition("/")[2]
    return int(number) if number.isdecimal() else None
