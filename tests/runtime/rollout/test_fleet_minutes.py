"""Minutes of two fleets from CloudWatch's series."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops_runtime.rollout.fleet_comparison import Minute, compare
from mlops_runtime.rollout.fleet_minutes import FleetMetric, FleetMetrics, IncompleteMetricsError, MinuteReader
from mlops_runtime.rollout.live_history import Counts, total

SINCE = datetime(2017, 8, 1, 12, 0, 30, tzinfo=UTC)
START = SINCE.replace(second=0)
MINUTE = timedelta(minutes=1)


def metric(name: str, fleet: str) -> FleetMetric:
    """Return a metric of a fleet."""
    return FleetMetric(namespace="N", metric=name, dimensions={"Fleet": fleet})


def fleet(name: str) -> FleetMetrics:
    """Return a fleet that publishes an error metric for each response, and latency in microseconds."""
    errors = metric("Errors", name)
    return FleetMetrics(calls=errors, errors=(errors,), latency=metric("Latency", name), milliseconds=0.001)


class CloudWatch:
    """Series by metric, fleet and statistic, newest first in two pages, as the service may return them."""

    def __init__(self, **series: dict[datetime, float]) -> None:
        self.series, self.requests, self.states = series, [], dict[str, str]()

    def get_paginator(self, name: str) -> CloudWatch:
        """Page through GetMetricData."""
        assert name == "get_metric_data"
        return self

    def paginate(self, **request: Any) -> Any:
        """Yield two pages."""
        self.requests.append(request)
        for part in (0, 1):
            results = []
            for query in request["MetricDataQueries"]:
                stat = query["MetricStat"]
                name = f"{stat['Metric']['MetricName']}_{stat['Metric']['Dimensions'][0]['Value']}_{stat['Stat']}"
                found = sorted(self.series.get(name, {}).items(), reverse=True)[part::2]
                found = [(at, value) for at, value in found if request["StartTime"] <= at < request["EndTime"]]
                state = "PartialData" if part == 0 else self.states.get(query["Id"], "Complete")
                times, values = ([pair[place] for pair in found] for place in (0, 1))
                results.append({"Id": query["Id"], "StatusCode": state, "Timestamps": times, "Values": values})
            yield {"MetricDataResults": results}


def reader(
    minutes: int, *, new: FleetMetrics | None = None, old: FleetMetrics | None = None, **series: Any
) -> MinuteReader:
    """Return a reader the given minutes after the start; series are by the number of the minute."""
    cloudwatch: Any = CloudWatch(
        **{name: {START + number * MINUTE: value for number, value in found.items()} for name, found in series.items()}
    )
    return MinuteReader(
        cloudwatch=cloudwatch,
        new=fleet("new") if new is None else new,
        old=fleet("old") if old is None else old,
        since=SINCE,
        now=START + minutes * MINUTE,
    )


def test_minutes_begin_with_the_first_call_of_the_new_fleet() -> None:
    """Earlier calls of the old fleet are its history; minutes without a call count too."""
    found = reader(
        5,
        Errors_new_SampleCount={2: 10.0, 4: 20.0},
        Errors_new_Sum={2: 1.0, 4: 0.0},
        Errors_old_SampleCount={-1: 80.0, 0: 90.0, 2: 90.0, 4: 95.0},
        Errors_old_Sum={-1: 2.0, 4: 3.0},
    ).failed()
    assert [minute.new for minute in found.minutes] == [Counts(calls=10, failed=1), Counts(), Counts(calls=20)]
    assert [minute.old for minute in found.minutes] == [Counts(calls=90), Counts(), Counts(calls=95, failed=3)]
    assert len(found.history) == 240
    assert found.history[-1] == Counts(calls=80, failed=2)
    assert found.alone_from is None


def test_nothing_is_known_before_the_first_call() -> None:
    """No minute is assumed."""
    found = reader(5, Errors_old_SampleCount={1: 90.0}).failed()
    assert (found.minutes, found.alone_from) == ((), None)


def test_failing_answers_are_added_to_the_others() -> None:
    """A load balancer counts successes and errors by separate metrics."""
    slots = [
        FleetMetrics(
            calls=metric("Answered", name),
            calls_statistic="Sum",
            errors=(metric("Failed", name), metric("Refused", name)),
        )
        for name in ("new", "old")
    ]
    series = {
        "Answered_new_Sum": {0: 5.0},
        "Failed_new_Sum": {0: 1.0, 1: 4.0},
        "Refused_new_Sum": {0: 2.0},
        "Answered_old_Sum": {0: 50.0},
    }
    first, second = Counts(calls=8, failed=3), Counts(calls=4, failed=4)
    found = reader(5, new=slots[0], old=slots[1], **series).failed()
    assert [minute.new for minute in found.minutes] == [first, second, *[Counts()] * 3]
    # errors of a minute whose successes are not published yet do not look like a dead fleet
    found = reader(3, new=slots[0], old=slots[1], **series).failed()
    assert [minute.new for minute in found.minutes] == [first, Counts(), Counts()]


def test_metrics_that_cannot_all_be_read_are_not_compared() -> None:
    """A live model without its errors would look better than it is."""
    requested = reader(3, Errors_new_SampleCount={0: 10.0}, Errors_old_SampleCount={0: 90.0})
    requested.cloudwatch.states["y0"] = "InternalError"  # type: ignore[attr-defined]
    with pytest.raises(IncompleteMetricsError, match="y0 with InternalError"):
        requested.failed()


@pytest.mark.parametrize(
    ("alone", "calls", "since"),
    [(3, 100.0, 3), (2, 100.0, None), (3, 60.0, None)],
    ids=["enough", "too short", "too few calls"],
)
def test_a_fleet_is_alone_only_where_that_is_not_chance(alone: int, calls: float, since: int | None) -> None:
    """Three minutes and 197 calls: data may be late, and at low volume the old fleet may get no call by chance."""
    found = reader(
        2 + alone,
        Errors_new_SampleCount=dict.fromkeys(range(2 + alone), calls),
        Errors_old_SampleCount={0: 900.0, 1: 900.0},
    ).failed()
    assert found.alone_from == since


@pytest.mark.parametrize(
    ("share", "calls", "since"), [(0.1, 3.0, 3), (0.1, 2.0, None), (0.5, 10.0, 3), (0.5, 3.0, None)]
)
def test_the_smaller_the_steps_the_fewer_calls_show_it(share: float, calls: float, since: int | None) -> None:
    """Nine calls in a row without an old fleet that gets nine of ten are no chance; where it gets half, thirty are needed."""
    series = {
        "Errors_new_SampleCount": dict.fromkeys(range(5), calls),
        "Errors_old_SampleCount": {0: 900.0, 1: 900.0},
    }
    assert replace(reader(5, **series), most_share=share).failed().alone_from == since


def test_calls_of_a_dead_executions_candidate_are_not_the_new_fleets() -> None:
    """A reused slot counts from the end of the dead execution's calls."""
    series = {"Errors_new_SampleCount": dict.fromkeys(range(4), 10.0), "Errors_old_SampleCount": {0: 90.0, 3: 90.0}}
    found = replace(reader(4, **series), not_before=START + 3 * MINUTE).failed()
    assert found.minutes == (Minute(new=Counts(calls=10), old=Counts(calls=90)),)


