"""Bad metrics for the comparison of two fleets: missing, late, or equal for both."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.campaign.account import OLD, START

Answered = tuple[int, int] | None
_STARTED = datetime.fromtimestamp(START, UTC)


@dataclass(kw_only=True)
class Traffic:
    """Calls and failures of both fleets in each minute since the execution began.

    Args:
        new: Calls and failures of the new fleet; None without a metric of that minute.
        old: Calls and failures of the old fleet.
        code: Status class of failures, where a load balancer counts them.
        late: Delay of the new fleet's metrics in minutes.
    """

    new: Callable[[int], Answered]
    old: Callable[[int], Answered]
    code: str = "5XX"
    late: int = 0
    account: Any = None

    def __call__(self, stat: dict[str, Any], at: datetime) -> float | None:
        """Return one datapoint."""
        metric, values = stat["Metric"], {each["Name"]: each["Value"] for each in stat["Metric"]["Dimensions"]}
        is_new = values.get("EndpointConfigName", OLD) != OLD or "/green/" in values.get("TargetGroup", "")
        minute = round((at - _STARTED) / timedelta(minutes=1))
        is_published = at <= datetime.fromtimestamp(self.account.now, UTC) - timedelta(minutes=self.late * is_new)
        found = (self.new if is_new else self.old)(minute) if is_published else None
        if found is None or (is_new and minute < 0):
            return None
        calls, failed = found
        name = metric["MetricName"]
        if stat["Stat"] == "SampleCount":
            return float(calls)
        if name == "HTTPCode_Target_2XX_Count":
            return float(calls - failed)
        is_counted = name in ("InvocationModelErrors", f"HTTPCode_Target_{self.code}_Count")
        return float(failed) if is_counted else None


def steady(calls: int, failed: int = 0) -> Callable[[int], Answered]:
    """The same in every minute."""
    return lambda _: (calls, failed)


def never(_: int) -> Answered:
    """No metric at all."""
    return None


def dead_from(minute: int, calls: int) -> Callable[[int], Answered]:
    """All calls fail from a minute on."""
    return lambda at: (calls, calls if at >= minute else 0)


CASES: dict[str, tuple[Traffic, str, str]] = {
    "no metrics": (Traffic(new=never, old=never), "ROLLED_BACK", " 0 "),
    "no metrics of the new fleet": (Traffic(new=never, old=steady(540)), "ROLLED_BACK", " 0 "),
    "no metrics of the old fleet": (
        Traffic(new=steady(60), old=never),
        "PROMOTED",
        "answers failed against no call of the live model",
    ),
    "late metrics": (Traffic(new=steady(60), old=steady(540), late=4), "PROMOTED", "0 of "),
    "late metrics of a bad fleet": (Traffic(new=steady(60, 30), old=steady(540), late=4), "ROLLED_BACK", "false alarm"),
    "a fleet that shrinks": (
        Traffic(new=lambda at: (60 if at < 6 else 3, 0), old=steady(540)),
        "PROMOTED",
        "answers failed against 0 of ",
    ),
    "both fleets dead": (Traffic(new=steady(60, 60), old=steady(540, 540)), "ROLLED_BACK", "answers failed against"),
    "both fleets die": (Traffic(new=dead_from(8, 60), old=dead_from(8, 540)), "PROMOTED", "answers failed against"),
    "only 4xx": (
        Traffic(new=steady(60, 60), old=steady(540, 540), code="4XX"),
        "ROLLED_BACK",
        "answers failed against",
    ),
    "4xx of the new fleet alone": (
        Traffic(new=steady(60, 60), old=steady(540), code="4XX"),
        "ROLLED_BACK",
        "false alarm",
    ),
}


# clock jumps in seconds; failed calls a minute with the outcome, where the clock, alarms or functions fail
JUMPS = (3600.0, -600.0)
FAILED_OF = ((0, "PROMOTED"), (60, "ROLLED_BACK"))


def at_second_verdict(act: Callable[[], None]) -> Callable[[str], None]:
    """Return a hook that acts once, before the second call of the function."""
    seen: list[str] = []

    def hook(label: str) -> None:
        seen.append(label)
        if label == "lambda:invoke verdict" and seen.count(label) == 2:
            act()

    return hook


def check_end(world: Any, result: Any, outcome: str, why: str) -> None:
    """The old or the approved model serves, and the record says which and why."""
    assert world.broken(result) == []
    (record,) = world.records(world.executions)
    assert (result.outcome, record.outcome.value) == (outcome, outcome)
    assert why in record.reason
    serves = world.serves() if hasattr(world, "serves") else world.serving().config
    assert (serves == OLD) is (outcome == "ROLLED_BACK")
