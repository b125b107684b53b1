"""``constraint_violations.json``: each cause has its check, in the members that Model Monitor and Clarify document."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.runtime.monitor.monitors.test_monitor_table import FULL, GOOD, QUIET

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import Baseline, BiasMetric, Counts, Measured, Violation, Violations
from mlops_runtime.monitor.counting.counts import count
from mlops_runtime.monitor.monitors.attribution_ranking import compare
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.violations import violations
from mlops_runtime.monitor.window_evidence import Evidence

SPEC = MonitorSpec()
# of the documentation's pages; ours also have feature_name, by which all are listed in one table
DOCUMENTED = {
    "bias_drift_check": {"facet", "facet_value", "metric_name", "constraint_check_type", "description"},
    "feature_attribution_drift_check": {"label", "metric_name", "constraint_check_type", "description"},
    "LessThanThreshold": {"metric_name", "constraint_check_type", "description"},
    "GreaterThanThreshold": {"metric_name", "constraint_check_type", "description"},
}
DATA = {"feature_name", "constraint_check_type", "description"}


def found(evidence: Evidence, spec: MonitorSpec = SPEC) -> list[Violation]:
    """Return the violations; the file has exactly the documented members, and reads back."""
    made = violations(evidence, spec)
    body = canonical_json(made)
    assert from_json(Violations, body) == made
    for line in json.loads(body)["violations"]:
        assert set(line) == DOCUMENTED.get(line["constraint_check_type"], set()) | DATA
    return list(made.violations)


@pytest.mark.parametrize("name", ["'", '"', "it's", "a\nb", "c" * 61, " padded ", "preis € \\n", "is missing"])
def test_columns_are_named_exactly(lines: Any, baseline: Baseline, name: str) -> None:
    """As they are called, so that tables can be joined by them."""
    row = json.dumps({"instances": [{"price": 1, "stock": 1, "store": "north", name: 1}]})
    [line] = found(window(baseline, lines, [row], encoding="JSON"))
    assert (line.feature_name, line.constraint_check_type) == (name, "extra_column_check")
    renamed = replace(baseline, features=(*baseline.features[:2], replace(baseline.features[2], name=name)))
    row = json.dumps({"instances": [{"price": 1, "stock": 1}]})
    [line] = found(window(renamed, lines, [row], encoding="JSON"))
    assert (line.feature_name, line.constraint_check_type) == (name, "missing_column_check")


@pytest.mark.parametrize(
    ("rule", "check"),
    [
        ("type", "data_type_check"),
        ("unreadable", "unreadable_rows_check"),
        ("distribution", "baseline_drift_check"),
        ("mean", "baseline_drift_check"),
        ("out_of_range", "baseline_drift_check"),
        ("null_share", "completeness_check"),
        ("new_level", "categorical_values_check"),
        (None, "baseline_drift_check"),
    ],
)
def test_each_rule_has_its_check(rule: str | None, check: str) -> None:
    """Moved distributions, new nulls and new levels are told apart."""
    drifted = replace(QUIET, psi=0.2, p_value=1e-9, drifted=True, rule=rule, description="mean rose 12 %")
    [line] = found(replace(FULL, features=(drifted, replace(QUIET, name="stock"))))
    assert (line.feature_name, line.constraint_check_type) == ("price", check)
    assert line.description == "mean rose 12 % (p-value 1e-09)"


def test_no_drift_is_no_violation() -> None:
    """A full window in which nothing is wrong."""
    assert found(FULL) == []


def window(baseline: Baseline, lines: Any, calls: list[str], **options: Any) -> Evidence:
    """Return the evidence of real calls."""
    counts: Counts = count([lines.call(call, **options) for call in calls], baseline)
    return replace(FULL, baseline=baseline, counts=counts, rows=counts.rows, problems=counts.problems or {})


def test_values_of_another_type_are_a_violation(lines: Any, baseline: Baseline) -> None:
    """More unreadable values than the smallest share that counts."""
    evidence = window(baseline, lines, ["1,2,north"] * 97 + ["cheap,2,north"] * 3)
    [line] = found(evidence)
    assert (line.feature_name, line.constraint_check_type) == ("price", "data_type_check")
    assert "3.00% of 100 values are not of type number" in line.description
    assert found(evidence, MonitorSpec(minimum_share=0.05)) == []
    [line] = found(
        replace(evidence, features=(replace(QUIET, drifted=True, rule="type", description="3 % no number"),))
    )
    assert (line.constraint_check_type, line.description) == ("data_type_check", "3 % no number (p-value 1)")


def test_missing_and_extra_columns_are_violations(lines: Any, baseline: Baseline) -> None:
    """By name in objects, by number in rows of CSV; in Model Monitor's own words for these."""
    row = '{"instances": [{"price": 1, "store": "north", "colour": "red"}]}'
    kinds = [
        (line.feature_name, line.constraint_check_type)
        for line in found(window(baseline, lines, [row], encoding="JSON"))
    ]
    assert sorted(kinds) == [("colour", "extra_column_check"), ("stock", "missing_column_check")]
    rows = found(window(baseline, lines, ["1,2,north", "1,2", "1,2,north,4"]))
    assert [(line.feature_name, line.constraint_check_type) for line in rows] == [
        ("Missing columns", "missing_column_check"),
        ("Extra columns", "extra_column_check"),
    ]
    assert rows[0].description == (
        "There are missing columns in current dataset. Number of columns in current dataset: 2, "
        "Number of columns in baseline constraints: 3"
    )


def test_quality_bias_and_attributions_are_in_the_same_file() -> None:
    """Each with the members by which its own monitor of Model Monitor names what it is about."""
    metrics = (
        Measured(name="auc", value=0.6, low=0.58, high=0.62, limit=0.7, violated=True),
        Measured(name="rmse", value=3.0, limit=2.0, violated=True),
        Measured(name="mae", value=1.0, violated=False),
    )
    bias = BiasMetric(
        facet="sex", facet_value="f", metric=Measured(name="DPL", value=0.2, violated=True), stage="pre_training"
    )
    explanation = compare({"a": 2.0, "b": 1.0, "c": 0.0}, {"a": 0.0, "b": 1.0, "c": 4.0}, 0.95)
    quality = replace(GOOD, metrics=metrics, bias_metrics=(bias,))
    lines = found(replace(FULL, quality=quality, explanation=explanation))
    assert [(line.constraint_check_type, line.metric_name) for line in lines] == [
        ("LessThanThreshold", "auc"),
        ("GreaterThanThreshold", "rmse"),
        ("bias_drift_check", "DPL"),
        ("feature_attribution_drift_check", "shap"),
    ]
    assert lines[0].description == "Metric auc with 0.6 (0.58 to 0.62) was LessThanThreshold '0.7'"
    assert (lines[2].facet, lines[2].facet_value, lines[2].feature_name) == ("sex", "f", "sex=f")


def test_a_changed_baseline_is_the_one_violation() -> None:
    """Nothing that was measured against it is told."""
    drifted = replace(QUIET, drifted=True, persistent=True)
    [line] = found(replace(FULL, flaw="the baseline was changed", features=(drifted,)))
    assert (line.feature_name, line.constraint_check_type) == ("dataset", "baseline_integrity_check")


def test_violations_of_another_engine_are_passed_on() -> None:
    """Model Monitor wrote them already."""
    theirs = (Violation(feature_name="x", constraint_check_type="baseline_drift_check", description="d"),)
    assert found(replace(FULL, violations=theirs)) == list(theirs)
