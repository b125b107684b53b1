"""Alarms in ALARM: metrics that only AWS publishes, and reports that confirm others; rows of ingests, from a real table."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.runtime.rollout.world import NOW, World

from mlops_runtime.contracts import ContractError, canonical_json
from mlops_runtime.contracts.events import EventDetail
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import DriftResult, FeatureDrift, MonitorReport, QualityResult
from mlops_runtime.features import ingest_ledger
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.monitor.monitors.monitor_table import metrics
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.stored_reports import report_folder
from mlops_runtime.retraining.request_evidence import KEY_HASH, AlarmEvidence, doubt, feed_texts, rows_of

ENDPOINT = "demand-forecast"
DRIFTED = FeatureDrift(name="price", psi=0.5, p_value=0.0, drifted=True, persistent=True)
INGESTED = datetime(2017, 1, 20, tzinfo=UTC)
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand"),),
    owner="demand",
    description="stock",
)


def _published(report: MonitorReport) -> MonitorReport:
    """Return a report with the metrics of its run."""
    return replace(report, metrics=metrics(report))


REPORT = _published(
    MonitorReport(
        endpoint=ENDPOINT,
        variant="AllTraffic",
        window_from="2017-07-31T09:00:00Z",
        window_until="2017-08-01T09:00:00Z",
        drift=DriftResult(state=MonitorState.VIOLATION, features=(DRIFTED,)),
        quality=QualityResult(state=MonitorState.NO_LABELS_YET),
        rows=1000,
        baseline_sha256="a" * 64,
        model_package_arn="arn",
        spec=MonitorSpec(alarm_features=("price",)),
        state=MonitorState.VIOLATION,
    )
)


def _alarm(**changes: Any) -> dict[str, Any]:
    dimensions = {"Endpoint": ENDPOINT, "Variant": "AllTraffic", "Monitor": "drift"} | changes.pop("dimensions", {})
    return {
        "AlarmName": "drift",
        "Namespace": "MLOps/demand",
        "MetricName": "FeaturesDrifted",
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "StateValue": "ALARM",
    } | changes


def _doubt(alarm: dict[str, Any], report: MonitorReport | ContractError | None = REPORT) -> str | None:
    return doubt(alarm, report, unit="demand", endpoint=ENDPOINT)


@pytest.mark.parametrize(
    "alarm",
    [
        _alarm(),
        _alarm(
            MetricName="Psi", Threshold=0.4, dimensions={"Feature": "price"}, ComparisonOperator="GreaterThanThreshold"
        ),
        _alarm(MetricName="SampleCount", Threshold=1001.0, ComparisonOperator="LessThanThreshold"),
    ],
)
def test_a_report_confirms_what_it_says(alarm: dict[str, Any]) -> None:
    """The report's metric is on the alarm's side of its threshold."""
    assert _doubt(alarm) is None


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (None, "no report of the monitor of demand-forecast in 100 days"),
        (ContractError("format"), "cannot be read: format"),
        (_published(replace(REPORT, drift=replace(REPORT.drift, features=()))), "has FeaturesDrifted 0, not >= 1"),
        (
            _published(replace(REPORT, suppressed="a rollout is running")),
            "2017-08-01T09:00:00Z, has no FeaturesDrifted",
        ),
        (
            _published(replace(REPORT, drift=DriftResult(state=MonitorState.NO_TRAFFIC))),
            "has no FeaturesDrifted",
        ),
        (replace(REPORT, variant="Other"), "is of variant 'Other', not 'AllTraffic'"),
    ],
)
def test_nothing_confirms_what_no_report_says(report: MonitorReport | ContractError | None, why: str) -> None:
    """A missing, broken, foreign or contradicting report."""
    assert why in str(_doubt(_alarm(), report))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"Namespace": "MLOps/pricing"},
            "any log line can write its metric, in MLOps/pricing; use alarms of a monitor",
        ),
        ({"Namespace": "AWSish"}, "any log line can write its metric, in AWSish"),
        ({"dimensions": {"Endpoint": "demand-other"}}, "it is about endpoint 'demand-other'"),
        ({"dimensions": {"Monitor": "quality"}}, "has no FeaturesDrifted"),
        ({"dimensions": {"Feature": "price"}}, "has no FeaturesDrifted"),
    ],
)
def test_an_alarm_on_something_else_is_not_confirmed(changes: dict[str, Any], why: str) -> None:
    """Of another unit, endpoint or monitor, whatever the report has."""
    assert why in str(_doubt(_alarm(**changes)))


def test_what_aws_publishes_needs_no_report() -> None:
    """A metric or expression of AWS's own metrics; mixed expressions and composite alarms do not count."""
    assert _doubt(_alarm(Namespace="AWS/SageMaker"), None) is None
    queries = [{"Id": name, "MetricStat": {"Metric": {"Namespace": space}}} for name, space in (("a", "AWS/Lambda"),)]
    expression = {"AlarmName": "e", "StateValue": "ALARM", "Metrics": [*queries, {"Id": "e", "Expression": "a"}]}
    assert _doubt(expression, None) is None
    mixed = {"Id": "b", "MetricStat": {"Metric": {"Namespace": "MLOps/demand"}}}
    assert "in MLOps/demand" in str(_doubt(expression | {"Metrics": [*queries, mixed]}))
    assert "composed of other alarms" in str(_doubt({"AlarmName": "c", "StateValue": "ALARM", "AlarmRule": "ALARM(a)"}))


