"""Ages of captures, labels and baseline, their metrics, and the advice."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.runtime.monitor.evidence import FULL, GOOD, SPEC, WINDOW, report_of

from mlops_runtime.contracts.monitor_report import Staleness
from mlops_runtime.monitor.monitors.staleness import advice, metrics, staleness
from mlops_runtime.monitor.window import HOUR
from mlops_runtime.monitor.window_evidence import Evidence


def of(evidence: Evidence) -> Staleness | None:
    """Return the staleness of evidence with labels for nine of ten rows."""
    return staleness(evidence, replace(GOOD, coverage=0.9), WINDOW, SPEC)


def test_staleness_is_from_what_came_last() -> None:
    """Ages: newest capture to newest call, newest label to the window's end, end of training data to it; measured coverage."""
    hour = WINDOW.end - 30 * HOUR
    evidence = replace(
        FULL,
        newest_call=hour,
        newest_capture=hour - 5 * HOUR,
        newest_label=hour,
    )
    known = Staleness(capture_lag_hours=5, label_lag_hours=30, label_coverage=0.9, baseline_age_days=13)
    assert of(evidence) == known
    never = of(replace(evidence, newest_capture=None, newest_label=None))
    assert never == replace(known, capture_lag_hours=168, label_lag_hours=168 + SPEC.label_delay_hours)
    captured_later = of(replace(evidence, newest_capture=hour + timedelta(hours=2)))
    assert captured_later == replace(known, capture_lag_hours=0)
    without = of(replace(evidence, baseline=None, flaw="gone"))
    assert without == Staleness(capture_lag_hours=5, label_coverage=0.9)


def test_each_age_is_published_of_the_monitor_that_it_is_about() -> None:
    """Label ages belong to quality, ages of captures and baseline to drift."""
    ages = Staleness(capture_lag_hours=0.0, label_lag_hours=30.0, baseline_age_days=13.0, label_coverage=0.4)
    report = replace(report_of(FULL), staleness=ages)
    assert [(value.monitor, value.name, value.value) for value in metrics(report)] == [
        ("drift", "CaptureLagHours", 0.0),
        ("quality", "LabelLagHours", 30.0),
        ("drift", "BaselineAgeDays", 13.0),
        ("quality", "LabelCoverage", 0.4),
    ]


@pytest.mark.parametrize(
    ("coverage", "expected"),
    [(0.49, ["only 49 % of the predictions due a label have one: request the others"]), (0.5, [])],
)
def test_missing_labels_are_asked_for(coverage: float, expected: list[str]) -> None:
    """Below half of the labels, the advice is to deliver them."""
    ages = Staleness(capture_lag_hours=0.0, label_coverage=coverage)
    assert list(advice(replace(report_of(FULL), staleness=ages))) == expected
