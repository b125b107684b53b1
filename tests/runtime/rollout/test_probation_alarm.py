"""The alarm of a probation: its name and its request to CloudWatch."""

from __future__ import annotations

from tests.runtime.rollout.world import SPEC

from mlops_runtime.rollout.fleet_minutes import FleetMetric, FleetMetrics
from mlops_runtime.rollout.probation_alarm import alarm_request, probation_alarm
from mlops_runtime.rollout.probation_share import endpoint_share

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Deploy:one"


def test_the_alarm_lacks_only_what_the_share_decides() -> None:
    """Its metrics are of the variant in any config; like the endpoint's own alarm it notifies nobody."""
    counted = endpoint_share(SPEC, previous="demand-forecast-1", since="2017-08-01T00:00:00Z").before
    request = alarm_request(SPEC, EXECUTION, counted)
    assert request["AlarmName"] == probation_alarm(SPEC.endpoint)
    assert [metric["MetricStat"]["Stat"] for metric in request["Metrics"]] == ["Sum", "SampleCount"]
    dimensions = {each["Name"] for each in request["Metrics"][0]["MetricStat"]["Metric"]["Dimensions"]}
    assert dimensions == {"EndpointName", "VariantName"}
    assert (request["ActionsEnabled"], request["DatapointsToAlarm"]) == (False, 3)
    assert "AlarmDescription" not in request


def test_metrics_of_their_own_for_each_error_are_summed() -> None:
    """Each is published only when it happens, and a failed response is a response."""
    answered, *errors = (FleetMetric(namespace="N", metric=name) for name in ("Answered", "Pods", "Balancer"))
    counted = FleetMetrics(calls=answered, errors=tuple(errors), calls_statistic="Sum")
    metrics = {each["Id"]: each for each in alarm_request(SPEC, EXECUTION, counted)["Metrics"]}
    assert {name: each["Expression"] for name, each in metrics.items() if "Expression" in each} == {
        "errors": "FILL(failed0, 0) + FILL(failed1, 0)",
        "calls": "FILL(answered, 0) + FILL(failed0, 0) + FILL(failed1, 0)",
    }
    assert {each["MetricStat"]["Stat"] for each in metrics.values() if "MetricStat" in each} == {"Sum"}
    assert not any(each["ReturnData"] for each in metrics.values())
