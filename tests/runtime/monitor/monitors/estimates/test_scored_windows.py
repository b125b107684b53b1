"""Estimates of earlier windows scored by their labels: which windows are scored, and only once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from tests.runtime.monitor.evidence import FULL, report_of

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.monitor_report import EstimateScore, EstimatesResult, Measured, MonitorReport, ScoredWindow
from mlops_runtime.monitor.monitors.estimates.scored_windows import KEPT, scored_windows
from mlops_runtime.monitor.monitors.label_join import join
from mlops_runtime.monitor.monitors.rows import Rows
from mlops_runtime.monitor.window import Window, stamp
from mlops_runtime.monitor.window_evidence import Evidence

NOW = Window(datetime(2017, 8, 7, tzinfo=UTC), datetime(2017, 8, 8, tzinfo=UTC))
DUE = NOW.due(72, 24)
MAE = Measured(name="mae", value=1.0, low=0.8, high=1.2, rows=400)
WAPE = Measured(name="wape", value=0.1, low=0.08, high=0.12, rows=400)
ESTIMATED = EstimatesResult(rows=400, metrics=(MAE, WAPE))


def reported(window: Window, estimates: EstimatesResult | None, **changes: Any) -> MonitorReport:
    """Return the report of a window of the live model."""
    of = {"window_from": stamp(window.start), "window_until": stamp(window.end), "estimates": estimates}
    return replace(report_of(FULL), **{**of, **changes})


def evidence(
    error: float, rows: int = 400, *, estimates: EstimatesResult | None = ESTIMATED, **changes: Any
) -> Evidence:
    """Return evidence of the run in which the due window's labels arrived, each off by the error."""
    label = np.full(rows, 10.0)
    labels = replace(join([], []), matured=Rows.of(label + error, label))
    found = replace(FULL, labels=labels, matured=DUE, matured_report=reported(DUE, estimates))
    return replace(found, **changes)


def scored(found: Evidence, own: EstimatesResult | None = None) -> tuple[ScoredWindow, ...]:
    """Return the scores of the run of the window."""
    return scored_windows(found, NOW, own or EstimatesResult(), 100)


def test_a_window_is_scored_when_its_labels_are_due() -> None:
    """Each estimate is compared with its labels: whether they lie in its interval."""
    [window] = scored(evidence(1.1))
    assert (window.window_from, window.window_until, window.rows) == (stamp(DUE.start), stamp(DUE.end), 400)
    assert [(each.name, each.is_outside) for each in window.metrics] == [("mae", False), ("wape", False)]
    assert window.metrics[0] == EstimateScore(name="mae", estimated=1.0, low=0.8, high=1.2, measured=pytest.approx(1.1))
    assert [each.is_outside for each in scored(evidence(1.3))[0].metrics] == [True, True]


def test_the_interval_of_fewer_labels_is_wider() -> None:
    """With labels for half of the rows, the interval is wider by the square root of two."""
    [window] = scored(evidence(1.25, 200))
    assert window.metrics[0].high == pytest.approx(1 + 0.2 * 2**0.5)
    assert not window.metrics[0].is_outside


@pytest.mark.parametrize(
    "why",
    [
        "few of its labels",
        "no report",
        "hours were added",
        "another model",
        "another baseline",
        "not estimated",
        "too few rows",
        "sampled",
    ],
)
def test_what_is_not_scored(why: str) -> None:
    """Not scored: windows without a report, of another model, or with labels for less than half of their predictions."""
    changes: dict[str, Any] = {}
    if why == "no report":
        changes["matured_report"] = None
    elif why == "hours were added":
        changes["matured_report"] = reported(DUE, ESTIMATED, hours_merged=6)
    elif why == "another model":
        changes["matured_report"] = reported(DUE, ESTIMATED, model_package_arn="arn:p/0")
    elif why == "another baseline":
        changes["matured_report"] = reported(DUE, ESTIMATED, baseline_sha256="0" * 64)
    elif why == "not estimated":
        changes["matured_report"] = reported(DUE, EstimatesResult(not_estimable="few"))
    rows = {"few of its labels": 199, "too few rows": 99}.get(why, 400)
    found = evidence(1.0, rows, **changes)
    if why == "sampled":  # a tenth of the calls is captured, so a tenth of the labels is complete
        found = evidence(1.0, 150)
        assert scored(found) == ()
        assert found.labels is not None
        assert len(scored(replace(found, labels=replace(found.labels, share=0.5)))) == 1
        return
    assert scored(found) == ()


def test_windows_scored_before_are_kept_and_share_no_hour() -> None:
    """Keeps the newest ten, and scores a window once, also with runs every few hours."""
    kept: tuple[ScoredWindow, ...] = ()
    for day in range(12):
        back = timedelta(days=11 - day)
        due = Window(DUE.start - back, DUE.end - back)
        before = reported(due, EstimatesResult(scored=kept))
        found = evidence(1.0, matured=due, earlier=lambda before=before: [before])
        kept = scored(found)
        own = reported(due, EstimatesResult(scored=kept))
        again = replace(found, earlier=lambda own=own: [own])
        assert scored(again) == kept
        overlapping = Window(due.start + timedelta(hours=6), due.end + timedelta(hours=6))
        assert scored(replace(again, matured=overlapping)) == kept
    assert len(kept) == KEPT
    assert [each.window_until for each in kept] == sorted((each.window_until for each in kept), reverse=True)
    promoted = reported(DUE, EstimatesResult(scored=kept), model_package_arn="arn:p/0")
    assert scored(evidence(1.0, earlier=lambda: [promoted], matured_report=None)) == ()


def test_labels_that_come_at_once_score_their_own_window() -> None:
    """Labels without a delay score their own window, unless it was extended by earlier hours."""
    found = evidence(1.0, matured=NOW, matured_report=None)
    assert [each.window_until for each in scored(found, ESTIMATED)] == [stamp(NOW.end)]
    assert scored(replace(found, hours_merged=3), ESTIMATED) == ()


def test_without_a_baseline_nothing_is_scored() -> None:
    """Without a baseline or a live model nothing is scored."""
    assert scored(evidence(1.0, baseline=None)) == scored(evidence(1.0, live=None)) == ()
    baseline = FULL.baseline
    assert baseline is not None and content_hash(baseline) == report_of(FULL).baseline_sha256
