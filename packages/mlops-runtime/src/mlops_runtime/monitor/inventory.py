"""Which counted objects a run saw, hour by hour: what the next one tells late objects by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """``objects.json``: how many counted objects each hour had, of all hours from ``since`` until ``until``; none has no entry."""

    since: str
    until: str
    hours: Mapping[str, int]
    format: Literal["mlops.monitor-objects/1"] = "mlops.monitor-objects/1"


def late_objects(earlier: Inventory | None, now: Inventory) -> int:
    """Return how many objects came after the run that decided about their hour: each is told by one report, the next.

    Args:
        earlier: What the run before saw. Default: there was none, and nothing can be late.
        now: What is seen now.

    Example:
        >>> hours = {"2017-08-07T00:00:00Z": 2}
        >>> before = Inventory(since="2017-08-07T00:00:00Z", until="2017-08-08T00:00:00Z", hours=hours)
        >>> late_objects(before, Inventory(since=before.since, until="2017-08-09T00:00:00Z", hours={"2017-08-07T00:00:00Z": 3}))
        1
    """
    if earlier is None:
        return 0
    decided = [hour for hour in now.hours if earlier.since <= hour < earlier.until]
    return sum(max(0, now.hours[hour] - earlier.hours.get(hour, 0)) for hour in decided)
