"""Proof that the live model fails."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from tests.campaign.slots.world import SPEC as SLOTS
from tests.runtime.rollout.world import SPEC

from mlops_runtime.rollout.live_failures import firing, is_broken, live_answers, unwatched
from mlops_runtime.rollout.live_history import Counts

NOW = datetime(2017, 8, 10, 12, 30, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("calls", "failed", "broken"),
    [(0, 0, False), (19, 19, False), (20, 20, True), (10_000, 1000, False), (10_000, 1200, True), (100, 20, False)],
)
def test_a_tenth_of_the_answers_must_fail_beyond_chance(calls: int, failed: int, broken: bool) -> None:
    """Few calls prove nothing."""
    assert is_broken(Counts(calls=calls, failed=failed)) is broken


def test_a_model_that_fails_a_tenth_is_called_broken_by_chance_alone() -> None:
    """At most one time in three hundred, at any number of calls."""
    random = np.random.default_rng(16)
    for calls in (200, 1000, 20_000):
        draws = random.binomial(calls, 0.1, 5000)
        assert sum(is_broken(Counts(calls=calls, failed=int(failed))) for failed in draws) <= 17


class CloudWatch:
    """Two of ten calls fail in each minute of the last two hours, and all calls before."""

    def __init__(self) -> None:
        self.queries: list[Any] = []

    def get_paginator(self, _name: str) -> "CloudWatch":
        """Page through GetMetricData."""
        return self

    def paginate(self, **request: Any) -> Any:
        """Answer with one page."""
        minutes = [NOW.replace(second=0) - timedelta(minutes=number) for number in range(1, 121)]
        self.queries += [query["MetricStat"] for query in request["MetricDataQueries"]]
        results = []
        for query in request["MetricDataQueries"]:
            stat = query["MetricStat"]
            name = stat["Metric"]["MetricName"]
            value = 8.0 if "2XX" in name else 10.0 if stat["Stat"] == "SampleCount" else 2.0
            known = value if "4XX" not in name and "Connection" not in name else 0.0
            results.append(
                {"Id": query["Id"], "StatusCode": "Complete", "Timestamps": minutes, "Values": [known] * 120}
            )
        yield {"MetricDataResults": results}


@pytest.mark.parametrize(("spec", "slot", "dimension"), [(SPEC, None, "VariantName"), (SLOTS, "blue", "TargetGroup")])
def test_the_hour_before_is_read_where_the_live_model_is_counted(spec: Any, slot: str | None, dimension: str) -> None:
    """By the variant of an endpoint in any config, and by the serving slot of a service."""
    cloudwatch: Any = CloudWatch()
    assert live_answers(cloudwatch, spec, live_slot=slot, now=NOW) == Counts(calls=600, failed=120)
    names = {each["Name"] for stat in cloudwatch.queries for each in stat["Metric"]["Dimensions"]}
    assert dimension in names
    assert "EndpointConfigName" not in names


def test_what_another_model_answered_in_that_hour_does_not_count() -> None:
    """Otherwise a rolled-back model's errors would make the restored model look broken, and its successor unwatched."""
    cloudwatch: Any = CloudWatch()
    since = NOW.replace(second=0) - timedelta(minutes=11)
    found = live_answers(cloudwatch, SPEC, live_slot=None, now=NOW, serves_since=since)
    assert found == Counts(calls=100, failed=20)


def test_only_what_is_in_alarm_beside_a_failing_model_is_not_watched() -> None:
    """Alarms stay watched if nothing was read, and if failures are chance."""
    states = {"a": "ALARM", "b": "OK", "d": "ALARM"}
    assert firing(("a", "b", "c"), states) == ("a",)
    assert unwatched(("a", "b", "c"), states, Counts(calls=100, failed=90)) == ("a",)
    assert unwatched(("a", "b", "c"), states, Counts(calls=100, failed=9)) == ()
    assert unwatched(("a", "b", "c"), states, None) == ()
