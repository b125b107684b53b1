"""Replays of stored counts with other thresholds."""

from datetime import UTC, datetime

import numpy as np
import pytest

from mlops_runtime.contracts.monitor import Baseline, Counts
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import MergeError, count_columns, empty
from mlops_runtime.monitor.monitors.drift.replay import replay
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import HOUR

START = datetime(2017, 8, 7, tzinfo=UTC)


def prices(random: np.random.Generator, rows: int, factor: float = 1.0) -> dict[str, np.ndarray]:
    """Return prices."""
    return {"price": (random.lognormal(1, 0.4, rows) * factor).astype(np.float32)}


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    """Return a baseline of one feature."""
    columns = prices(np.random.default_rng(1), 20_000)
    return fit_baseline(columns, types={"price": "number"}, training_set_id="t", created="2017-08-01T00:00:00Z")


def hours(baseline: Baseline, rows: list[int], *, dearer_from: int = 10**9) -> list[tuple[datetime, Counts]]:
    """Return hourly counts; prices rise by 15 % from a given hour."""
    random = np.random.default_rng(2)
    return [
        (START + hour * HOUR, count_columns(prices(random, number, 1.15 if hour >= dearer_from else 1.0), baseline))
        for hour, number in enumerate(rows)
        if number
    ]


def states(found: tuple) -> list[str]:
    """Return the states of the windows."""
    return [one.state.value for one in found]


def test_a_rise_alarms_in_its_second_window_and_looser_thresholds_never(baseline: Baseline) -> None:
    """Of six windows of four hours, the fourth's rise raises an alarm in the fifth, and none with looser thresholds."""
    counts = hours(baseline, [500] * 24, dearer_from=12)
    span = {"window_hours": 4, "every_hours": 4, "start": START, "end": START + 24 * HOUR}
    found = replay(baseline, counts, MonitorSpec(), **span)
    assert states(found) == ["OK"] * 4 + ["VIOLATION"] * 2
    assert [one.features[0].drifted for one in found] == [False] * 3 + [True] * 3
    assert states(replay(baseline, counts, MonitorSpec(alarm_windows=1), **span)) == ["OK"] * 3 + ["VIOLATION"] * 3
    loose = MonitorSpec(minimum_effect=0.5, relative_shift=0.5)
    assert states(replay(baseline, counts, loose, **span)) == ["OK"] * 6


def test_small_windows_take_in_hours_and_share_none_with_what_they_confirm(baseline: Baseline) -> None:
    """At fifty rows an hour a verdict takes four hours; overlapping windows do not confirm each other."""
    counts = hours(baseline, [50] * 12, dearer_from=0)
    span = {"window_hours": 1, "every_hours": 1, "start": START, "end": START + 12 * HOUR}
    found = replay(baseline, counts, MonitorSpec(), **span)
    assert states(found)[:3] == ["INSUFFICIENT_DATA"] * 3
    assert [one.hours_merged for one in found] == [168] * 3 + [3] * 9
    drifted = [one for one in found if one.features and one.features[0].drifted]
    assert drifted
    first = drifted[0].window.end
    assert all(one.window.start - 3 * HOUR >= first for one in found if one.state.value == "VIOLATION")


def test_silence_is_no_verdict(baseline: Baseline) -> None:
    """Hours without calls have no verdict."""
    span = {"window_hours": 1, "every_hours": 1, "start": START, "end": START + 3 * HOUR}
    assert states(replay(baseline, hours(baseline, [300, 0, 0]), MonitorSpec(), **span)) == [
        "OK",
        "NO_TRAFFIC",
        "NO_TRAFFIC",
    ]


def test_order_and_pieces_do_not_matter(baseline: Baseline) -> None:
    """Several objects per hour, in reverse order, give the same verdicts."""
    counts = hours(baseline, [400] * 6)
    span = {"window_hours": 2, "every_hours": 1, "start": START, "end": START + 6 * HOUR}
    assert replay(baseline, counts[::-1], MonitorSpec(), **span) == replay(baseline, counts, MonitorSpec(), **span)


def test_counts_of_another_baseline_and_no_window_are_errors(baseline: Baseline) -> None:
    """Rejects counts of another baseline and an empty window."""
    other = fit_baseline(
        prices(np.random.default_rng(9), 500), types={"price": "number"}, training_set_id="u", created=""
    )
    span = {"window_hours": 1, "every_hours": 1, "start": START, "end": START + HOUR}
    with pytest.raises(MergeError):
        replay(baseline, [(START, empty(other))], MonitorSpec(), **span)
    with pytest.raises(ValueError, match="a window of 2 hours every 1 must fit between"):
        replay(baseline, [], MonitorSpec(), **{**span, "window_hours": 2})


def test_what_ended_before_the_live_model_is_no_silence(baseline: Baseline) -> None:
    """Hours that ended before the model went live are no silence and are not merged; silence after that is reported."""
    counts = hours(baseline, [0, 0, 0, 0, 50, 50, 50, 50, 0, 0])
    span = {"window_hours": 2, "every_hours": 2, "start": START, "end": START + 10 * HOUR}
    found = replay(baseline, counts, MonitorSpec(), **span, live_since=START + 3.5 * HOUR)

    assert states(found) == ["NOT_YET_DEPLOYED", "NO_TRAFFIC", "INSUFFICIENT_DATA", "OK", "NO_TRAFFIC"]
    assert [one.hours_before_live for one in found] == [2, 1, 0, 0, 0]
    assert [one.hours_merged for one in found] == [0, 0, 1, 2, 0]


def test_a_model_that_came_back_keeps_the_verdicts_of_its_first_time(baseline: Baseline) -> None:
    """A model that is live again keeps the verdicts from its first time, whose counts have its baseline."""
    counts = hours(baseline, [250, 250, 0, 0, 250, 250])
    span = {"window_hours": 2, "every_hours": 2, "start": START, "end": START + 6 * HOUR}
    found = replay(baseline, counts, MonitorSpec(), **span, live_since=START + 4 * HOUR)

    assert states(found) == ["OK", "NOT_YET_DEPLOYED", "OK"]