def test_a_clock_that_went_back_compares_nothing() -> None:
    """Data with a future time is not read."""
    assert reader(-5, Errors_new_SampleCount={1: 9.0}, Errors_old_SampleCount={1: 9.0}).failed().minutes == ()


def test_a_fleet_that_shrinks_is_compared_by_what_it_answers() -> None:
    """With half of its calls in mid-bake, shares are unchanged."""
    calls = {0: 600.0, 1: 600.0, 2: 60.0, 3: 60.0}
    found = reader(
        4, Errors_new_SampleCount=calls, Errors_new_Sum={2: 1.0}, Errors_old_SampleCount=dict.fromkeys(range(4), 5400.0)
    ).failed()
    assert [minute.new.calls for minute in found.minutes] == [600, 600, 60, 60]
    assert compare(found.minutes, history=found.history).stopped_at == 0


def test_the_history_of_a_config_that_did_not_serve_is_that_of_the_variant() -> None:
    """After hours with a shadow, the live model's calls belong to the config shared with it."""
    series = {
        "Errors_new_SampleCount": {0: 10.0},
        "Errors_old_SampleCount": {0: 90.0},
        "Errors_any_SampleCount": {-2: 100.0, -1: 100.0, 0: 100.0},
        "Errors_any_Sum": {-1: 3.0},
        "Latency_any_SampleCount": {-120: 100.0, -1: 50.0},
        "Latency_any_p99": {-120: 1000.0, -1: 1000.0},
        "Latency_any_PR(:1000.000000)": {-1: 98.0},
    }
    found = replace(reader(1, **series), before=fleet("any"))
    assert found.failed().history[-2:] == (Counts(calls=100), Counts(calls=100, failed=3))
    assert found.failed().minutes == (Minute(new=Counts(calls=10), old=Counts(calls=90)),)
    assert found.limits((99.0,)) == [1000.0]
    assert found.slower(1000.0, 1000.0).history[-1] == Counts(calls=50, failed=1)
    own = replace(reader(1, **{**series, "Errors_old_SampleCount": {-5: 7.0}}), before=fleet("any"))
    assert total(own.failed().history) == Counts(calls=7)


