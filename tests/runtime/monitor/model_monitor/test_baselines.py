"""Our baseline in the format of Model Monitor."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import numpy as np
import pytest
from moto import mock_aws

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.counting.baseline import category_baseline, number_baseline
from mlops_runtime.monitor.model_monitor.baselines import baseline_files, put_baselines
from mlops_runtime.monitor.model_monitor.constraints import evaluate, read_constraints
from mlops_runtime.monitor.model_monitor.executions import ExecutionFiles, read_executions
from mlops_runtime.monitor.model_monitor.profile import profile
from mlops_runtime.monitor.spec import MonitorSpec


def _rows(count: int, seed: int, shift: float = 0.0, store: str | None = None) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    return [
        {
            "prediction": float(random.normal(10, 2)),
            "price": None if random.random() < 0.05 else float(random.lognormal(1, 0.5) + shift),
            "store": store if store is not None and random.random() < 0.1 else str(random.choice(["a", "b", "c"])),
        }
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    """Return the baseline of 5,000 rows."""
    rows = _rows(5000, 1)
    price = np.array([np.nan if row["price"] is None else row["price"] for row in rows], dtype=np.float32)
    return Baseline(
        features=(number_baseline("price", price), category_baseline("store", [row["store"] for row in rows])),
        prediction=number_baseline("prediction", np.array([row["prediction"] for row in rows], dtype=np.float32)),
        rows=5000,
        training_set_id="t",
        created="2017-08-01T00:00:00Z",
        target="regression",
        quality={"wape": 0.2, "mae": 2.0, "r2": 0.5},
        bias={"age=40/DPPL": 0.1},
        attributions={"price": 0.5, "store": 0.1},
    )


def _violations(baseline: Baseline, rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
    files = baseline_files(baseline, MonitorSpec())["data_quality"]
    columns, _ = profile(rows)
    found = evaluate(read_constraints(files["constraints.json"]), files["statistics.json"], columns)
    return {(v.feature_name, v.constraint_check_type) for v in found}


def test_data_like_the_baselines_have_no_violations(baseline: Baseline) -> None:
    """Twenty windows of the baseline's distribution tolerate nulls and small distances."""
    assert [_violations(baseline, _rows(1000, 100 + seed)) for seed in range(20)] == [set()] * 20


def test_shifts_and_unknown_levels_have(baseline: Baseline) -> None:
    """Shifts and unknown levels are violations under the name of their check."""
    assert _violations(baseline, _rows(1000, 2, shift=1.0)) == {("price", "baseline_drift_check")}
    assert ("store", "categorical_values_check") in _violations(baseline, _rows(1000, 3, store="new"))


def test_other_monitors_have_files_of_what_the_baseline_knows(baseline: Baseline) -> None:
    """Writes the files of other monitors: the allowed error ratio, and bias and attributions of the baseline."""
    files = baseline_files(baseline, MonitorSpec(quality_limits={"r2": 0.3}))

    assert files["model_quality"]["constraints.json"]["regression_constraints"] == {
        "mae": {"threshold": 2.5, "comparison_operator": "GreaterThanThreshold"},
        "r2": {"threshold": 0.3, "comparison_operator": "LessThanThreshold"},
    }
    for monitor, member, wanted in (
        ("bias", "bias", 0.1),
        ("explainability", "attributions", {"price": 0.5, "store": 0.1}),
    ):
        body = json.dumps(files[monitor]["constraints.json"]).encode()  # type: ignore[index] # a literal
        found = getattr(
            read_executions([ExecutionFiles(monitor=monitor, at="", files={"analysis.json": body})]), member
        )  # type: ignore[arg-type]
        assert (found[0].metric.value if monitor == "bias" else found) == wanted
    bare = replace(baseline, quality={}, bias=None, attributions=None)
    assert set(baseline_files(bare, MonitorSpec())) == {"data_quality"}


@pytest.fixture
def s3() -> Iterator[Any]:
    """Return an empty bucket."""
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="artifacts")
        yield client


def test_files_are_written_when_the_model_is_another(s3: Any, baseline: Baseline) -> None:
    """Writes the files of running monitors once for each model."""
    given: dict[str, Any] = {
        "bucket": "artifacts",
        "endpoint": "demand",
        "spec": MonitorSpec(),
        "monitors": ("data_quality", "bias"),
    }

    assert put_baselines(s3, baseline=baseline, **given) == 3
    assert put_baselines(s3, baseline=baseline, **given) == 0
    assert put_baselines(s3, baseline=replace(baseline, bias={"age=40/DPPL": 0.2}), **given) == 1
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="artifacts")["Contents"]]
    assert keys == [
        "monitor/demand/model_monitor/baselines/bias/constraints.json",
        "monitor/demand/model_monitor/baselines/data_quality/constraints.json",
        "monitor/demand/model_monitor/baselines/data_quality/statistics.json",
    ]
