"""Alarms of a new fleet: what each watches, and that CloudWatch takes it."""

from dataclasses import replace
from typing import Any

import pytest
from rollout_world import EXECUTION, SPEC

from mlops_runtime.aws_api.api_request import check_request
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import MetricRule
from mlops_runtime.rollout.fleet_alarms import FleetAlarms, alarm_kinds, alarm_prefix

NEW, OLD = "demand-forecast-22222222", "demand-forecast-11111111"
REFUNDS = MetricRule(namespace="Shop", metric="Refunds", threshold=5, dimensions={"Country": "DE"})
BASKET = MetricRule(
    namespace="Shop", metric="Basket", threshold=10, statistic="p10", comparison="LessThanThreshold", is_per_fleet=True
)


def spec(**rollout: Any) -> ServingSpec:
    """A spec whose rollout watches these."""
    return replace(SPEC, rollout=replace(SPEC.rollout, **rollout))


def alarms(wanted: ServingSpec, *, is_rollback: bool = False) -> dict[str, dict[str, Any]]:
    """Requests by how their names end."""
    made = FleetAlarms(spec=wanted, config=NEW, previous=OLD, execution=EXECUTION, is_rollback=is_rollback)
    stem = alarm_prefix(wanted.endpoint) + "22222222-"
    assert tuple(request["AlarmName"] for request in made.requests()) == made.names
    return {request["AlarmName"].removeprefix(stem): request for request in made.requests()}


FULL = spec(max_latency_ms=100, max_error_count=3, max_latency_ratio=1.5, metrics=(REFUNDS, BASKET))


def test_every_request_has_its_shape() -> None:
    """Botocore's model accepts each, and all are named by what they watch."""
    made = alarms(FULL)
    assert tuple(made) == alarm_kinds(FULL.rollout) == ("errors", "latency", "ratio", "metric-1", "metric-2", "abort")
    for request in made.values():
        assert check_request("cloudwatch", "PutMetricAlarm", request) == []


def test_errors_and_latency_are_the_new_fleets_alone() -> None:
    """The config's name is the dimension that tells fleets apart; silence is no breach."""
    made = alarms(FULL)
    fleet = {"Name": "EndpointConfigName", "Value": NEW}
    errors, latency = made["errors"], made["latency"]
    assert fleet in errors["Dimensions"]
    assert (errors["MetricName"], errors["Statistic"], errors["Threshold"]) == ("InvocationModelErrors", "Sum", 3.0)
    assert fleet in latency["Dimensions"]
    assert (latency["MetricName"], latency["Threshold"]) == ("ModelLatency", 100_000.0)
    assert (latency["ExtendedStatistic"], errors["TreatMissingData"]) == ("p95", "notBreaching")


def test_latency_is_compared_with_the_old_fleets() -> None:
    """The 99th percentile of both, divided; where nobody asked the old fleet the ratio is zero."""
    ratio = alarms(FULL)["ratio"]
    new, old, compared = ratio["Metrics"]
    configs = [
        next(d["Value"] for d in m["MetricStat"]["Metric"]["Dimensions"] if d["Name"] == "EndpointConfigName")
        for m in (new, old)
    ]
    assert configs == [NEW, OLD]
    assert (new["MetricStat"]["Stat"], new["MetricStat"]["Period"], new["ReturnData"]) == ("p99", 60, False)
    assert compared["Expression"] == "IF(FILL(old, 0) > 0, new / old, 0)"
    assert (ratio["Threshold"], compared["ReturnData"]) == (1.5, True)
    assert "Dimensions" not in ratio


def test_metrics_of_the_unit_are_as_declared() -> None:
    """Per fleet the config's name joins their dimensions."""
    made = alarms(FULL)
    first, second = made["metric-1"], made["metric-2"]
    assert first["Dimensions"] == [{"Name": "Country", "Value": "DE"}]
    assert (first["Statistic"], first["Threshold"], first["ComparisonOperator"]) == ("Sum", 5.0, "GreaterThanThreshold")
    assert second["Dimensions"] == [{"Name": "EndpointConfigName", "Value": NEW}]
    assert (second["ExtendedStatistic"], second["ComparisonOperator"]) == ("p10", "LessThanThreshold")


def test_an_abort_stays_until_it_is_deleted() -> None:
    """Nobody publishes its metric; what a person set is not evaluated away."""
    abort = alarms(SPEC)["abort"]
    assert (abort["TreatMissingData"], abort["MetricName"]) == ("ignore", "RolloutAbort")


def test_a_rollback_watches_errors_and_cannot_be_aborted() -> None:
    """Anything else would lead to what was fled from."""
    assert tuple(alarms(FULL, is_rollback=True)) == ("errors",)


@pytest.mark.parametrize(
    ("bake", "period", "periods"), [(600, 60, 5), (120, 60, 2), (60, 60, 1), (0, 60, 1), (900, 300, 3)]
)
def test_one_datapoint_rings_within_the_bake(bake: int, period: int, periods: int) -> None:
    """And goes on ringing, never for longer than a step is watched."""
    made = alarms(spec(bake=bake, alarm_period=period))["errors"]
    assert (made["EvaluationPeriods"], made["DatapointsToAlarm"]) == (periods, 1)


@pytest.mark.parametrize("kind", ["errors", "ratio", "abort"])
def test_alarms_do_nothing_by_themselves_and_say_whose_they_are(kind: str) -> None:
    """SageMaker reads their state; tags tell who pays."""
    request = alarms(FULL)[kind]
    assert request["ActionsEnabled"] is False
    assert {"Key": "mlops:endpoint", "Value": "demand-forecast"} in request["Tags"]
    assert NEW in request["AlarmDescription"]