def test_limits_of_a_young_fleet_are_of_its_minutes() -> None:
    """CloudWatch's hours start on the hour; the rollout's first hour is partial."""
    since = SINCE + 20 * MINUTE
    series = {
        "Latency_old_SampleCount": {5: 10.0, 15: 30.0, 25: 900.0},
        "Latency_old_p99": {5: 100.0, 15: 200.0, 25: 9e6},
    }
    assert replace(reader(40, **series), since=since).limits((99.0,)) == pytest.approx([175.0])


def test_limits_are_weighted_by_the_calls_of_the_hours() -> None:
    """In the metric's unit; without earlier calls there is none."""
    hours = {-240: 100.0, -120: 300.0}
    found = reader(
        5,
        Latency_old_SampleCount=hours,
        Latency_old_p99={-240: 1000.0, -120: 2000.0},
        Latency_old_p50={-240: 100.0, -120: 100.0},
    )
    assert found.limits((99.0, 50.0)) == pytest.approx([1750.0, 100.0])
    assert reader(5).limits((99.0,)) == []
    slot = FleetMetrics(calls=metric("Requests", "old"), errors=())
    assert reader(5, old=slot).limits((99.0,)) == []
    assert reader(5, old=slot).slower(2.0, 1.0).minutes == ()


def test_slow_answers_are_counted_by_their_rank() -> None:
    """A minute without its percentile rank has no slow response."""
    found = reader(
        2,
        **{
            "Latency_new_SampleCount": {0: 200.0, 1: 100.0},
            "Latency_new_PR(:180.000000)": {0: 90.0},
            "Latency_old_SampleCount": {-1: 100.0, 0: 1000.0, 1: 1000.0},
            "Latency_old_PR(:120.000000)": {-1: 98.0, 0: 99.0, 1: 99.0},
        },
    ).slower(180.0, 120.0)
    assert [minute.new for minute in found.minutes] == [Counts(calls=200, failed=20), Counts(calls=100)]
    assert [minute.old for minute in found.minutes] == [Counts(calls=1000, failed=10)] * 2
    assert found.history[-1] == Counts(calls=100, failed=2)
