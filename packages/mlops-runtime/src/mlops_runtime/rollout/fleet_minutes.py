"""CloudWatch counts of two fleets by minute: calls, failed responses, and responses slower than a limit.

An error metric that publishes 1 or 0 for each response has both counts: ``Sum`` of ``SampleCount`` failed, so calls and errors
always belong to the same minute. Slow responses are counted by the percentile rank of a limit: ``SampleCount`` times
1 - ``PR(:limit)``.

See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
and https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from mlops_runtime.rollout.fleet_comparison import Minute
from mlops_runtime.rollout.live_history import Counts, total

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import DimensionTypeDef, MetricStatTypeDef, MetricTypeDef

HISTORY = timedelta(hours=4)
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
# late metrics of the old fleet must not be mistaken for its end
_ALONE_MINUTES = 3
# highest probability that a run of calls misses the old fleet by chance
_ALONE_CHANCE = 1e-9
_MOST_SHARE = 0.9
# after this time all metrics of a minute are published; either of two metrics of a fleet may come first
_RIPE = timedelta(minutes=3)

Series = dict[datetime, float]


class IncompleteMetricsError(Exception):
    """CloudWatch did not return all metrics; the message names the missing ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetMetric:
    """One metric of one fleet."""

    namespace: str
    metric: str
    dimensions: Mapping[str, str] = field(default_factory=dict)

    def query(self, statistic: str, period: timedelta) -> "MetricStatTypeDef":
        """Return the ``MetricStat`` of a statistic."""
        dimensions: list[DimensionTypeDef] = [{"Name": name, "Value": value} for name, value in self.dimensions.items()]
        metric: MetricTypeDef = {"Namespace": self.namespace, "MetricName": self.metric, "Dimensions": dimensions}
        return {"Metric": metric, "Period": int(period.total_seconds()), "Stat": statistic}


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetMetrics:
    """Metrics of a fleet."""

    calls: FleetMetric  # metric whose `SampleCount` counts all responses, or whose `Sum` counts the successful ones
    errors: tuple[FleetMetric, ...]  # metrics whose `Sum` counts failed responses
    calls_statistic: Literal["SampleCount", "Sum"] = "SampleCount"  # statistic of `calls`
    latency: FleetMetric | None = None  # response time
    milliseconds: float = 1.0  # milliseconds of one unit of `latency`


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetMinutes:
    """Minutes of two fleets since the new fleet's first call, and the old fleet's minutes before the rollout."""

    minutes: tuple[Minute, ...] = ()  # minutes of both fleets, oldest first
    history: tuple[Counts, ...] = ()  # minutes of the old fleet, oldest first
    # number of the minute, from 1, since which the old fleet gets no calls. None: it still gets calls
    alone_from: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteReader:
    """Reader of both fleets' metrics."""

    cloudwatch: "CloudWatchClient"
    new: FleetMetrics
    old: FleetMetrics
    since: datetime  # start of the rollout
    now: datetime  # end of the period; the current minute counts too
    # time before which calls in the new fleet's metrics are not its own. Default: all are its own
    not_before: datetime | None = None
    # largest share of the calls that the new fleet gets before it gets all. Default: 90 %
    most_share: float | None = None
    # metrics of the live model in any config, since a shadow has another one. Read if the old fleet has no calls in the
    # hours before
    before: FleetMetrics | None = None
    # start of the live model's serving and so of its history; earlier calls were another model's. Default: it was live
    # in all the hours before
    serves_since: datetime | None = None

    def failed(self) -> FleetMinutes:
        """Return calls and failed responses."""
        queries = {
            "n": self.new.calls.query(self.new.calls_statistic, _MINUTE),
            "m": self.old.calls.query(self.old.calls_statistic, _MINUTE),
            **{f"x{number}": each.query("Sum", _MINUTE) for number, each in enumerate(self.new.errors)},
            **{f"y{number}": each.query("Sum", _MINUTE) for number, each in enumerate(self.old.errors)},
        }
        found = self._read(queries, self._start - HISTORY)
        x, y = (_summed(found, prefix) for prefix in "xy")
        if self.new.calls_statistic == "Sum":
            # errors without the minute's other responses, which are not published yet, would look like a dead fleet
            x, y = (
                {at: value for at, value in failed.items() if at in found[name] or at <= self.now - _RIPE}
                for name, failed in (("n", x), ("m", y))
            )
        n, m = (_all(found[name], failed, fleet) for name, failed, fleet in (("n", x, self.new), ("m", y, self.old)))
        return self._cut(_counts(n, x), _counts(m, y), self._failed_before)

    def limits(self, percentiles: Sequence[float]) -> list[float]:
        """Return the old fleet's latency percentiles over the hours before, in its unit; empty without calls.

        CloudWatch's periods are full clock hours. The hour in which the rollout began contains some of its minutes, so it is only
        used, minute by minute, if the full hours before have no calls.
        """
        found = self._limits(self.old.latency, percentiles)
        return found or self._limits(None if self.before is None else self.before.latency, percentiles)

    def _limits(self, latency: FleetMetric | None, percentiles: Sequence[float]) -> list[float]:
        if latency is None:
            return []

        def queries(period: timedelta) -> dict[str, object]:
            ranks = {f"p{i}": latency.query(f"p{each:g}", period) for i, each in enumerate(percentiles)}
            return {"m": latency.query("SampleCount", period), **ranks}

        hour = self._start.replace(minute=0)
        found = self._read(queries(_HOUR), hour - HISTORY, hour)
        if not sum(found["m"].values()):
            found = self._read(queries(_MINUTE), hour, self._start)
        calls = sum(found["m"].values())
        if not calls:
            return []
        return [
            sum(count * found[f"p{i}"].get(at, 0.0) for at, count in found["m"].items()) / calls
            for i in range(len(percentiles))
        ]

    def slower(self, new_limit: float, old_limit: float) -> FleetMinutes:
        """Return calls and responses above a limit; each fleet has its own limit in its own unit."""
        if self.new.latency is None or self.old.latency is None:
            return FleetMinutes()
        queries = {
            "n": self.new.latency.query("SampleCount", _MINUTE),
            "x": self.new.latency.query(f"PR(:{new_limit:.6f})", _MINUTE),
            "m": self.old.latency.query("SampleCount", _MINUTE),
            "y": self.old.latency.query(f"PR(:{old_limit:.6f})", _MINUTE),
        }
        found = self._read(queries, self._start - HISTORY)
        return self._cut(
            _counts(found["n"], _above(found["n"], found["x"])),
            _counts(found["m"], _above(found["m"], found["y"])),
            lambda: self._slower_before(old_limit),
        )

    def _failed_before(self) -> dict[datetime, Counts]:
        if self.before is None:
            return {}
        queries = {"m": self.before.calls.query(self.before.calls_statistic, _MINUTE)}
        queries |= {f"y{number}": each.query("Sum", _MINUTE) for number, each in enumerate(self.before.errors)}
        found = self._read(queries, self._start - HISTORY, self._start)
        y = _summed(found, "y")
        return _counts(_all(found["m"], y, self.before), y)

    def _slower_before(self, limit: float) -> dict[datetime, Counts]:
        if self.before is None or self.before.latency is None:
            return {}
        latency = self.before.latency
        queries = {"m": latency.query("SampleCount", _MINUTE), "y": latency.query(f"PR(:{limit:.6f})", _MINUTE)}
        found = self._read(queries, self._start - HISTORY, self._start)
        return _counts(found["m"], _above(found["m"], found["y"]))

    @property
    def _start(self) -> datetime:
        return self.since.astimezone(UTC).replace(second=0, microsecond=0)

    @property
    def _history_start(self) -> datetime:
        """First minute of the live model alone; the minute of the switch has calls of both models."""
        first = self._start - HISTORY
        if self.serves_since is None:
            return first
        return max(first, self.serves_since.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE)

    def _cut(
        self,
        new: Mapping[datetime, Counts],
        old: Mapping[datetime, Counts],
        before: Callable[[], Mapping[datetime, Counts]],
    ) -> FleetMinutes:
        own = self._start if self.not_before is None else max(self._start, self.not_before)
        requested = [minute for minute, counts in new.items() if counts.calls and minute >= own]
        first = min(requested, default=self.now)
        history = _each_minute(old, self._history_start, self._start)
        # claim: a-first-fleet-is-counted-by-its-variant
        if not total(history).calls:
            history = _each_minute(before(), self._history_start, self._start)
        after = _each_minute(old, first, self.now)
        minutes = tuple(
            Minute(new=mine, old=theirs) for mine, theirs in zip(_each_minute(new, first, self.now), after, strict=True)
        )
        return FleetMinutes(minutes=minutes, history=tuple(history), alone_from=_alone_from(minutes, self.most_share))

    def _read(self, requested: Mapping[str, Any], start: datetime, end: datetime | None = None) -> dict[str, Series]:
        queries: Any = [{"Id": name, "MetricStat": stat} for name, stat in requested.items()]
        found: dict[str, Series] = {name: {} for name in requested}
        pages = self.cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, StartTime=start, EndTime=self.now if end is None else end
        )
        states: dict[str, str] = {}
        for page in pages:
            for result in page["MetricDataResults"]:
                states[result["Id"]] = result["StatusCode"]
                pairs = zip(result["Timestamps"], result["Values"], strict=True)
                found[result["Id"]].update({time.astimezone(UTC): value for time, value in pairs})
        missing = sorted(name for name, state in states.items() if state != "Complete")
        if missing:
            raise IncompleteMetricsError(
                f"CloudWatch returned {', '.join(f'{name} with {states[name]}' for name in missing)}; fleets are compared only "
                "with complete metrics, the next poll reads them again"
            )
        return found


