"""The drift monitor: its state and its violations with Model Monitor's documented check for each cause."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.runtime.monitor.evidence import (
    FULL,
    KNOWN,
    QUIET,
    SPEC,
    WINDOW,
    changed,
    drift_of,
    found,
    report_of,
    states,
)

from mlops_runtime.contracts.monitor import (
    Baseline,
    Counts,
    MonitorState,
    Stratum,
)
from mlops_runtime.monitor.counting.counts import count, empty
from mlops_runtime.monitor.monitors.monitor_table import MONITORS
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window_evidence import Evidence, Traffic


@pytest.mark.parametrize("name", ["'", '"', "it's", "a\nb", "c" * 61, " padded ", "preis € \\n", "is missing"])
def test_columns_are_named_exactly(lines: Any, baseline: Baseline, name: str) -> None:
    """Violations name columns exactly, so that tables can be joined by them."""
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
    """Changed distributions, new nulls and new levels have different checks."""
    drifted = replace(QUIET, psi=0.2, p_value=1e-9, drifted=True, rule=rule, description="mean rose 12 %")
    [line] = found(changed(FULL, drift=drift_of(drifted, replace(QUIET, name="stock"))))
    assert (line.feature_name, line.constraint_check_type) == ("price", check)
    assert line.description == "mean rose 12 % (p-value 1e-09)"


def test_no_drift_is_no_violation() -> None:
    """A full window without findings has no violation."""
    assert found(FULL) == []


def window(baseline: Baseline, lines: Any, calls: list[str], **options: Any) -> Evidence:
    """Return the evidence of captured calls."""
    counts: Counts = count([lines.call(call, **options) for call in calls], baseline)
    return replace(FULL, baseline=baseline, counts=counts, rows=counts.rows, problems=counts.problems or {})


def test_values_of_another_type_are_a_violation(lines: Any, baseline: Baseline) -> None:
    """A share of unreadable values above the minimum effect is a violation."""
    evidence = window(baseline, lines, ["1,2,north"] * 97 + ["cheap,2,north"] * 3)
    [line] = found(evidence)
    assert (line.feature_name, line.constraint_check_type) == ("price", "data_type_check")
    assert "3.00% of 100 values are not of type number" in line.description
    assert found(evidence, MonitorSpec(minimum_share=0.05)) == []
    [line] = found(
        changed(evidence, drift=drift_of(replace(QUIET, drifted=True, rule="type", description="3 % no number")))
    )
    assert (line.constraint_check_type, line.description) == ("data_type_check", "3 % no number (p-value 1)")


def test_missing_and_extra_columns_are_violations(lines: Any, baseline: Baseline) -> None:
    """Missing and extra columns are violations in Model Monitor's words, by name for objects and by number for CSV rows."""
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


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"live": None}, MonitorState.NOT_YET_DEPLOYED),
        ({"baseline": None, "flaw": "it is missing"}, MonitorState.MONITOR_NOT_RUN),
        ({"baseline": replace(KNOWN, training_set_id="set-0")}, MonitorState.BASELINE_OLDER_THAN_MODEL),
        ({"traffic": Traffic(uncounted=3)}, MonitorState.MONITOR_NOT_RUN),
        ({"traffic": Traffic(counted=2, uncounted=3, rows=900)}, MonitorState.MONITOR_NOT_RUN),
        ({"traffic": Traffic(counted=6, uncounted=5, rows=900)}, MonitorState.MONITOR_NOT_RUN),
        ({"traffic": Traffic(counted=17, uncounted=2, rows=900)}, MonitorState.MONITOR_NOT_RUN),
        ({"traffic": Traffic(counted=18, uncounted=2, rows=900)}, MonitorState.OK),
        ({"traffic": Traffic(counted=2, uncounted=1, rows=900)}, MonitorState.OK),
        ({"traffic": Traffic(uncounted=1)}, MonitorState.MONITOR_NOT_RUN),
        ({"traffic": Traffic(invocations=5)}, MonitorState.NO_CAPTURE),
        ({"traffic": Traffic(invocations=5, synthetic=1)}, MonitorState.NO_CAPTURE),
        ({"traffic": Traffic(invocations=5, synthetic=5)}, MonitorState.NO_TRAFFIC),
        ({"traffic": Traffic(invocations=5, synthetic=1, announced=5)}, MonitorState.NO_TRAFFIC),
        ({"traffic": Traffic(invocations=6, synthetic=5, announced=5)}, MonitorState.NO_CAPTURE),
        ({"traffic": Traffic(calls=1)}, MonitorState.NO_CAPTURE),
        ({"traffic": Traffic(invocations=2, calls=2, synthetic=5, announced=5)}, MonitorState.NO_CAPTURE),
        ({"traffic": Traffic()}, MonitorState.NO_TRAFFIC),
        ({"traffic": Traffic(counted=1, malformed=9), "rows": 0}, MonitorState.INSUFFICIENT_DATA),
        ({"rows": 199}, MonitorState.INSUFFICIENT_DATA),
        ({"drift": drift_of(replace(QUIET, untested="too few clusters"))}, MonitorState.INSUFFICIENT_DATA),
        (
            {"drift": drift_of(*(replace(QUIET, name=n, untested="few" if n == "x" else None) for n in "abcdx"))},
            MonitorState.OK,
        ),
        ({"drift": drift_of(QUIET, replace(QUIET, name="x", untested="few"))}, MonitorState.INSUFFICIENT_DATA),
        (
            {"drift": drift_of(replace(QUIET, untested="too few clusters"), replace(QUIET, name="null_patterns"))},
            MonitorState.INSUFFICIENT_DATA,
        ),
        ({}, MonitorState.OK),
        ({"drift": drift_of(replace(QUIET, drifted=True))}, MonitorState.OK),
        ({"drift": drift_of(replace(QUIET, drifted=True, persistent=True))}, MonitorState.VIOLATION),
    ],
)
def test_drift_states_in_their_order(change: dict[str, Any], expected: MonitorState) -> None:
    """Each reason for an unknown state has its own state; drift in a single window is no violation."""
    assert states(changed(FULL, **change))["drift"] is expected


