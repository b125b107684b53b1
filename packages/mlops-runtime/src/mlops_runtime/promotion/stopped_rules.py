"""Disabled and deleted rules of a registry, by which releases and reports are lost, and the metric of their number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from mlops_runtime.promotion.promotion_guard import count_line
from mlops_runtime.registry.package_approval import BusRules

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

# number of disabled and deleted rules, published hourly
STOPPED_METRIC = "RulesStopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedRule:
    """An inactive rule for taking or releasing versions; ``state`` is ``DISABLED`` or ``DELETED``.

    ``bus`` is absent for a rule on the default bus, ``description`` for a deleted rule.
    """

    name: str
    state: Literal["DISABLED", "DELETED"]
    bus: str | None = None
    description: str | None = None


def stopped_rules(events: "EventBridgeClient", rules: Sequence[BusRules]) -> Iterator[StoppedRule]:
    """Yield the inactive rules.

    Raises:
        ClientError: If a rule cannot be read.
    """
    for each in rules:
        for name in each.names:
            if (stopped := _stopped(events, each.bus, name)) is not None:
                yield stopped


def _stopped(events: "EventBridgeClient", bus: str | None, name: str) -> StoppedRule | None:
    try:
        found = events.describe_rule(Name=name) if bus is None else events.describe_rule(Name=name, EventBusName=bus)
    except events.exceptions.ResourceNotFoundException:
        return StoppedRule(name=name, state="DELETED", bus=bus)
    if found["State"] != "DISABLED":  # an enabled rule has one of two states
        return None
    return StoppedRule(name=name, state="DISABLED", bus=bus, description=found.get("Description"))


def stopped_line(stopped: Sequence[StoppedRule], *, unit: str, group: str, now: datetime) -> str:
    """Return the log line that publishes the number of inactive rules in CloudWatch's embedded metric format."""
    rules = {"rules": [each.name for each in stopped]}
    return count_line(STOPPED_METRIC, len(stopped), rules, unit=unit, group=group, now=now)