def _summed(found: Mapping[str, Series], prefix: str) -> Series:
    added: Series = {}
    for name, series in found.items():
        if name.startswith(prefix):
            for minute, value in series.items():
                added[minute] = added.get(minute, 0.0) + value
    return added


def _all(calls: Series, failed: Series, fleet: FleetMetrics) -> Series:
    if fleet.calls_statistic == "SampleCount":
        return calls
    return {minute: calls.get(minute, 0.0) + failed.get(minute, 0.0) for minute in {*calls, *failed}}


def _above(calls: Series, ranks: Series) -> Series:
    return {minute: count * (1 - ranks.get(minute, 100.0) / 100) for minute, count in calls.items()}


def _counts(calls: Series, failed: Series) -> dict[datetime, Counts]:
    """Count failed responses as calls too, whichever of the two metrics is published first."""
    found = {}
    for minute in {*calls, *failed}:
        errors = round(failed.get(minute, 0.0))
        found[minute] = Counts(calls=max(round(calls.get(minute, 0.0)), errors), failed=errors)
    return found


def _each_minute(counts: Mapping[datetime, Counts], start: datetime, end: datetime) -> list[Counts]:
    length = max(0, -((start - end) // _MINUTE))
    return [counts.get(start + number * _MINUTE, Counts()) for number in range(length)]


def _alone_from(minutes: Sequence[Minute], most_share: float | None) -> int | None:
    """Return the minute since which only the new fleet gets calls, if chance and late data are excluded; else None.

    All of k calls miss the old fleet with probability share^k, where share is at most that of the step before the last.
    """
    share = _MOST_SHARE if most_share is None else most_share
    least = math.ceil(math.log(_ALONE_CHANCE) / math.log(min(max(share, 0.01), 0.99)))
    run: list[Minute] = []
    for minute in reversed(minutes):
        if minute.old.calls:
            break
        run.append(minute)
    requested = [minute.new for minute in run if minute.new.calls]
    if len(requested) < _ALONE_MINUTES or total(requested).calls < least:
        return None
    return len(minutes) - len(run) + 1
