"""The metrics of a monitor by name, and published ones, read from log lines as CloudWatch does."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from tests.runtime.monitor.evidence import EVIDENCE, FULL, GOOD, QUIET, changed, drift_of, measured, report_of

from mlops_local import embedded_metrics
from mlops_runtime.contracts.monitor import MetricValue, MonitorState
from mlops_runtime.contracts.monitor_report import (
    BiasMetric,
    BiasResult,
    ExplainabilityResult,
    LatencyResult,
    Measured,
    MonitorReport,
)
from mlops_runtime.monitor.cloudwatch_metrics import metric_data, metric_lines, metric_names
from mlops_runtime.monitor.monitors.monitor_table import metrics
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window_evidence import Evidence

NOW = datetime(2017, 8, 14, 0, 5, tzinfo=UTC)
SPEC = MonitorSpec(alarm_features=("price",), quality_limits={"mae": 2})


def test_names_are_few_and_each_once() -> None:
    """At most thirty names, whatever the baseline; each feature with an alarm and each further limit adds one."""
    names = metric_names(MonitorSpec())
    more = MonitorSpec(alarm_features=("price",), quality_limits={"rmse": 12, "mae": 8}, estimate_limits={"mae": 9})
    assert len(names) == len(set(names)) == 29
    assert set(metric_names(more)) - set(names) == {"quality/Mae", "estimates/EstimatesBeyondLimits", "drift/Psi/price"}


def test_synthesis_needs_no_numpy_for_them() -> None:
    """Synthesis works where numpy is not installed."""
    code = "import sys, mlops_runtime.monitor.cloudwatch_metrics; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def values(report: MonitorReport) -> dict[str, float]:
    """Return published values as ``monitor/name``, read from the embedded metric format."""
    found = {}
    written = metric_lines(metrics(report), unit="demand", endpoint="demand-forecast", variant="AllTraffic", now=NOW)
    for datum in (datum for line in written for datum in embedded_metrics.read(line)):
        assert (datum.namespace, datum.at) == ("MLOps/demand", NOW.timestamp())
        assert (datum.dimensions["Endpoint"], datum.dimensions["Variant"]) == ("demand-forecast", "AllTraffic")
        feature = f"/{datum.dimensions['Feature']}" if "Feature" in datum.dimensions else ""
        [found[f"{datum.dimensions['Monitor']}/{datum.name}{feature}"]] = datum.values
    return found


def test_all_metrics_of_a_full_window() -> None:
    """Aggregates of each monitor, staleness, and selected features' own metrics."""
    bias = tuple(
        BiasMetric(facet="sex", facet_value="f", metric=measured(v, "DPL"), stage="post_training")
        for v in (True, False)
    )
    quality = replace(GOOD, metrics=(Measured(name="mae", value=3.0, violated=True), measured(None)), coverage=0.8)
    evidence = changed(
        FULL,
        drift=drift_of(
            replace(QUIET, psi=0.2, drifted=True, persistent=True),
            replace(QUIET, name="stock", psi=0.3, drifted=True),
            replace(QUIET, name="store", psi=0.1),
        ),
        quality=quality,
        bias=BiasResult(metrics=bias),
        explainability=ExplainabilityResult(state=MonitorState.VIOLATION, ndcg=0.7),
        latency=LatencyResult(
            calls=500,
            metrics=(
                Measured(name="p50", value=4.0, baseline=5.0, violated=False),
                Measured(name="p99", value=9.0, baseline=3.0, violated=True),
            ),
        ),
    )
    assert values(report_of(evidence, SPEC)) == {
        "drift/SampleCount": 1000,
        "drift/FeaturesDrifted": 1,
        "drift/FeaturesSuspect": 2,
        "drift/FeaturesToInspect": 0,
        "drift/MaxPsi": 0.3,
        "drift/Psi/price": 0.2,
        "drift/BaselineTampered": 0,
        "drift/BaselineAgeDays": 13,
        "drift/CaptureLagHours": 0,
        "quality/SampleCount": 500,
        "quality/Wape": 0.44,
        "quality/Bias": 0.1,
        "quality/Rmse": 1.0,
        "quality/Mae": 3.0,
        "quality/WapeRatio": pytest.approx(1.1),
        "quality/QualityViolations": 1,
        "quality/LabelCoverage": 0.8,
        "quality/LabelLagHours": 168 + 192,
        "bias/BiasViolations": 1,
        "explainability/Ndcg": 0.7,
        "latency/LatencyRatio": 3,
        "latency/LatencyViolations": 1,
    }


def test_a_job_publishes_the_same_as_a_function_logs() -> None:
    """Name, dimensions, unit, value and time agree."""
    found = [MetricValue("drift", "FeaturesDrifted", 2), MetricValue("drift", "Psi", 0.3, "price")]
    place: dict[str, Any] = {"endpoint": "e", "variant": "v", "now": datetime(2017, 8, 8, tzinfo=UTC)}
    logged = [json.loads(line) for line in metric_lines(found, unit="demand", **place)]
    published = metric_data(found, **place)
    assert [(p["MetricName"], p["Value"], p["Unit"]) for p in published] == [
        ("FeaturesDrifted", 2.0, "Count"),
        ("Psi", 0.3, "None"),
    ]
    for entry, line in zip(published, logged, strict=True):
        dimensions = {pair["Name"]: pair["Value"] for pair in entry["Dimensions"]}
        assert dimensions == {name: line[name] for name in line["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0]}
        assert entry["Timestamp"].timestamp() * 1000 == line["_aws"]["Timestamp"]


def test_what_is_not_known_is_not_published() -> None:
    """Silence publishes its counts, never zero drift."""
    assert values(report_of(Evidence(), SPEC)) == {
        "drift/SampleCount": 0,
        "quality/SampleCount": 0,
    }


def test_a_changed_baseline_is_published_and_nothing_of_drift() -> None:
    """It has its own alarm metric."""
    found = values(report_of(replace(FULL, baseline=None, flaw="changed"), SPEC))
    assert found["drift/BaselineTampered"] == 1
    assert not {"drift/FeaturesDrifted", "drift/MaxPsi", "quality/WapeRatio"} & set(found)


def test_while_a_rollout_runs_only_drift_is_held_back() -> None:
    """Quality is of new labels for much earlier calls and is not held back."""
    found = values(report_of(replace(FULL, suppressed="a rollout is running: 7"), SPEC))
    assert "quality/WapeRatio" in found
    assert not {"drift/FeaturesDrifted", "drift/FeaturesSuspect", "drift/MaxPsi", "drift/Psi/price"} & set(found)


@given(EVIDENCE)
def test_only_named_metrics_are_ever_published(evidence: Evidence) -> None:
    """The construct's price covers all metrics, and every line is valid."""
    assert set(values(report_of(evidence, SPEC))) <= set(metric_names(SPEC))


def test_a_line_is_one_json_object_with_one_directive() -> None:
    """Each line is one object with at most 100 metrics and only finite numbers."""
    written = metric_lines(metrics(report_of(FULL, SPEC)), unit="u", endpoint="e", variant="v", now=NOW)
    for line in written:
        document = json.loads(line)
        [directive] = document["_aws"]["CloudWatchMetrics"]
        assert len(directive["Metrics"]) <= 100
        assert "\n" not in line
        assert "NaN" not in line
