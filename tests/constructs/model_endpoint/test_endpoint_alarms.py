"""Alarms of an endpoint, evaluated with the embedded cloud's metric math."""

from typing import Any

import numpy as np
import pytest
from benchmarks.canary.traces import FAMILIES, traces

from mlops_constructs.model_endpoint.endpoint_alarms import OFTEN
from mlops_local.alarm_evaluation import evaluate
from mlops_runtime.rollout.fleet_alarms import WORSE, WORSE_DATAPOINTS, WORSE_PERIODS


def _evaluated(expression: str, **series: Any) -> list[float | None]:
    length = len(next(iter(series.values())))
    queries = [
        {"Id": name, "MetricStat": {"Metric": {"MetricName": name}, "Period": 60, "Stat": "Sum"}, "ReturnData": False}
        for name in series
    ]
    queries.append({"Id": "out", "Expression": expression, "ReturnData": True})
    found = evaluate(queries, lambda stat: series[stat["Metric"]["MetricName"]], [60.0 * at for at in range(length)])
    return list(found)


@pytest.mark.parametrize(
    ("new", "old", "fires"),
    [
        ((60, 1000), (90, 9000), True),  # 6 % against 1 %
        ((20, 1000), (90, 9000), False),  # 2 % against 1 %
        ((500, 1000), (4500, 9000), False),  # an outage of both fleets
        ((60, 1000), (0, 0), True),  # the only fleet with calls
        ((40, 1000), (0, 0), False),
        ((19, 19), (0, 100), False),  # too few calls to decide
        ((4, 20), (0, 100), False),  # too few errors
        ((5, 20), (0, 100), True),
    ],
)
def test_a_deployment_is_compared_without_a_function(new: tuple[int, int], old: tuple[int, int], fires: bool) -> None:
    """Compares counts of the new config with those of the whole endpoint."""
    (x, n), (y, m) = new, old
    assert _evaluated(WORSE, x=[x], n=[n], all_x=[x + y], all_n=[n + m]) == [float(fires)]


def test_a_new_fleet_without_calls_has_no_value() -> None:
    """Missing data are not breaching."""
    assert _evaluated(WORSE, x=[None], n=[None], all_x=[3.0], all_n=[100.0]) == [None]


@pytest.mark.parametrize("family", FAMILIES)
def test_identical_fleets_are_hardly_ever_rolled_back(family: str) -> None:
    """Over the benchmark's traces, at most 1 % of 200 roll back at each volume and base rate."""
    for volume in (60, 600, 6_000, 100_000):
        fired = 0
        for number, base in enumerate((0.0, 0.001, 0.01, 0.05)):
            rng = np.random.default_rng((16, volume, number))
            found = traces(rng, family, volume=volume, share=0.1, old=base, new=base, size=50)
            x, n, y, m = (each.astype(float) for each in (found.x, found.n, found.y, found.m))
            is_worse = (n >= 20) & (x >= 5) & (x * m > n * (0.01 * m + 3 * y))
            windows = np.lib.stride_tricks.sliding_window_view(is_worse, WORSE_PERIODS, axis=1).sum(2)
            fired += int((windows >= WORSE_DATAPOINTS).any(1).sum())
        assert fired <= 2, volume


@pytest.mark.parametrize(
    ("errors", "calls", "fires"), [(5, 100, True), (4, 100, False), (50, 100_000, False), (1500, 100_000, True)]
)
def test_the_errors_alarm_needs_a_count_and_a_share(errors: int, calls: int, fires: bool) -> None:
    """A few errors of a hundred thousand calls do not roll back."""
    assert _evaluated(OFTEN, errors=[errors], calls=[calls]) == [float(fires)]
