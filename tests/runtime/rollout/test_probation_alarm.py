"""The alarm of a probation: its name, its share, and what is asked of CloudWatch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rollout_world import SPEC
from tests.runtime.rollout.test_fleet_minutes import fleet

from mlops_runtime.rollout.fleet_comparison import ComparisonRule, Minute
from mlops_runtime.rollout.fleet_minutes import FleetMinutes
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.probation_alarm import alarm_request, allowed_share, counted, probation_alarm

RULE = ComparisonRule()


def minutes(failed: int, *, bake: int | None = None) -> FleetMinutes:
    """Four hours of 600 calls a minute, and a bake of ten minutes with half of them."""
    of_bake = Counts(calls=300, failed=(failed if bake is None else bake) // 2)
    new = Counts(calls=300, failed=250)
    return FleetMinutes(minutes=(Minute(new=new, old=of_bake),) * 10, history=(Counts(calls=600, failed=failed),) * 240)


@pytest.mark.parametrize(
    ("failed", "share"),
    [
        (0, 0.01),  # a point is the least
        (3, 0.0111),  # twice (half a percent and the tolerated half per mille)
        (18, 0.0611),
        (300, 1.0),
    ],
)
def test_the_share_is_twice_what_the_live_model_stays_below(failed: int, share: float) -> None:
    """However often the new fleet failed itself."""
    assert allowed_share(minutes(failed), RULE) == pytest.approx(share, abs=2e-4)


def test_what_the_live_model_failed_on_in_the_bake_counts() -> None:
    """An outage of both that began with the bake is no reason to take a model back later."""
    calm = replace(minutes(0), history=(Counts(calls=600, failed=1),) * 5)
    busy = replace(minutes(0, bake=120), history=calm.history)
    assert allowed_share(busy, RULE) > 30 * allowed_share(calm, RULE)  # type: ignore[operator]


def test_without_a_call_no_share_is_known() -> None:
    """The machine takes a point then."""
    assert allowed_share(FleetMinutes(), RULE) is None


def test_errors_of_the_model_are_counted_and_not_those_of_callers() -> None:
    """Both fleets and the hours before by the metric of the alarm, and all answers by the same."""
    found = counted(fleet("new"))
    assert (found.calls.metric, found.errors[0].metric) == ("Invocation5XXErrors",) * 2
    assert (found.calls.dimensions, found.calls_statistic) == (fleet("new").calls.dimensions, "SampleCount")


def test_the_alarm_lacks_only_what_the_share_decides() -> None:
    """Its metrics are of the variant, whichever config serves; it notifies nobody, as the endpoint's own alarm does."""
    request = alarm_request(SPEC, "arn:aws:states:us-east-1:123456789012:execution:Deploy:one")
    assert request["AlarmName"] == probation_alarm(SPEC.endpoint)
    assert [metric["MetricStat"]["Stat"] for metric in request["Metrics"]] == ["Sum", "SampleCount"]
    dimensions = {each["Name"] for each in request["Metrics"][0]["MetricStat"]["Metric"]["Dimensions"]}
    assert dimensions == {"EndpointName", "VariantName"}
    assert (request["ActionsEnabled"], request["DatapointsToAlarm"]) == (False, 3)
    assert "AlarmDescription" not in request
