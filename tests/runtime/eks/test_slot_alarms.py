"""The alarms of a candidate's slot."""

from dataclasses import replace
from typing import Any

from tests.runtime.eks.samples import EKS, SPEC
from tests.runtime.eks.slots import BLUE, EXECUTION, GREEN

from mlops_runtime.aws_api import require_valid_request
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.serving import MetricRule
from mlops_runtime.eks.slot_alarms import NAMESPACE, SlotAlarms, dimensions, slot_fleet, slot_share
from mlops_runtime.rollout.fleet_alarms import FleetAlarms
from mlops_runtime.rollout.probation_alarm import alarm_request

ROLLOUT = RolloutSpec(
    kind="CANARY",
    bake=300,
    maximum=1800,
    percent=10,
    max_error_count=3,
    max_latency_ms=250,
    max_latency_ratio=1.5,
    metrics=(MetricRule(namespace="Shop", metric="Refunds", threshold=1, is_per_fleet=True),),
)
SPECIFIC = replace(SPEC, rollout=ROLLOUT)


def requests(**changes: Any) -> dict[str, dict[str, Any]]:
    """Return the requests by the end of the alarm's name."""
    values = {"spec": SPECIFIC, "config": GREEN, "previous": BLUE, "execution": EXECUTION}
    made = SlotAlarms(**{**values, "slot": "green", "live_slot": "blue", **changes})
    return {request["AlarmName"].rpartition("93939393-")[2]: request for request in made.requests()}


def test_they_are_those_of_a_fleet_by_name() -> None:
    """Abort, removal and cleanup find them by that name."""
    fleet = FleetAlarms(spec=SPECIFIC, config=GREEN, previous=BLUE, execution=EXECUTION)
    made = SlotAlarms(spec=SPECIFIC, config=GREEN, previous=BLUE, execution=EXECUTION, slot="green", live_slot="blue")
    assert made.names == fleet.names
    assert list(requests()) == ["verdict", "dead", "errors", "latency", "metric-1", "abort"]


def test_aws_takes_every_request() -> None:
    """Held to botocore's model."""
    for request in requests().values():
        require_valid_request("cloudwatch", "PutMetricAlarm", request)


def test_dimensions_are_the_ends_of_the_arns() -> None:
    """See: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html."""
    assert dimensions(EKS, "green") == [
        {"Name": "LoadBalancer", "Value": "app/demand/1"},
        {"Name": "TargetGroup", "Value": "targetgroup/green/0123456789abcdef"},
    ]


def test_errors_are_all_answers_but_success_and_none() -> None:
    """A candidate that rejects the live model's inputs is bad too; each metric exists only when it happens."""
    errors = requests()["errors"]
    *counted, total = errors["Metrics"]
    assert [metric["MetricStat"]["Metric"]["MetricName"] for metric in counted] == [
        "HTTPCode_Target_5XX_Count",
        "HTTPCode_Target_4XX_Count",
        "TargetConnectionErrorCount",
    ]
    assert total["Expression"] == "FILL(failed, 0) + FILL(refused, 0) + FILL(unreached, 0)"
    assert [metric["ReturnData"] for metric in errors["Metrics"]] == [False, False, False, True]
    assert (errors["Threshold"], errors["TreatMissingData"]) == (3.0, "notBreaching")


def test_latency_is_in_seconds_and_of_the_candidate() -> None:
    """The load balancer measures seconds, a model's latency is in microseconds."""
    latency = requests()["latency"]
    assert (latency["Namespace"], latency["MetricName"]) == (NAMESPACE, "TargetResponseTime")
    assert (latency["Threshold"], latency["ExtendedStatistic"]) == (0.25, "p95")
    assert latency["Dimensions"] == dimensions(EKS, "green")


def test_a_dead_slot_is_compared_with_the_live_one() -> None:
    """Both are behind one load balancer; the metrics stay below an alarm's limit."""
    *counted, compared = requests()["dead"]["Metrics"]
    slots = {metric["Id"]: metric["MetricStat"]["Metric"]["Dimensions"] for metric in counted}
    assert (slots["n"], slots["new_failed"]) == (dimensions(EKS, "green"), dimensions(EKS, "green"))
    assert (slots["m"], slots["old_failed"]) == (dimensions(EKS, "blue"), dimensions(EKS, "blue"))
    assert len(counted) + 1 <= 10
    assert compared["Expression"] == (
        "IF(n > 20 AND (FILL(new_failed, 0) + FILL(new_refused, 0) + FILL(new_unreached, 0)) / n > 0.5 AND "
        "FILL((FILL(old_failed, 0) + FILL(old_refused, 0) + FILL(old_unreached, 0)) / m, 0) < 0.25, 1, 0)"
    )


def test_a_slot_is_counted_by_the_load_balancer() -> None:
    """Successful and failed responses; `RequestCount` includes requests without a response."""
    fleet = slot_fleet(EKS, "green")
    assert (fleet.calls.metric, fleet.calls_statistic, fleet.milliseconds) == (
        "HTTPCode_Target_2XX_Count",
        "Sum",
        1000.0,
    )
    assert [each.metric for each in fleet.errors] == [
        "HTTPCode_Target_5XX_Count",
        "HTTPCode_Target_4XX_Count",
        "TargetConnectionErrorCount",
    ]
    assert fleet.calls.dimensions == {each["Name"]: each["Value"] for each in dimensions(EKS, "green")}


def test_a_metric_of_the_units_own_is_of_the_version() -> None:
    """The pods publish it under their version's name."""
    assert requests()["metric-1"]["Dimensions"] == [{"Name": "EndpointConfigName", "Value": GREEN}]


def test_the_descriptions_say_who_acts() -> None:
    """Only the machine shifts weights."""
    for name, request in requests().items():
        assert "SageMaker" not in request["AlarmDescription"], name
        assert request["AlarmDescription"].startswith("slot green with demand-forecast-93939393: ")


def test_the_model_before_is_counted_by_the_service_until_the_rollout_and_by_its_slot_since() -> None:
    """The load balancer's own errors have no slot, and a rejected call is the caller's fault."""
    share = slot_share(SPECIFIC, old="blue", since="2017-08-01T09:00:00Z")
    assert share.old is not None
    assert [each.metric for each in share.before.errors] == ["HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"]
    assert [each.metric for each in share.old.errors] == ["HTTPCode_Target_5XX_Count"]
    assert share.before.calls.dimensions == {"LoadBalancer": "app/demand/1"}
    assert share.old.calls.dimensions["TargetGroup"].startswith("targetgroup/blue/")


def test_the_alarm_of_a_probation_counts_whichever_slot_serves() -> None:
    """Another spec moves a model on probation to the other slot; AWS accepts the request once the share is known."""
    share = slot_share(SPECIFIC, old="blue", since="2017-08-01T09:00:00Z")
    request = alarm_request(SPECIFIC, EXECUTION, share.before)
    often = {
        "Id": "often",
        "Expression": "IF(errors >= 5 AND errors > 0.02 * calls, EPOCH(calls) >= 60, 0)",
        "ReturnData": True,
    }
    metrics = request["Metrics"]
    require_valid_request("cloudwatch", "PutMetricAlarm", {**request, "Metrics": [*metrics, often]})
    named = [each["MetricStat"]["Metric"]["Dimensions"] for each in metrics if "MetricStat" in each]
    assert named == [[{"Name": "LoadBalancer", "Value": "app/demand/1"}]] * 3
