"""Alarms of a new fleet: their metrics, and requests that CloudWatch accepts."""

from dataclasses import replace
from typing import Any

import pytest
from tests.runtime.rollout.world import EXECUTION, SPEC

from mlops_local import alarm_evaluation
from mlops_runtime.aws_api.api_request import check_request
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import MetricRule
from mlops_runtime.rollout.fleet_alarms import FleetAlarms, alarm_kinds, alarm_prefix, verdict_dimensions

NEW, OLD = "demand-forecast-22222222", "demand-forecast-11111111"
REFUNDS = MetricRule(namespace="Shop", metric="Refunds", threshold=5, dimensions={"Country": "DE"})
BASKET = MetricRule(
    namespace="Shop", metric="Basket", threshold=10, statistic="p10", comparison="LessThanThreshold", is_per_fleet=True
)


def spec(**rollout: Any) -> ServingSpec:
    """Return a spec whose rollout watches the given limits."""
    return replace(SPEC, rollout=replace(SPEC.rollout, **rollout))


def alarms(wanted: ServingSpec, *, is_rollback: bool = False) -> dict[str, dict[str, Any]]:
    """Return alarm requests by the end of their names."""
    made = FleetAlarms(spec=wanted, config=NEW, previous=OLD, execution=EXECUTION, is_rollback=is_rollback)
    stem = alarm_prefix(wanted.endpoint) + "22222222-"
    assert tuple(request["AlarmName"] for request in made.requests()) == made.names
    return {request["AlarmName"].removeprefix(stem): request for request in made.requests()}


FULL = spec(max_latency_ms=100, max_error_count=3, max_latency_ratio=1.5, metrics=(REFUNDS, BASKET))


def test_every_request_has_its_shape() -> None:
    """Botocore accepts each request, and names describe the metric."""
    made = alarms(FULL)
    kinds = ("verdict", "dead", "errors", "latency", "metric-1", "metric-2", "abort")
    assert tuple(made) == alarm_kinds(FULL.rollout) == kinds
    for request in made.values():
        assert check_request("cloudwatch", "PutMetricAlarm", request) == []


def test_errors_and_latency_are_the_new_fleets_alone() -> None:
    """The config's name is the dimension of a fleet; missing data is not breaching."""
    made = alarms(FULL)
    fleet = {"Name": "EndpointConfigName", "Value": NEW}
    errors, latency = made["errors"], made["latency"]
    assert fleet in errors["Dimensions"]
    assert (errors["MetricName"], errors["Statistic"], errors["Threshold"]) == ("InvocationModelErrors", "Sum", 3.0)
    assert fleet in latency["Dimensions"]
    assert (latency["MetricName"], latency["Threshold"]) == ("ModelLatency", 100_000.0)
    assert (latency["ExtendedStatistic"], errors["TreatMissingData"]) == ("p95", "notBreaching")


def test_without_a_limit_no_count_is_watched() -> None:
    """A function compares both fleets and sets the alarm instead."""
    made = alarms(SPEC)
    assert tuple(made) == ("verdict", "dead", "abort")
    verdict = made["verdict"]
    assert (verdict["Namespace"], verdict["MetricName"]) == ("MLOps/Rollout", "RolloutVerdict")
    assert (verdict["TreatMissingData"], verdict["Threshold"]) == ("ignore", 0.0)
    assert verdict["Dimensions"] == verdict_dimensions("demand-forecast", NEW)


def test_a_dead_fleet_fires_without_the_function() -> None:
    """Most of more than twenty responses in two of three minutes fail, and few of the old fleet's."""
    dead = alarms(SPEC)["dead"]
    *counted, compared = dead["Metrics"]
    assert [(metric["Id"], metric["MetricStat"]["Stat"]) for metric in counted] == [
        ("x", "Sum"),
        ("n", "SampleCount"),
        ("y", "Sum"),
        ("m", "SampleCount"),
    ]
    assert compared["Expression"] == "IF(n > 20 AND x / n > 0.5 AND FILL(y / m, 0) < 0.25, 1, 0)"
    assert (dead["EvaluationPeriods"], dead["DatapointsToAlarm"]) == (3, 2)


