"""Percentiles of a window against limits and the weeks before."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.monitor.timeline import START

from mlops_runtime.monitor.monitors.latency_measures import PERCENTILES, LatencyHour, measure_latency
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import HOUR, Window

WINDOW = Window(START, START + 24 * HOUR)
SPEC = MonitorSpec(latency_limits={"p99": 50}, maximum_latency_ratio=1.5)
LONG_AGO = START - timedelta(weeks=30)


def hours(first: int, values: list[float], calls: int = 100) -> list[LatencyHour]:
    """Return hours in which every percentile has the value."""
    return [
        LatencyHour(hour=START + (first + i) * HOUR, calls=calls, milliseconds=dict.fromkeys(PERCENTILES, value))
        for i, value in enumerate(values)
    ]


def violated(found: list[LatencyHour], spec: MonitorSpec = SPEC, since=LONG_AGO) -> list[str]:
    """Return the names of percentiles that are too high."""
    return [m.name for m in measure_latency(found, WINDOW, spec, since=since).metrics if m.violated]


def test_a_percentile_is_too_high_above_its_limit_or_above_the_weeks_before() -> None:
    """Limits: 50 ms for p99, and 1.5 times the earlier value for each."""
    assert violated(hours(0, [60] * 4)) == ["p99"]
    assert violated(hours(-4, [10] * 4) + hours(0, [14] * 4)) == []
    assert violated(hours(-4, [10] * 4) + hours(0, [16] * 4)) == ["p50", "p95", "p99"]


def test_one_slow_hour_of_many_is_no_violation() -> None:
    """The lower bound of the interval over hours must be too high."""
    assert violated(hours(-4, [10] * 4) + hours(0, [10] * 11 + [120])) == []
    measured = measure_latency(hours(0, [10] * 11 + [120]), WINDOW, SPEC, since=LONG_AGO).metrics[0]
    assert measured.low is not None
    assert measured.value == pytest.approx(230 / 12)
    assert measured.low < 10


def test_few_calls_say_nothing() -> None:
    """Below 100 calls no percentile is evaluated; without calls there is none."""
    few = measure_latency(hours(0, [500], calls=99), WINDOW, SPEC, since=LONG_AGO)
    assert [m.violated for m in few.metrics] == [None] * 3
    none = measure_latency(hours(-3, [500] * 3), WINDOW, SPEC, since=LONG_AGO)
    assert (none.calls, none.metrics) == (0, ())


def test_a_new_model_is_compared_with_itself_once_it_has_served() -> None:
    """The first window of a new model is compared with the previous model's hours, later ones with its own."""
    before = hours(-48, [10] * 24)
    assert violated(before + hours(0, [20] * 24), since=START) == ["p50", "p95", "p99"]
    own = hours(-24, [20] * 24)
    assert violated(before + own + hours(0, [20] * 24), since=START - 24 * HOUR) == []


@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.integers(1, 10**6)), min_size=1, max_size=24))
def test_a_mean_of_hours_lies_between_them(values: list[tuple[float, int]]) -> None:
    """The mean of hours lies between them and in its interval."""
    found = [
        LatencyHour(hour=START + i * HOUR, calls=calls, milliseconds={"p50": value})
        for i, (value, calls) in enumerate(values)
    ]
    measured = measure_latency(found, WINDOW, MonitorSpec(), since=LONG_AGO).metrics[0]
    assert measured.value is not None
    assert min(v for v, _ in values) * 0.999 <= measured.value <= max(v for v, _ in values) * 1.001
    if measured.low is not None and measured.high is not None:
        assert 0 <= measured.low <= measured.value <= measured.high
