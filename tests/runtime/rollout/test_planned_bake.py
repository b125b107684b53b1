"""The bake time of a step, from the live fleet's traffic."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.rollout.fleet_comparison import Minute, compare
from mlops_runtime.rollout.fleet_minutes import FleetMetric
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.planned_bake import Traffic, answers_to_see, fault, planned_bake, read_traffic

NOW = datetime(2017, 8, 8, 12, 3, 30, tzinfo=UTC)
START = NOW.replace(minute=0, second=0)
METRIC = FleetMetric(namespace="N", metric="Errors", dimensions={"EndpointName": "demand"})
ROLLOUT = RolloutSpec(kind="CANARY", bake=600, maximum=28800, percent=10, max_bake=3600, min_invocations=20)
HALVES = (0.1, 1.0)


class CloudWatch:
    """Calls and failures of an hour by its start, in two pages."""

    def __init__(self, hours: dict[datetime, tuple[float, float]], error: Exception | None = None) -> None:
        self.hours, self.error = hours, error

    def get_paginator(self, name: str) -> "CloudWatch":
        """Page through GetMetricData."""
        assert name == "get_metric_data"
        return self

    def paginate(self, **request: Any) -> Any:
        """Yield half of the hour in each page."""
        if self.error is not None:
            raise self.error
        calls, failed = self.hours.get(request["StartTime"], (0.0, 0.0))
        for _ in range(2):
            values = {"SampleCount": calls / 2, "Sum": failed / 2}
            found = [(q["Id"], values[q["MetricStat"]["Stat"]]) for q in request["MetricDataQueries"]]
            yield {"MetricDataResults": [{"Id": name, "Values": [value] if value else []} for name, value in found]}


def _read(hours: dict[datetime, tuple[float, float]], error: Exception | None = None) -> Traffic:
    cloudwatch: Any = CloudWatch(hours, error)
    return read_traffic(cloudwatch, METRIC, now=NOW)


def test_the_quieter_of_last_week_and_the_last_hour_counts() -> None:
    """Both estimate the coming hour; the smaller one bakes longer."""
    week, hour = START - timedelta(days=7), START - timedelta(hours=1)
    assert _read({week: (6000, 60), hour: (9000, 0)}) == Traffic(
        calls=100.0, failing=0.01, source="in this hour last week"
    )
    assert _read({week: (6000, 60), hour: (600, 0)}).source == "in the hour before"
    assert _read({hour: (600, 0)}).calls == 10.0


def test_no_call_and_no_answer_are_unknown_traffic() -> None:
    """Unreadable metrics do not fail a rollout."""
    assert _read({}) == Traffic()
    refused = ClientError({"Error": {"Code": "InternalServiceFault", "Message": "later"}}, "GetMetricData")
    found = _read({}, refused)
    assert found.calls == 0.0
    assert "later" in found.source


@pytest.mark.parametrize(
    ("failing", "share", "calls"), [(0.0, 0.1, 100), (0.001, 0.1, 600), (0.01, 0.5, 1000), (0.05, 0.1, 1200)]
)
def test_the_planned_answers_show_the_fault_in_nine_of_ten(failing: float, share: float, calls: int) -> None:
    """By simulated rollouts of the planned length, with one minute of warm-up."""
    rng = np.random.default_rng(16)
    length = int(np.ceil(answers_to_see(share=share, failing=failing) / (calls * share))) + 1
    stopped = 0
    for _ in range(100):
        n, m = rng.poisson(calls * share, length), rng.poisson(calls * (1 - share), length)
        x, y = rng.binomial(n, fault(failing)), rng.binomial(m, failing)
        minutes = [
            Minute(new=Counts(calls=a, failed=b), old=Counts(calls=c, failed=d))
            for a, b, c, d in zip(n.tolist(), x.tolist(), m.tolist(), y.tolist(), strict=True)
        ]
        stopped += compare(minutes).stopped_at > 0
    assert stopped >= 86


def test_without_a_longest_bake_nothing_is_planned() -> None:
    """The record has no plan either."""
    rollout = RolloutSpec(kind="CANARY", bake=600, maximum=3600, percent=10)
    found = planned_bake(rollout, HALVES, Traffic())
    assert (found.seconds, found.why) == (600, "")


@pytest.mark.parametrize(
    ("calls", "seconds"), [(100_000.0, 600), (1_200.0, 660), (600.0, 1200), (10.0, 3600), (0.0, 3600)]
)
def test_a_step_bakes_until_the_answers_are_there(calls: float, seconds: int) -> None:
    """Between ``bake`` and ``max_bake``, in whole minutes."""
    found = planned_bake(ROLLOUT, HALVES, Traffic(calls=calls))
    assert found.seconds == seconds
    assert found.why.startswith(f"bakes {seconds // 60} minutes a step")


def test_the_steps_before_the_last_share_the_answers() -> None:
    """Three steps of a quarter get six times the calls of one."""
    one = planned_bake(ROLLOUT, (0.25, 1.0), Traffic(calls=60.0))
    three = planned_bake(ROLLOUT, (0.25, 0.5, 0.75, 1.0), Traffic(calls=60.0))
    assert three.seconds < one.seconds


def test_the_reason_names_what_max_bake_leaves_out() -> None:
    """Also for a fleet without a comparison, which no number of calls can show to be a point worse."""
    assert "that would take" in planned_bake(ROLLOUT, HALVES, Traffic(calls=10.0)).why
    alone = planned_bake(ROLLOUT, (1.0,), Traffic(calls=1e6, failing=0.05))
    assert (alone.seconds, "no number of answers" in alone.why) == (3600, True)


def test_a_promotion_that_needs_more_answers_bakes_for_them() -> None:
    """If ``min_invocations`` exceeds the calls that show the fault."""
    rollout = RolloutSpec(kind="CANARY", bake=60, maximum=28800, percent=10, max_bake=3600, min_invocations=5000)
    found = planned_bake(rollout, HALVES, Traffic(calls=2_000.0))
    assert (found.seconds, "5,000 answers are needed" in found.why) == (26 * 60, True)
