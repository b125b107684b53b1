"""Scheduled runs beyond the functions' own tests: settings, rejections and CloudWatch queries."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from tests.runtime.monitor.evidence import FULL, SPEC, changed, report_of

from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import ExplainabilityResult, LatencyResult, Measured, MonitorReport
from mlops_runtime.monitor.scheduled_run import DecideSettings, count_object, decide_window
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.rollout.rollout_table import RolloutTable

ENVIRONMENT = {
    "ENDPOINT": "demand-forecast",
    "VARIANT": "AllTraffic",
    "UNIT": "demand",
    "EVENT_BUS": "demand-bus",
    "WINDOW_HOURS": "24",
    "MONITOR": '{"minimum_effect": 0.05}',
}
SETTINGS = DecideSettings.from_environment(ENVIRONMENT)
NOW = datetime(2017, 8, 8, 0, 15, tzinfo=UTC)


def client(service: str) -> tuple[Any, Stubber]:
    """Return a client with scripted responses, and the script."""
    made = boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    return made, Stubber(made)


def test_settings_come_from_the_environment() -> None:
    """The run uses the environment that the construct rendered."""
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
    more = DecideSettings.from_environment({**ENVIRONMENT, "PERIOD_HOURS": "6", "TRAFFIC": '{"namespace": "N"}'})
    assert (more.period_hours, more.traffic) == (6, {"namespace": "N"})


def test_fails_for_a_spec_that_is_none() -> None:
    """An invalid bound is reported at start, before any window."""
    with pytest.raises(ContractError, match="minimum_rows must be at least 50, got 1"):
        DecideSettings.from_environment({**ENVIRONMENT, "MONITOR": '{"minimum_rows": 1}'})


def test_fails_when_the_bus_refuses_the_report() -> None:
    """A run whose report cannot be sent fails; without a live model nothing is read and CloudWatch is not called."""
    s3, s3_script = client("s3")
    dynamodb, table_script = client("dynamodb")
    cloudwatch, metric_script = client("cloudwatch")
    events, event_script = client("events")
    table_script.add_response("get_item", {})
    for name in (
        "violations/2017/08/08/00/violations.jsonl",
        "reports/2017-08-08T00/constraint_violations.json",
        "reports/2017-08-08T00/report.json",
        "metrics.prom",
    ):
        key = f"monitor/demand-forecast/{name}"
        s3_script.add_response("put_object", {}, {"Bucket": "artifacts", "Key": key, "Body": ANY})
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
    assert (
        str(caught.value) == "the event bus 'demand-bus' rejected the report's event: [{'ErrorCode': 'NotAuthorized'}]"
    )
    for script in (s3_script, table_script, metric_script, event_script):
        script.assert_no_pending_responses()


def test_an_object_of_another_endpoint_costs_no_call() -> None:
    """Reads neither the table nor the object."""
    s3, s3_script = client("s3")
    dynamodb, table_script = client("dynamodb")
    body = {"detail": {"bucket": {"name": "b"}, "object": {"key": "capture/other/AllTraffic/2017/08/07/10/a.jsonl"}}}
    with s3_script, table_script:
        store = MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts")
        table = RolloutTable(dynamodb, "rollout", "demand-forecast")
        assert count_object(json.dumps(body), store, table) is MonitorState.OK


def test_fails_for_an_event_without_an_object() -> None:
    """The message goes to the dead-letter queue."""
    s3, _ = client("s3")
    dynamodb, _ = client("dynamodb")
    store = MonitorStore(s3, endpoint="demand-forecast", artifacts="artifacts")
    with pytest.raises(KeyError, match="object"):
        count_object('{"detail": {"bucket": {"name": "b"}}}', store, RolloutTable(dynamodb, "t", "demand-forecast"))


def test_a_report_says_what_was_measured() -> None:
    """Contains window, rows, model, live and holdout quality, thresholds and engine, as a valid contract."""
    latency = LatencyResult(calls=500, metrics=(Measured(name="p99", value=9.0, violated=False),))
    explained = ExplainabilityResult(state=MonitorState.OK, attributions={"price": 1.0}, ndcg=1.0)
    report = report_of(changed(FULL, latency=latency, explainability=explained, hours_merged=3))
    assert (report.window_from, report.window_until) == ("2017-08-07T00:00:00Z", "2017-08-14T00:00:00Z")
    assert (report.rows, report.quality.rows, report.model_package_arn) == (1000, 500, "arn:p/1")
    assert report.quality.holdout == {"wape": 0.4, "bias": 0.0}
    assert (report.engine, report.hours_merged, report.spec, report.problems) == ("LAMBDA", 3, SPEC, None)
    assert (report.state, report.quality.state, report.bias) == (MonitorState.OK, MonitorState.OK, None)
    assert (report.latency, report.explainability) == (replace(latency, state=MonitorState.OK), explained)
    assert from_json(MonitorReport, canonical_json(report)) == report


def test_a_report_of_nothing_says_so() -> None:
    """Before the first rollout there is a state and no result."""
    report = report_of(Evidence())
    assert (report.state, report.rows, report.staleness, report.latency) == (
        MonitorState.NOT_YET_DEPLOYED,
        0,
        None,
        None,
    )
    assert (report.quality.values, report.quality.metrics, report.drift.features) == ({}, (), ())


def test_a_flaw_of_the_baseline_is_among_the_problems() -> None:
    """A list of problems includes the flaw."""
    report = report_of(replace(FULL, baseline=None, flaw="it was changed", problems={"line is not JSON": 2}))
    assert (report.baseline_flaw, report.problems) == ("it was changed", {"it was changed": 1, "line is not JSON": 2})
