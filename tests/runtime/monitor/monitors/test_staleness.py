"""How old captures, labels and baseline are, where that is published, and what is advised."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.runtime.monitor.evidence import FULL, SPEC
from tests.runtime.monitor.test_report import WINDOW, report_of

from mlops_runtime.monitor.monitors.staleness import advice, metrics, staleness
from mlops_runtime.monitor.window import HOUR


def test_staleness_is_from_what_came_last() -> None:
    """Newest capture to newest call; newest label to the window's end; the training data's end to it; coverage as measured."""
    hour = WINDOW.end - 30 * HOUR
    quality = FULL.quality
    assert quality is not None
    evidence = replace(
        FULL,
        newest_call=hour,
        newest_capture=hour - 5 * HOUR,
        newest_label=hour,
        quality=replace(quality, coverage=0.9),
    )
    assert staleness(evidence, WINDOW, SPEC) == {
        "capture_lag_hours": 5,
        "label_lag_hours": 30,
        "label_coverage": 0.9,
        "baseline_age_days": 13,
    }
    never = staleness(replace(evidence, newest_capture=None, newest_label=None), WINDOW, SPEC)
    assert never is not None
    assert (never["capture_lag_hours"], never["label_lag_hours"]) == (168, 168 + SPEC.label_delay_hours)
    captured_later = staleness(replace(evidence, newest_capture=hour + timedelta(hours=2)), WINDOW, SPEC)
    assert captured_later is not None
    assert captured_later["capture_lag_hours"] == 0
    assert staleness(replace(evidence, baseline=None, flaw="gone"), WINDOW, SPEC) == {
        "capture_lag_hours": 5,
        "label_coverage": 0.9,
    }


def test_each_age_is_published_of_the_monitor_that_it_is_about() -> None:
    """Labels are quality's, captures and the baseline drift's."""
    report = replace(
        report_of(FULL), staleness={"label_coverage": 0.4, "label_lag_hours": 30.0, "baseline_age_days": 13.0}
    )
    assert [(value.monitor, value.name, value.value) for value in metrics(report)] == [
        ("quality", "LabelCoverage", 0.4),
        ("quality", "LabelLagHours", 30.0),
        ("drift", "BaselineAgeDays", 13.0),
    ]


@pytest.mark.parametrize(
    ("coverage", "said"), [(0.49, ["only 49 % of the predictions due a label have one: ask for the others"]), (0.5, [])]
)
def test_missing_labels_are_asked_for(coverage: float, said: list[str]) -> None:
    """Where less than half of them came."""
    assert list(advice(replace(report_of(FULL), staleness={"label_coverage": coverage}))) == said
