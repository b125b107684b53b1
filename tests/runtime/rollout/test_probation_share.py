"""The failure share of a probation: the reference that it multiplies, and its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.runtime.rollout.test_fleet_minutes import MINUTE, SINCE, START, CloudWatch, fleet
from tests.runtime.rollout.world import SPEC

from mlops_runtime.contracts.serving import ServerlessSpec
from mlops_runtime.rollout.fleet_comparison import ComparisonRule
from mlops_runtime.rollout.fleet_minutes import IncompleteMetricsError
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.probation_share import ShareRequest, allowed_share, counted, endpoint_share, read_share

RULE = ComparisonRule()


def minutes(failed: int) -> Sequence[Counts]:
    """Return four hours of 600 calls a minute."""
    return (Counts(calls=600, failed=failed),) * 240


def read(before: dict[int, float], bake: dict[int, float], *, state: str = "Complete", **changes: Any) -> float | None:
    """Read the share; 600 calls a minute with the given failures, by minute since the rollout's start."""
    series = {
        "Errors_variant_Sum": before,
        "Errors_variant_SampleCount": dict.fromkeys(before, 600.0),
        "Errors_old_Sum": bake,
        "Errors_old_SampleCount": dict.fromkeys(bake, 600.0),
    }
    cloudwatch: Any = CloudWatch(
        **{name: {START + at * MINUTE: value for at, value in found.items()} for name, found in series.items()}
    )
    cloudwatch.states = {"m": state}
    request = ShareRequest(since=SINCE.isoformat(), before=fleet("variant"), tolerated=0.0005, old=fleet("old"))
    return read_share(cloudwatch, replace(request, **changes), now=START + timedelta(minutes=30))


@pytest.mark.parametrize(
    ("failed", "share"),
    [
        (0, 0.01),  # a point is the minimum
        (3, 0.0111),  # twice (half a percent and the tolerated half per mille)
        (18, 0.0611),
        (300, 0.75),  # half way to 1: a model that fails all calls is still rolled back
        (600, 1.0),
    ],
)
def test_the_share_is_twice_what_the_model_before_stays_below(failed: int, share: float) -> None:
    """Plus the tolerance."""
    assert allowed_share(minutes(failed), RULE) == pytest.approx(share, abs=2e-4)


def test_without_a_call_no_share_is_known() -> None:
    """The machine uses a point then."""
    assert allowed_share((), RULE) is None
    assert read({}, {}) is None


def test_the_hours_before_count_and_its_part_of_the_bake() -> None:
    """An outage of both since the bake's start does not roll back a model later."""
    calm = dict.fromkeys(range(-60, 0), 6.0)
    assert read(calm, dict.fromkeys(range(30), 6.0)) == pytest.approx(0.0218, abs=1e-3)
    assert read(calm, dict.fromkeys(range(30), 420.0)) == pytest.approx(0.85)


def test_what_serves_since_is_not_the_model_before() -> None:
    """If both are indistinguishable, as on a serverless endpoint, only calls before the rollout count."""
    calm = dict.fromkeys(range(-60, 0), 6.0)
    assert read({**calm, **dict.fromkeys(range(30), 300.0)}, {}) == pytest.approx(0.0218, abs=1e-3)
    assert read({**calm, **dict.fromkeys(range(30), 300.0)}, {}, old=None) == pytest.approx(0.0218, abs=1e-3)


def test_of_few_calls_little_is_known() -> None:
    """A model that fails all its calls is rolled back nevertheless."""
    assert allowed_share((Counts(calls=2),), RULE) == 0.5
    assert allowed_share((Counts(calls=30),), RULE) == pytest.approx(0.201)


def test_what_another_model_failed_before_is_not_the_model_befores_share() -> None:
    """That model was rolled back an hour ago for its errors, and the next one has to be better."""
    bad, calm = dict.fromkeys(range(-120, -30), 600.0), dict.fromkeys(range(-30, 0), 0.0)
    assert read({**bad, **calm}, {}) == 1.0
    served = (START - 31 * MINUTE + timedelta(seconds=20)).isoformat()
    assert read({**bad, **calm}, {}, serves_since=served) == 0.01
    # the minute of the takeover has calls of both, and later responses are not its earlier hours
    assert read({**bad, **calm}, {}, serves_since=(START + timedelta(seconds=1)).isoformat()) is None


def test_half_of_the_metrics_are_no_share() -> None:
    """The machine continues with a point."""
    with pytest.raises(IncompleteMetricsError):
        read({-1: 6.0}, {}, state="PartialData")


def test_errors_of_the_model_are_counted_and_not_those_of_callers() -> None:
    """All responses are counted by the same metric."""
    found = counted(fleet("new"))
    assert (found.calls.metric, found.errors[0].metric) == ("Invocation5XXErrors",) * 2
    assert (found.calls.dimensions, found.calls_statistic) == (fleet("new").calls.dimensions, "SampleCount")


def test_an_endpoint_is_counted_by_its_variant_and_the_model_before_by_its_config() -> None:
    """A serverless endpoint has one fleet, and its config's own metrics are undocumented."""
    requested = endpoint_share(SPEC, previous="demand-forecast-1", since="2017-08-01T00:00:00Z")
    assert requested.old is not None
    assert set(requested.old.calls.dimensions) - set(requested.before.calls.dimensions) == {"EndpointConfigName"}
    serverless = replace(SPEC, serverless=ServerlessSpec(memory_mb=2048, max_concurrency=5))
    assert endpoint_share(serverless, previous="demand-forecast-1", since="2017-08-01T00:00:00Z").old is None
    assert endpoint_share(SPEC, previous=None, since="2017-08-01T00:00:00Z").old is None