def _in_alarm(world: World) -> AlarmEvidence:
    alarm = _alarm(Statistic="Maximum", Period=3600, EvaluationPeriods=1)
    del alarm["StateValue"]
    world.cloudwatch.put_metric_alarm(**alarm)
    world.cloudwatch.set_alarm_state(AlarmName="drift", StateValue="ALARM", StateReason="test")
    return AlarmEvidence(cloudwatch=world.cloudwatch, s3=world.s3, bucket="artifacts", endpoint=ENDPOINT, unit="demand")


def test_the_newest_report_is_the_one_that_counts(world: World) -> None:
    """An alarm of an earlier report is not confirmed once the newest one is OK."""
    evidence = _in_alarm(world)
    assert "no report" in evidence.read(("drift", "absent"), NOW).doubts["drift"]

    _lay(world, NOW - timedelta(days=60), REPORT)
    assert evidence.read(("drift",), NOW).doubts == {}
    _lay(world, NOW - timedelta(hours=1), _published(replace(REPORT, drift=replace(REPORT.drift, features=()))))

    seen = evidence.read(("drift",), NOW)
    assert (dict(seen.states), list(seen.doubts)) == ({"drift": "ALARM"}, ["drift"])


def test_a_broken_feed_is_told_with_its_report(world: World) -> None:
    """Drifted features with a fault of a published report; stable features with a fault are left out."""
    evidence = _in_alarm(world)
    fault = replace(DRIFTED, feed_fault="null in 40 % of the rows")
    others = (replace(fault, name="store", drifted=False), replace(DRIFTED, name="stock"))
    broken = replace(REPORT, drift=replace(REPORT.drift, features=(fault, *others)))
    _lay(world, NOW, broken)
    seen = evidence.read(("drift",), NOW)
    assert seen.faults == ("price: null in 40 % of the rows",)
    assert seen.report == f"s3://artifacts/{report_folder(ENDPOINT, NOW)}/report.json"
    assert feed_texts(replace(broken, suppressed="a rollout is running")) == ()


def test_it_needs_no_numpy() -> None:
    """The guard's function has no layer."""
    code = "import sys, mlops_runtime.retraining.retraining_start; sys.exit('numpy' in sys.modules or 'orjson' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _lay(world: World, end: Any, report: MonitorReport) -> None:
    key = f"{report_folder(ENDPOINT, end)}/report.json"
    world.s3.put_object(Bucket="artifacts", Key=key, Body=canonical_json(report))


def _rows(count: int, day: int) -> pa.Table:
    return pa.table(
        {
            "store_id": [str(number) for number in range(count)],
            "event_time": [INGESTED - timedelta(days=day)] * count,
            "on_hand": pa.array(range(count), pa.int64()),
        }
    )


def test_each_ingest_is_found_by_the_id_of_its_event(tmp_path: Path) -> None:
    """Also after later ingests and for repeated events; an unknown id is not found."""
    published = list[EventDetail]()
    store = FeatureStoreClient.local(tmp_path, now=lambda: INGESTED, announce=published.append)
    for key, count in (("a", 3), ("b", 5), ("a", 3)):
        store.ingest(STOCK, _rows(count, day=count), idempotency_key=key)
    table = store.table("stock_v1")
    metadata = json.loads(Path(table.metadata_location.removeprefix("file://")).read_text())

    assert [rows_of(metadata, detail.id) for detail in published] == [3, 5, 3]
    assert [detail.attributes["rows"] for detail in published] == ["3", "5", "3"]
    assert rows_of(metadata, "0" * 32) is None
    assert rows_of({}, published[0].id) is None


def test_the_key_is_the_ledgers() -> None:
    """Defined twice, because the guard has no pyiceberg."""
    assert KEY_HASH == ingest_ledger.KEY_HASH
