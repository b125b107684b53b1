"""What the runs do apart from the functions' own tests: settings, refusals, what CloudWatch is asked."""

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from mlops_runtime.contracts import ContractError
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.monitor.report import Window
from mlops_runtime.monitor.run import DecideSettings, _invocations, count_object, decide_window, gather
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.rollout.table import RolloutTable

ENVIRONMENT = {
    "ENDPOINT": "demand-forecast",
    "VARIANT": "AllTraffic",
    "UNIT": "demand",
    "EVENT_BUS": "demand-bus",
    "WINDOW_HOURS": "24",
    "MONITOR": '{"minimum_effect": 0.05}',
}
SETTINGS = DecideSettings.from_environment(ENVIRONMENT)
NOW = datetime(2017, 8, 8, 0, 5, tzinfo=UTC)


def client(service: str) -> tuple[Any, Stubber]:
    """Return a client that answers from a script, and the script."""
    made = boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    return made, Stubber(made)


def test_settings_come_from_the_environment() -> None:
    """What the construct rendered is what the run uses."""
    assert (
        DecideSettings(
            endpoint="demand-forecast",
            variant="AllTraffic",
            unit="demand",
            bus="demand-bus",
            window_hours=24,
            spec=MonitorSpec(minimum_effect=0.05),
        )
        == SETTINGS
    )


def test_fails_for_a_spec_that_is_none() -> None:
    """A bound that is broken is named at start, before any window."""
    with pytest.raises(ContractError, match="minimum_rows must be at least 50, got 1"):
        DecideSettings.from_environment({**ENVIRONMENT, "MONITOR": '{"minimum_rows": 1}'})


def test_fails_when_the_bus_refuses_the_report() -> None:
    """A report that nobody hears of is a failed run: the schedule's target tries again."""
    s3, s3_script = client("s3")
    dynamodb, table_script = client("dynamodb")
    cloudwatch, metric_script = client("cloudwatch")
    events, event_script = client("events")
    table_script.add_response("get_item", {})
    for name in ("constraint_violations.json", "report.json"):
        key = f"monitor/demand-forecast/reports/2017-08-08T00/{name}"
        s3_script.add_response("put_object", {}, {"Bucket": "artifacts", "Key": key, "Body": ANY})
    metric_script.add_response("put_metric_data", {}, {"Namespace": "MLOps/demand", "MetricData": ANY})
    refusal = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "NotAuthorized"}]}
    event_script.add_response("put_events", refusal, {"Entries": ANY})
    with s3_script, table_script, metric_script, event_script, pytest.raises(RuntimeError) as caught:
        decide_window(
            NOW,
            SETTINGS,
            store=MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts", captures="captures"),
            table=RolloutTable(dynamodb, "rollout", "demand-forecast"),
            cloudwatch=cloudwatch,
            events=events,
        )
    assert str(caught.value) == "the bus 'demand-bus' refused the report's event: [{'ErrorCode': 'NotAuthorized'}]"
    for script in (s3_script, table_script, metric_script, event_script):
        script.assert_no_pending_responses()


def test_nothing_is_read_before_the_first_rollout() -> None:
    """Without a live model there is neither a baseline nor a question to CloudWatch."""
    s3, s3_script = client("s3")
    cloudwatch, script = client("cloudwatch")
    with s3_script, script:
        store = MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts", captures="captures")
        evidence = gather(Window.before(NOW, 24), SETTINGS, store=store, live=None, cloudwatch=cloudwatch)
    assert (evidence.live, evidence.baseline, evidence.counts, evidence.quality) == (None, None, None, None)


def test_an_object_of_another_endpoint_costs_no_call() -> None:
    """Neither the table nor the object is read."""
    s3, s3_script = client("s3")
    dynamodb, table_script = client("dynamodb")
    body = {"detail": {"bucket": {"name": "b"}, "object": {"key": "capture/other/AllTraffic/2017/08/07/10/a.jsonl"}}}
    with s3_script, table_script:
        store = MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts")
        table = RolloutTable(dynamodb, "rollout", "demand-forecast")
        assert count_object(json.dumps(body), store, table) is MonitorState.OK


def test_fails_for_an_event_without_an_object() -> None:
    """The message goes to the dead-letter queue, not into nothing."""
    s3, _ = client("s3")
    dynamodb, _ = client("dynamodb")
    store = MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts")
    with pytest.raises(KeyError, match="object"):
        count_object('{"detail": {"bucket": {"name": "b"}}}', store, RolloutTable(dynamodb, "t", "demand-forecast"))


@pytest.mark.parametrize(
    ("traffic", "asked"),
    [
        (None, ("AWS/SageMaker", "Invocations", {"EndpointName": "demand-forecast", "VariantName": "AllTraffic"})),
        (
            {"namespace": "AWS/ApplicationELB", "metric": "RequestCount", "dimensions": {"LoadBalancer": "app/x/1"}},
            ("AWS/ApplicationELB", "RequestCount", {"LoadBalancer": "app/x/1"}),
        ),
    ],
)
def test_calls_are_counted_where_they_are_published(traffic: object, asked: tuple[str, str, dict[str, str]]) -> None:
    """SageMaker's own metric, or that of the load balancer before a cluster's pods."""
    environment = ENVIRONMENT if traffic is None else {**ENVIRONMENT, "TRAFFIC": json.dumps(traffic)}
    cloudwatch, script = client("cloudwatch")
    window, (namespace, metric, dimensions) = Window.before(NOW, 24), asked
    script.add_response(
        "get_metric_statistics",
        {"Datapoints": [{"Sum": 3.0}, {"Sum": 4.0}]},
        {
            "Namespace": namespace,
            "MetricName": metric,
            "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            "StartTime": window.start,
            "EndTime": window.end,
            "Period": 3600,
            "Statistics": ["Sum"],
        },
    )
    with script:
        assert _invocations(window, DecideSettings.from_environment(environment), cloudwatch) == 7
