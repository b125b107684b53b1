"""Model Monitor's files in all documented spellings, read into our report; executions in S3 (moto, in process)."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from mlops_runtime.monitor.model_monitor.executions import (
    ExecutionFiles,
    ModelMonitorReports,
    MonitorName,
    read_executions,
    schedule_name,
)
from mlops_runtime.monitor.window import Window

AT = "2017-08-08T05:00:00Z"


def _files(monitor: MonitorName, *, at: str = AT, **documents: Any) -> ExecutionFiles:
    """Return files: ``violations=[...]`` is the usual file, any other keyword a file of that name."""
    files = {
        ("constraint_violations" if name == "violations" else name) + ".json": json.dumps(
            {"violations": body} if name == "violations" else body
        ).encode()
        for name, body in documents.items()
    }
    return ExecutionFiles(monitor=monitor, at=at, files=files)


# tests/data/monitor/statistics.json of aws/sagemaker-python-sdk v2.257.6, shortened
STATISTICS = {
    "version": 0.0,
    "dataset": {"item_count": 418},
    "features": [
        {
            "name": "Churn",
            "inferred_type": "Integral",
            "numerical_statistics": {"common": {"num_present": 400, "num_missing": 18}, "mean": 0.14},
        },
        {
            "name": "Area",
            "inferred_type": "String",
            "string_statistics": {"common": {"num_present": 418, "num_missing": 0}, "distinct_count": 2.0},
        },
    ],
}
DRIFT = {
    "feature_name": "Churn",
    "constraint_check_type": "baseline_drift_check",
    "description": "Numerical distance: 0.2711 exceeds numerical threshold: 0",
}


def test_data_quality_becomes_drift_of_features() -> None:
    """A reported feature drifted by its distance; other features of the statistics did not."""
    found = read_executions([_files("data_quality", violations=[DRIFT], statistics=STATISTICS)])

    churn, area = found.drift
    assert (churn.name, churn.drifted, churn.p_value, churn.l_infinity) == ("Churn", True, 0.0, 0.2711)
    assert churn.description == "baseline_drift_check: Numerical distance: 0.2711 exceeds numerical threshold: 0"
    assert churn.null_rate is not None
    assert churn.null_rate.value == pytest.approx(18 / 418)
    assert (area.name, area.drifted, area.p_value, area.rule) == ("Area", False, 1.0, "model_monitor")
    assert found.rows == 418
    assert found.reported == {"data_quality": AT}
    assert found.problems == {}


@pytest.mark.parametrize("name", ["constraint_violations", "constraints_violations"])
def test_both_names_of_the_file_are_read(name: str) -> None:
    """Reads both spellings of the file name; the contract's page has an s."""
    found = read_executions([_files("data_quality", **{name: {"violations": [DRIFT]}})])

    assert [v.feature_name for v in found.violations.violations] == ["Churn"]


def test_violations_without_a_feature_are_the_datasets() -> None:
    """Missing and extra columns are violations without a feature."""
    raw = {"constraint_check_type": "missing_column_check", "description": "There are missing columns"}
    found = read_executions([_files("data_quality", violations=[raw])])

    assert [(d.name, d.drifted) for d in found.drift] == [("dataset", True)]
    assert found.violations.violations[0].feature_name == "dataset"


@pytest.mark.parametrize(
    ("earlier", "persistent"), [([True, False], True), ([False, True], True), ([False, False], False)]
)
def test_a_feature_persists_when_enough_executions_report_it(earlier: list[bool], persistent: bool) -> None:
    """A feature reported by two of the last three executions persists; earlier ones are ignored."""
    hours = [f"2017-08-08T{hour:02}:00:00Z" for hour in (5, 4, 3, 2)]
    reports = [True, *earlier, True]
    given = [
        _files("data_quality", at=at, violations=[DRIFT] if reported else [])
        for at, reported in zip(hours, reports, strict=True)
    ]

    (churn,) = read_executions(reversed(given)).drift
    assert churn.persistent is persistent
    assert read_executions(given).reported == {"data_quality": "2017-08-08T05:00:00Z"}


