"""Daily costs of units and endpoints from Cost Explorer, by the platform's tags.

Each page of a response costs $0.01, and data is a day old, so only one query is made per day and reader role.

See: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_GetCostAndUsage.html and
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/custom-tags.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from threading import Lock
from typing import Any

from botocore.exceptions import ClientError

from mlops_runtime.console.http_message import Call
from mlops_runtime.refused_calls import DENIED, refusal
from mlops_runtime.rollout.execution_names import ENDPOINT_TAG

_UNIT_TAG = "mlops:unit"
_METRIC = "UnblendedCost"
# a day's costs are complete at the end of the next day
_BEHIND = timedelta(days=2)
_NOT_THERE = ("DataUnavailableException",)
_WRITING = Lock()
_KEPT: dict[str, "CostsPage"] = {}  # cache by role, until the next day


@dataclass(frozen=True, slots=True, kw_only=True)
class CostsPage:
    """Costs of ``day`` in ``currency``: of each unit as a whole, and of each endpoint's instances.

    ``unread`` is why costs are unknown, with the fix; empty if they are known. The embedded cloud has no costs.
    """

    now: datetime
    day: str
    currency: str | None = None
    units: Mapping[str, float] = field(default_factory=dict)
    endpoints: Mapping[str, float] = field(default_factory=dict)
    unread: str = ""


def costs(call: Call) -> CostsPage:
    """Return the costs of the newest complete day."""
    day = (call.now - _BEHIND).date()
    blank = CostsPage(now=call.now, day=day.isoformat())
    if call.cloud.clock() is not None:
        return replace(blank, unread="not known here: the embedded cloud bills nothing")
    role = "/".join(call.caller.split("/")[:2])  # a session's ARN without the session name
    with _WRITING:
        kept = _KEPT.get(role)
        if kept is None or kept.day != blank.day:
            kept = _KEPT[role] = _queried(call.cloud.client("ce"), blank, day)
    return replace(kept, now=call.now)


def _queried(client: Any, blank: CostsPage, day: date) -> CostsPage:
    """Query Cost Explorer; a refusal becomes ``unread``, which is cached too."""
    try:
        groups = list(_groups(client, day))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in (*DENIED, *_NOT_THERE):
            raise
        return replace(blank, unread=refusal(error.response["Error"], error.operation_name))
    units: dict[str, float] = {}
    endpoints: dict[str, float] = {}
    for unit, endpoint, amount in ((*_values(each), float(each["Metrics"][_METRIC]["Amount"])) for each in groups):
        units[unit] = units.get(unit, 0.0) + amount
        if endpoint:
            endpoints[endpoint] = endpoints.get(endpoint, 0.0) + amount
    if not units:
        message = (
            f"no cost of {blank.day} has the tag {_UNIT_TAG}: activate it and {ENDPOINT_TAG} as cost allocation tags"
        )
        return replace(blank, unread=f"{message} in the paying account; this takes a day")
    return replace(blank, currency=groups[0]["Metrics"][_METRIC]["Unit"], units=units, endpoints=endpoints)


def _groups(client: Any, day: date) -> Iterator[Any]:
    """Yield the costs of a day by unit and endpoint, for resources with a unit's tag."""
    request: Any = {
        "TimePeriod": {"Start": day.isoformat(), "End": (day + timedelta(days=1)).isoformat()},
        "Granularity": "DAILY",
        "Metrics": [_METRIC],
        "Filter": {"Not": {"Tags": {"Key": _UNIT_TAG, "MatchOptions": ["ABSENT"]}}},
        "GroupBy": [{"Type": "TAG", "Key": key} for key in (_UNIT_TAG, ENDPOINT_TAG)],
    }
    while True:
        answer = client.get_cost_and_usage(**request)
        for result in answer["ResultsByTime"]:
            yield from result["Groups"]
        if "NextPageToken" not in answer:
            return
        request["NextPageToken"] = answer["NextPageToken"]


def _values(group: Mapping[str, Any]) -> tuple[str, str]:
    """Return unit and endpoint of a group, whose keys are ``<tag>$<value>``."""
    unit, endpoint = (str(key).partition("$")[2] for key in group["Keys"])
    return unit, endpoint
