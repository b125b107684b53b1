"""Model monitors in a template."""

import inspect
import json
from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms

from mlops_constructs import ModelMonitor, MonitorEngine, SageMakerModelMonitor, ValidationError
from mlops_runtime.contracts import from_json
from mlops_runtime.monitor.cloudwatch_metrics import metric_names
from mlops_runtime.monitor.scheduled_run import DecideSettings
from mlops_runtime.monitor.spec import MonitorSpec


def test_only_captures_of_the_endpoint_are_counted(demand: Any):
    """The rule matches the captures' bucket and prefix, not those of labels."""
    detail = demand.one("AWS::Events::Rule", "MonitorCaptured")["EventPattern"]["detail"]
    assert detail["object"] == {"key": [{"prefix": "capture/demand-forecast/"}]}
    assert list(detail["bucket"]["name"][0]) == ["Ref"]


def test_the_deciding_function_reads_its_environment(demand: Any):
    """The function's settings parse the construct's environment."""
    variables = demand.one("AWS::Lambda::Function", "MonitorDecide")["Environment"]["Variables"]
    plain = {name: value if isinstance(value, str) else "token" for name, value in variables.items()}
    settings = DecideSettings.from_environment(plain)
    assert (settings.endpoint, settings.variant, settings.unit, settings.window_hours) == (
        "demand-forecast",
        "AllTraffic",
        "demand",
        168,
    )
    assert settings.period_hours == 24
    assert settings.spec == MonitorSpec() == from_json(MonitorSpec, json.dumps(json.loads(plain["MONITOR"])))


@pytest.mark.parametrize(
    ("every", "expression"),
    [
        (cdk.Duration.days(7), "cron(15 6 ? * MON *)"),
        (cdk.Duration.hours(168), "cron(15 6 ? * MON *)"),
        (cdk.Duration.days(1), "cron(15 6 * * ? *)"),
        (cdk.Duration.hours(6), "cron(15 */6 * * ? *)"),
        (cdk.Duration.hours(1), "cron(15 * * * ? *)"),
        (cdk.Duration.hours(5), "rate(5 hours)"),
    ],
)
def test_days_and_weeks_are_decided_in_the_morning(define: Callable[..., Any], every: cdk.Duration, expression: str):
    """A weekly report does not depend on the time of deployment."""
    assert (
        define(monitor={"interval": every}).one("AWS::Events::Rule", "MonitorSchedule")["ScheduleExpression"]
        == expression
    )


def test_a_large_object_has_time_and_takes_no_other_with_it(demand: Any):
    """The function has one vCPU for five minutes per object; the visibility timeout is six times as long."""
    function = demand.one("AWS::Lambda::Function", "MonitorCounts")
    assert (function["MemorySize"], function["Timeout"]) == (1769, 300)
    assert demand.one("AWS::Lambda::EventSourceMapping", "MonitorCounts")["BatchSize"] == 1
    assert demand.one("AWS::SQS::Queue", "MonitorCountsQueue")["VisibilityTimeout"] == 1800
    decide = demand.one("AWS::Lambda::Function", "MonitorDecide")
    assert (decide["MemorySize"], decide["Timeout"]) == (1769, 900)


def test_metrics_are_logged_and_need_no_right(demand: Any):
    """CloudWatch extracts metrics from the function's log in embedded metric format; the role only reads CloudWatch."""
    actions = [s["Action"] for s in demand.statements("MonitorDecideRole")]
    assert [action for action in actions if str(action).startswith("cloudwatch:")] == ["cloudwatch:GetMetricData"]