@pytest.mark.parametrize("spread", ["NaN", 0.02])
def test_model_quality_has_an_interval_where_there_is_a_deviation(spread: Any) -> None:
    """Below 200 samples the standard deviation is the string ``NaN``, and there is no interval."""
    metrics = {
        "confusion_matrix": {"0": {"0": 5, "1": 1}, "1": {"0": 0, "1": 4}},
        "f2": {"value": 0.4, "standard_deviation": spread},
        "auc": {"value": 0.9, "standard_deviation": spread},
    }
    violation = {
        "constraint_check_type": "LessThanThreshold",
        "description": "Metric f2 with 0.4 +/- 0.02 was LessThanThreshold '0.5'",
        "metric_name": "f2",
    }
    statistics = {"version": 0.0, "dataset": {"item_count": 10}, "binary_classification_metrics": metrics}
    found = read_executions([_files("model_quality", violations=[violation], statistics=statistics)])

    f2, auc = found.quality
    assert (f2.name, f2.value, f2.violated, auc.violated) == ("f2", 0.4, True, False)
    assert (f2.low is None) == (spread == "NaN")
    if f2.low is not None:
        assert f2.low == pytest.approx(0.4 - 0.0392, abs=1e-4)
    assert found.labelled_rows == 10


def test_a_metric_that_only_a_violation_names_is_told() -> None:
    """Takes a metric's name from the description where the container writes it only there."""
    raw = {
        "constraint_check_type": "GreaterThanThreshold",
        "description": "Metric rmse with 12.0 was GreaterThanThreshold '9'",
    }
    (rmse,) = read_executions([_files("model_quality", violations=[raw])]).quality

    assert (rmse.name, rmse.value, rmse.violated) == ("rmse", None, True)


def test_bias_is_read_from_the_analysis_and_the_violations() -> None:
    """Reads values from ``analysis.json``; facets that appear only in violations are listed without a value."""
    metrics = [{"name": "DPPL", "description": "d", "value": -0.3}, {"name": "DI", "value": "Infinity"}]
    section = {"label": "y", "facets": {"Age": [{"value_or_threshold": "40", "metrics": metrics}]}}
    raw = [
        {
            "facet": "Age",
            "facet_value": "40",
            "metric_name": name,
            "constraint_check_type": "bias_drift_check",
            "description": "Value -0.3 does not meet the constraint requirement",
        }
        for name in ("DPPL", "CI")
    ]
    found = read_executions([_files("bias", violations=raw, analysis={"post_training_bias_metrics": section})])

    reported = [(b.facet, b.facet_value, b.metric.name, b.metric.value, b.metric.violated, b.stage) for b in found.bias]
    assert reported == [
        ("Age", "40", "DPPL", -0.3, True, "post_training"),
        ("Age", "40", "DI", None, False, "post_training"),
        ("Age", "40", "CI", None, True, "post_training"),
    ]
    assert found.violations.violations[0].feature_name == "Age/40/DPPL"


def test_explainability_has_attributions_and_the_worst_ndcg() -> None:
    """Reads attributions, and the worst NDCG from the description."""
    raw = [
        {
            "label": f"label{i}",
            "metric_name": "shap",
            "constraint_check_type": "feature_attribution_drift_check",
            "description": f"Feature attribution drift {score} exceeds threshold 0.9",
        }
        for i, score in enumerate((0.7639720923277322, 0.8))
    ]
    analysis = {"explanations": {"kernel_shap": {"label0": {"global_shap_values": {"price": 0.5, "units": "NaN"}}}}}
    found = read_executions([_files("explainability", violations=raw, analysis=analysis)])

    assert found.attributions == {"price": 0.5}
    assert found.ndcg == 0.7639720923277322