@pytest.mark.parametrize(
    ("counts", "fires"),
    [
        ({"x": 300.0, "n": 300.0, "y": 0.0, "m": 2700.0}, 1.0),
        ({"x": 300.0, "n": 300.0, "y": None, "m": None}, 1.0),
        ({"x": 300.0, "n": 300.0, "y": 1350.0, "m": 2700.0}, 0.0),
        ({"x": 100.0, "n": 300.0, "y": 0.0, "m": 2700.0}, 0.0),
        ({"x": 20.0, "n": 20.0, "y": 0.0, "m": 2700.0}, 0.0),
    ],
    ids=["dead", "alone", "outage of both", "a third", "few calls"],
)
def test_the_expression_of_a_dead_fleet(counts: dict[str, float | None], fires: float) -> None:
    """Agrees with CloudWatch's metric math."""
    queries = alarms(SPEC)["dead"]["Metrics"]
    assert alarm_evaluation.problems(queries) == []
    ids = {id(query["MetricStat"]): query["Id"] for query in queries if "MetricStat" in query}
    assert alarm_evaluation.evaluate(queries, lambda stat: [counts[ids[id(stat)]]]) == [fires]


@pytest.mark.parametrize(("bake", "periods", "slow"), [(60, 1, 1), (120, 2, 2), (300, 5, 3), (3600, 5, 3)])
def test_one_slow_period_is_no_slow_fleet(bake: int, periods: int, slow: int) -> None:
    """Any fleet has a slow period with few responses now and then, where the slowest is the 95th percentile."""
    latency = alarms(spec(max_latency_ms=100, bake=bake, alarm_period=60))["latency"]
    assert (latency["EvaluationPeriods"], latency["DatapointsToAlarm"]) == (periods, slow)


def test_metrics_of_the_unit_are_as_declared() -> None:
    """For each fleet the config's name is added to their dimensions."""
    made = alarms(FULL)
    first, second = made["metric-1"], made["metric-2"]
    assert first["Dimensions"] == [{"Name": "Country", "Value": "DE"}]
    assert (first["Statistic"], first["Threshold"], first["ComparisonOperator"]) == ("Sum", 5.0, "GreaterThanThreshold")
    assert second["Dimensions"] == [{"Name": "EndpointConfigName", "Value": NEW}]
    assert (second["ExtendedStatistic"], second["ComparisonOperator"]) == ("p10", "LessThanThreshold")


def test_an_abort_stays_until_it_is_deleted() -> None:
    """Its metric is never published, so that the state set by a person is not evaluated away."""
    abort = alarms(SPEC)["abort"]
    assert (abort["TreatMissingData"], abort["MetricName"]) == ("ignore", "RolloutAbort")


def test_a_rollback_watches_whether_it_is_dead_and_cannot_be_aborted() -> None:
    """Any other alarm would return to the version that the rollback leaves."""
    assert tuple(alarms(FULL, is_rollback=True)) == ("dead",)


@pytest.mark.parametrize(
    ("bake", "period", "periods"), [(600, 60, 5), (120, 60, 2), (60, 60, 1), (0, 60, 1), (900, 300, 3)]
)
def test_one_datapoint_rings_within_the_bake(bake: int, period: int, periods: int) -> None:
    """It stays in ALARM, for no longer than a step is watched."""
    made = alarms(spec(bake=bake, alarm_period=period, max_error_count=1))["errors"]
    assert (made["EvaluationPeriods"], made["DatapointsToAlarm"]) == (periods, 1)


@pytest.mark.parametrize("kind", ["verdict", "dead", "errors", "abort"])
def test_alarms_do_nothing_by_themselves_and_say_whose_they_are(kind: str) -> None:
    """SageMaker reads their state; tags assign the cost."""
    request = alarms(FULL)[kind]
    assert request["ActionsEnabled"] is False
    assert {"Key": "mlops:endpoint", "Value": "demand-forecast"} in request["Tags"]
    assert NEW in request["AlarmDescription"]