def test_few_clusters_are_in_the_sentence() -> None:
    """Below 20 clusters all windows must agree; with one window in all, the sentence reports it."""
    few, many = (replace(QUIET, name=name, drifted=True, few_clusters=of) for name, of in (("few", 18), ("many", None)))
    waits = changed(FULL, drift=drift_of(few, many))
    reported = report_of(waits).verdict
    assert (
        "drift in this window, not yet in 2 of 3: many (PSI 0); drift in this window, not yet in 3 of 3: few (PSI 0); 18 clusters "
        "in the baseline: one window is not evidence"
    ) in reported
    alone = changed(FULL, drift=drift_of(replace(few, persistent=True)))
    reported = report_of(alone, MonitorSpec(alarm_windows=1, of_windows=1)).verdict
    assert "drift in this window: few (PSI 0); 18 clusters in the baseline: one window is not evidence" in reported
    reported = report_of(alone).verdict
    assert "drift in 3 of 3 windows: few (PSI 0);" in reported


def test_rows_of_unknown_conditions_are_counted(baseline: Baseline) -> None:
    """Rows of unknown conditions were not compared and are counted; without conditions there is no such count."""
    strata = tuple(Stratum(key=key, rows=rows, features=()) for key, rows in (("yes", 40), ("no", 7)))
    counts: Counts = replace(empty(baseline), strata=strata)
    known = replace(baseline, strata=(replace(strata[0], rows=900),))
    counted = changed(FULL, counts=counts, drift=None, traffic=Traffic())
    assert report_of(replace(counted, baseline=known)).drift.uncovered_rows == 7
    assert report_of(replace(counted, baseline=baseline)).drift.uncovered_rows is None


@pytest.mark.parametrize(("hours", "warned"), [(None, False), (1.0, True), (24.0, False), (168.0, False)])
def test_windows_longer_than_an_hour_as_cluster_are_a_problem(
    lines: Any, baseline: Baseline, hours: float | None, warned: bool
) -> None:
    """Hours of one day are correlated, days and weeks are not: a window longer than hourly clusters allow is a problem."""
    known = replace(baseline, cluster_hours=hours)
    result = MONITORS["drift"].measure(window(known, lines, ["1,2,north"] * 300), WINDOW, SPEC)
    reported = list(result.problems or {})
    assert [problem.partition(":")[0] for problem in reported] == (
        ["windows of 168 hours contain several clusters of 1 hours, and clusters of a day are correlated"]
        if warned
        else []
    )