def test_what_cannot_be_read_is_counted() -> None:
    """Counts unreadable files without raising."""
    broken = ExecutionFiles(
        monitor="data_quality",
        at=AT,
        files={
            "statistics.json": b"{",
            "constraint_violations.json": json.dumps({"violations": [1, {}, DRIFT]}).encode(),
        },
    )
    found = read_executions([broken])

    assert found.problems == {
        "data_quality: statistics.json is not a JSON object": 1,
        "data_quality: a violation has no constraint_check_type": 2,
    }
    assert [d.name for d in found.drift] == ["Churn"]


def test_our_own_analyzer_is_told() -> None:
    """Reports that our own analyzer ran, and the records that it could not read."""
    reported = {
        "dataset": {"item_count": 3},
        "analyzer": "mlops_runtime",
        "problems": {"line is not a capture record": 2},
    }
    found = read_executions([_files("data_quality", statistics=reported)])

    assert (found.analyzer, found.problems) == ("mlops_runtime", {"data_quality: line is not a capture record": 2})
    assert read_executions([_files("data_quality", statistics=STATISTICS)]).analyzer is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "violations",
                    "features",
                    "name",
                    "dataset",
                    "item_count",
                    "facets",
                    "metrics",
                    "common",
                    "explanations",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(st.sampled_from(["data_quality", "model_quality", "bias", "explainability"]), JSON, JSON, JSON)
def test_no_document_breaks_it(monitor: MonitorName, statistics: Any, violations: Any, analysis: Any) -> None:
    """Accepts any document that a container may write."""
    files = {
        "statistics.json": json.dumps(statistics).encode(),
        "constraint_violations.json": json.dumps({"violations": violations}).encode(),
        "analysis.json": json.dumps({"post_training_bias_metrics": analysis, "explanations": analysis}).encode(),
    }
    assert read_executions([ExecutionFiles(monitor=monitor, at=AT, files=files)]).reported == {monitor: AT}


@given(st.from_regex(r"[a-zA-Z0-9](-?[a-zA-Z0-9]){0,62}", fullmatch=True).filter(lambda n: len(n) <= 63))
def test_schedules_have_names_that_sagemaker_takes(endpoint: str) -> None:
    """Schedule names are at most 63 characters and differ by monitor and endpoint."""
    name = schedule_name(endpoint, "explainability")

    assert len(name) <= 63
    assert name.endswith("-explainability")
    assert name != schedule_name(f"{endpoint[:-1]}{'a' if endpoint[-1] != 'a' else 'b'}", "explainability")


@pytest.fixture
def s3() -> Iterator[Any]:
    """Return an empty bucket."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="artifacts")
        yield client


def test_a_window_has_the_executions_that_were_due_in_it(s3: Any) -> None:
    """A window has the executions at the end of its hours: one at five analysed the hour before."""
    folder = "monitor/demand-forecast/model_monitor/data_quality/demand-forecast/demand-forecast-data-quality"
    for hour in ("2017/08/07/10", "2017/08/07/11", "2017/08/08/00", "2017/08/08/01", "2017/08/08/xx", "2017/08/08/24"):
        s3.put_object(Bucket="artifacts", Key=f"{folder}/{hour}/statistics.json", Body=hour.encode())
    s3.put_object(Bucket="artifacts", Key=f"{folder}/2017/08/08/00/constraint_violations.json", Body=b"v")
    s3.put_object(Bucket="artifacts", Key=f"{folder}/2017/08/08/00/report.html", Body=b"large")
    reports = ModelMonitorReports(s3, bucket="artifacts", endpoint="demand-forecast", monitors=("data_quality", "bias"))
    window = Window(datetime(2017, 8, 7, 10, tzinfo=UTC), datetime(2017, 8, 8, 0, tzinfo=UTC))

    found = {execution.at: dict(execution.files) for execution in reports.of(window)}
    assert found == {
        "2017-08-07T11:00:00Z": {"statistics.json": b"2017/08/07/11"},
        "2017-08-08T00:00:00Z": {"statistics.json": b"2017/08/08/00", "constraint_violations.json": b"v"},
    }