def test_metrics_have_the_dimensions_that_the_function_writes(demand: Any):
    """Alarm and function use the same metric."""
    metric = demand.monitor.metric_wape_ratio()
    assert (metric.namespace, metric.metric_name) == ("MLOps/demand", "WapeRatio")
    assert metric.dimensions == {"Endpoint": "demand-forecast", "Variant": "AllTraffic", "Monitor": "quality"}
    assert demand.monitor.metric_max_psi().dimensions["Monitor"] == "drift"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"monitor": {"window": cdk.Duration.minutes(90)}}, "window must be whole hours"),
        ({"monitor": {"window": cdk.Duration.days(91)}}, "window must be from"),
        ({"monitor": {"interval": cdk.Duration.minutes(5)}}, "interval must be from"),
        (
            {"monitor": {"window": cdk.Duration.days(1), "interval": cdk.Duration.days(3)}},
            "interval must be at most the window, 1 day, got 3 days: calls between two windows would not be monitored",
        ),
        (
            {"monitor": {"window": 7, "interval": 1, "spec": {"minimum_rows": 500}, "engine": "processing"}},
            r"window must be a cdk.Duration .* got 7; interval must be a cdk.Duration .* got 1; spec must be a MonitorSpec.* got "
            r"{'minimum_rows': 500}; engine must be a MonitorEngine .* got 'processing'",
        ),
        (
            {
                "monitor": {
                    "window": cdk.Duration.days(1),
                    "engine": MonitorEngine.sagemaker_model_monitor(
                        SageMakerModelMonitor(schedule="cron(0 4 ? * * *)")
                    ),
                }
            },
            r"window must be at least 48 hours, alarm_windows \(2\) executions of Model Monitor, got 1 day: no feature could ever "
            r"drift; widen the window, or give MonitorSpec\(alarm_windows=1\)",
        ),
    ],
)
def test_fails_when_it_could_not_watch(refused: Callable[..., None], changes: dict[str, Any], message: str):
    """Rejects a monitor without results at synthesis."""
    with pytest.raises(ValidationError, match=message):
        refused(**changes)


def test_fails_when_calls_are_not_captured(define: Callable[..., Any]):
    """Without captures the monitor has no input."""
    message = r"endpoint must have data capture; give it capture=DataCapture\(sampling_percent=100\)"
    with pytest.raises(ValidationError, match=message):
        define(endpoint={"capture": None})


def test_fails_on_a_second_monitor_of_an_endpoint(define: Callable[..., Any]):
    """Both would write the same reports and metrics, in any stack."""
    made = define()
    elsewhere = cdk.Stack(cdk.App(), "Elsewhere")
    with pytest.raises(ValidationError, match="endpoint must have one monitor, got a second of 'demand-forecast'"):
        ModelMonitor(
            elsewhere,
            "Second",
            endpoint=made.endpoint,
            window=cdk.Duration.days(1),
            interval=cdk.Duration.days(1),
        )


def test_the_unit_is_the_endpoints(demand: Any, define: Callable[..., Any]):
    """Alarms, tables and dashboards use the endpoint's unit, including one with an imported key."""
    key = kms.Key.from_key_arn(cdk.Stack(cdk.App(), "Keys"), "Key", "arn:aws:kms:us-east-1:111111111111:key/1")
    made = define(unit={"encryption_key": key})
    assert demand.monitor.business_unit is demand.unit
    assert made.monitor.business_unit is made.unit


def test_each_metric_method_names_one_that_is_published(demand: Any):
    """Alarm, dashboard and function use the same metric."""
    published = set(metric_names(MonitorSpec(estimate_limits={"wape": 0.4})))
    methods = inspect.getmembers(demand.monitor, inspect.ismethod)
    metrics = [
        method()
        for name, method in methods
        if name.startswith("metric_") and name not in {"metric_psi", "metric_quality", "metric_heartbeat"}
    ]

    assert len(metrics) > 12
    assert {f"{metric.dimensions['Monitor']}/{metric.metric_name}" for metric in metrics} <= published
    assert demand.monitor.metric_quality("Rmse").dimensions["Monitor"] == "quality"


def test_a_heartbeat_is_what_no_container_can_print(demand: Any):
    """AWS Lambda publishes invocations of the monitor's function; log lines cannot create metrics in its namespace."""
    used = demand.monitor.metric_heartbeat().using_metrics

    assert {metric.namespace for metric in used.values()} == {"AWS/Lambda"}
    assert {name: metric.metric_name for name, metric in used.items()} == {"runs": "Invocations", "errors": "Errors"}
