"""State changes of an endpoint's alarms, from CloudWatch's alarm history."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from mlops_runtime.rollout.fleet_alarms import alarm_prefix

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html: names in a call
_NAMES = 100
_MOST = 1000  # newest state changes that are read, of all alarms of the account
_CHANGE = re.compile(r"Alarm updated from (\w+) to (\w+)")
_DIMENSIONS = ("Endpoint", "EndpointName")  # of our metrics, and of SageMaker's


def alarm_changes(
    cloudwatch: "CloudWatchClient", endpoint: str, since: datetime
) -> Iterator[tuple[datetime, bool, str]]:
    """Yield the state changes of an endpoint's alarms, newest first: time, whether the alarm fired, and a description.

    CloudWatch stores the history for 30 days, also of deleted alarms; deleted alarms of a rollout are recognized by their names.

    Args:
        cloudwatch: Client.
        endpoint: The endpoint.
        since: Time of the oldest change.
    """
    found = list(islice(_fired_or_ended(cloudwatch, since), _MOST))
    described = _described(cloudwatch, list(dict.fromkeys(name for _, name, _ in found)))
    for at, name, is_fired in found:
        alarm = described.get(name, {})
        if name.startswith(alarm_prefix(endpoint)) or endpoint in _endpoints(alarm):
            says = str(alarm.get("AlarmDescription") or name).removeprefix(f"{endpoint}: ")
            yield at, is_fired, says if is_fired else f"no longer: {says}"


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
