"""The monitor of estimates over days of captures with late labels: states, messages, metrics and page, never a violation.

Its estimates of earlier windows are scored by their labels: which windows are scored, and only once.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from tests.runtime.monitor.evidence import FULL, report_of
from tests.runtime.monitor.monitors.estimates.holdouts import NAMES, Window, learnt, window
from tests.runtime.monitor.timeline import LIVE, START, Timeline

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.monitor import Baseline, Counts, MonitorState
from mlops_runtime.contracts.monitor_report import EstimateScore, EstimatesResult, Measured, MonitorReport, ScoredWindow
from mlops_runtime.monitor.monitors.estimates.estimates_monitor import ESTIMATES, KEPT, scored_windows
from mlops_runtime.monitor.monitors.label_join import join
from mlops_runtime.monitor.monitors.monitor_table import violations
from mlops_runtime.monitor.monitors.rows import Rows
from mlops_runtime.monitor.page.report_words import monitor_text, tone
from mlops_runtime.monitor.page.window_page import page
from mlops_runtime.monitor.scheduled_run import count_object
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import HOUR, stamp
from mlops_runtime.monitor.window import Window as Hours
from mlops_runtime.monitor.window_evidence import Evidence

BASELINE = learnt("regression", 5000, 1)
SPEC = MonitorSpec(label_delay_hours=48, merge_hours=0)
DAY = Hours(START, START + timedelta(days=1))
NOW = Hours(datetime(2017, 8, 7, tzinfo=UTC), datetime(2017, 8, 8, tzinfo=UTC))
DUE = NOW.due(72, 24)
MAE = Measured(name="mae", value=1.0, low=0.8, high=1.2, rows=400)
WAPE = Measured(name="wape", value=0.1, low=0.08, high=0.12, rows=400)
ESTIMATED = EstimatesResult(rows=400, metrics=(MAE, WAPE))


class Days:
    """An endpoint with daily captures and counts, and labels two days later."""

    def __init__(self, baseline: Baseline = BASELINE, spec: MonitorSpec = SPEC) -> None:
        """Start with a live model."""
        self.baseline = baseline
        self.line = Timeline(window=24, every=24, spec=spec)
        self.line.s3.put_object(Bucket="artifacts", Key="baseline.json", Body=canonical_json(baseline))
        self.line.table.live = replace(LIVE, baseline_sha256=content_hash(baseline), training_set_id="t")

    def day(self, number: int, shown: Window, *, labelled: bool = True) -> MonitorReport:
        """Capture a day, upload its labels two days later, and decide on the following morning."""
        for hour in (3, 15):
            at = START + timedelta(days=number, hours=hour)
            self.line.call(24 * number + hour, 10)
            part = slice(0, None, 2) if hour == 3 else slice(1, None, 2)
            rows = np.stack([shown.columns[name][part] for name in NAMES], axis=1).tolist()
            sides = {
                "endpointInput": "\n".join(",".join(map(str, row)) for row in rows),
                "endpointOutput": "\n".join(map(str, shown.rows.prediction[part].tolist())),
            }
            captured = {
                name: {"observedContentType": "text/csv", "mode": name[8:].upper(), "encoding": "CSV", "data": data}
                for name, data in sides.items()
            }
            event = {"eventId": f"{number}-{hour}"}
            reported = {
                "captureData": captured,
                "eventMetadata": {**event, "inferenceTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"},
            }
            key = f"capture/e/v/{at:%Y/%m/%d/%H}/a.jsonl"
            self.line.s3.put_object(Bucket="captures", Key=key, Body=json.dumps(reported).encode())
            detail = {"bucket": {"name": "captures"}, "object": {"key": key}}
            count_object(json.dumps({"detail": detail}), self.line.store, self.line.table)  # type: ignore[arg-type] # in memory
            data = {"data": "\n".join(map(str, shown.rows.label[part].tolist())), "encoding": "CSV"}
            label = json.dumps({"groundTruthData": data, "eventMetadata": event, "eventVersion": "0"})
            if labelled:
                upload = at + 30 * HOUR
                self.line.s3.put_object(
                    Bucket="captures", Key=f"labels/e/{upload:%Y/%m/%d/%H}/{number}-{hour}.jsonl", Body=label.encode()
                )
        return self.line.run(24 * (number + 1))


def result_of(report: MonitorReport) -> EstimatesResult:
    """Return the estimates of a report."""
    assert report.estimates is not None
    return report.estimates


def values(report: MonitorReport) -> dict[str, float]:
    """Return the published metrics of estimates."""
    return {each.name: each.value for each in report.metrics if each.monitor == "estimates"}


def test_estimates_come_at_once_and_are_scored_when_labels_do() -> None:
    """Each day is estimated at once; two days later its labels appear next to the estimate in message, metrics and page."""
    days = Days()
    reports = [days.day(number, window("regression", 600, number)) for number in range(4)]
    first = result_of(reports[0])
    assert (first.state, first.rows, first.scored) == (MonitorState.OK, 600, ())
    assert values(reports[0]) == {"EstimatedWape": first.metrics[0].value}
    assert reports[0].quality is not None and reports[0].quality.state is MonitorState.NO_LABELS_YET
    assert "no labels yet; estimated WAPE 0.1" in reports[0].verdict
    assert monitor_text(reports[0], "estimates").word == "estimated"
    last = result_of(reports[3])
    assert [each.window_until for each in last.scored] == [reports[1].window_until, reports[0].window_until]
    shown = window("regression", 600, 0)
    assert last.scored[1].rows == 600
    by_name = {each.name: each for each in last.scored[1].metrics}
    assert by_name["mae"].measured == pytest.approx(np.abs(shown.rows.prediction - shown.rows.label).mean())
    assert by_name["mae"].estimated == first.metrics[1].value
    text = page(reports[3], baseline=BASELINE, counts=None, history=reports)
    assert "Estimated and measured" in text and "expected before labels arrive, not measured" in text
    assert from_json(MonitorReport, canonical_json(reports[3])) == reports[3]


def test_after_two_wrong_estimates_of_three_none_is_believed_and_all_are_kept() -> None:
    """A changed concept is invisible until labels arrive; after two wrong estimates of three, values are kept but not published."""
    days = Days()
    reports = [days.day(number, window("regression", 600, number, concept=2.0)) for number in range(6)]
    assert [result_of(report).state for report in reports] == [MonitorState.OK] * 3 + [
        MonitorState.INSUFFICIENT_DATA
    ] * 3
    last = result_of(reports[5])
    assert last.metrics and values(reports[5]) == {}
    assert "not estimable: the last estimates were wrong: labels of 3 of the last 3 windows" in reports[5].verdict
    assert "EstimatedWape" in {name for report in reports[:3] for name in values(report)}
    text = page(reports[5], baseline=BASELINE, counts=None, history=())
    assert "Not estimable: the last estimates were wrong" in text


def test_estimates_beyond_a_limit_warn_once_labels_confirmed_earlier_ones() -> None:
    """After two of three confirmed estimates, one whose whole interval is worse than the limit warns by a metric and a message.

    It is never a violation.
    """
    spec = replace(SPEC, estimate_limits={"wape": 0.15, "wape/weight": 0.3})
    days = Days(spec=spec)
    reports = [
        days.day(number, window("regression", 600, number, noise=0.0 if number < 5 else 1.0)) for number in range(6)
    ]
    beyond = [values(report)["EstimatesBeyondLimits"] for report in reports]
    assert beyond == [0, 0, 0, 0, 0, 1]
    last = result_of(reports[5])
    wape = last.metrics[0]
    assert (wape.limit, wape.violated, last.state) == (0.15, True, MonitorState.OK)
    assert "estimated WAPE beyond its limit of 0.15, not measured yet" in reports[5].verdict
    assert "estimate_limits names 'wape/weight'; the estimated metrics are wape, mae, rmse" in (last.note or "")
    assert list(ESTIMATES.violations(last, Evidence(), spec)) == []
    text = page(reports[5], baseline=BASELINE, counts=None, history=())
    assert "limit 0.15, beyond it" in text
    # as bad from the start: no estimate is confirmed yet
    early = Days(spec=spec)
    first = result_of(early.day(0, window("regression", 600, 0, noise=1.0)))
    assert (first.beyond_limits, first.metrics[0].limit, first.metrics[0].violated) == (0, 0.15, None)


def test_without_labels_nothing_is_scored() -> None:
    """Without labels nothing is scored, and estimation continues."""
    days = Days()
    reports = [days.day(number, window("regression", 600, number), labelled=False) for number in range(4)]
    assert all(result_of(report).state is MonitorState.OK and not result_of(report).scored for report in reports)


def estimated(baseline: Baseline, counts: Counts | None, spec: MonitorSpec = SPEC) -> EstimatesResult | None:
    """Return the result for counts."""
    evidence = Evidence(live=LIVE, baseline=baseline, counts=counts)
    return ESTIMATES.measure(evidence, DAY, spec)


@pytest.mark.parametrize(
    ("baseline", "rows", "shift", "why"),
    [
        (
            replace(BASELINE, estimator=None),
            1000,
            0.0,
            "the baseline has no labelled holdout with predictions, of at least 200",
        ),
        (replace(BASELINE, estimator=None, target="vector"), 1000, 0.0, "a model of vectors has no estimate"),
        (
            replace(BASELINE, estimator=None, target="outputs", outputs=tuple(map(str, range(21)))),
            1000,
            0.0,
            "a model of 21 outputs has no estimate, at most 20 are supported",
        ),
        (BASELINE, 199, 0.0, "199 predictions are too few, 200 are needed"),
        (BASELINE, 1000, 2.5, "a: the window corresponds to "),
    ],
)
def test_what_is_not_estimable_is_said_with_its_number(baseline: Baseline, rows: int, shift: float, why: str) -> None:
    """A window that cannot be estimated has its own state with the deciding number, no violation and no metric."""
    counts = window("regression", rows, 3, shift=shift).counts(baseline)
    found = estimated(baseline, counts)
    assert found is not None and found.not_estimable is not None and found.not_estimable.startswith(why)
    assert found.metrics == ()


def test_another_engine_has_no_estimates() -> None:
    """Neither SageMaker Model Monitor's engine nor a missing baseline gives estimates."""
    assert estimated(BASELINE, None) is None
    evidence = Evidence(live=LIVE)
    assert ESTIMATES.measure(evidence, DAY, SPEC) is None


def test_it_is_never_a_violation_and_makes_no_report_good() -> None:
    """Expected values are not tested, so they neither violate nor make a report OK."""
    days = Days()
    report = days.day(0, window("regression", 600, 1, noise=1.0))
    found = result_of(report)
    assert found.state is MonitorState.OK and found.note == "expected from d, not from the prediction"
    assert list(ESTIMATES.violations(found, Evidence(), SPEC)) == []
    assert all(line.constraint_check_type != "estimates" for line in violations(report, Evidence()).violations)
    quiet = replace(report, drift=replace(report.drift, state=MonitorState.INSUFFICIENT_DATA, scrutiny=None))
    assert tone(quiet) == "unknown"


def reported(window: Hours, estimates: EstimatesResult | None, **changes: Any) -> MonitorReport:
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
        due = Hours(DUE.start - back, DUE.end - back)
        before = reported(due, EstimatesResult(scored=kept))
        found = evidence(1.0, matured=due, earlier=lambda before=before: [before])
        kept = scored(found)
        own = reported(due, EstimatesResult(scored=kept))
        again = replace(found, earlier=lambda own=own: [own])
        assert scored(again) == kept
        overlapping = Hours(due.start + timedelta(hours=6), due.end + timedelta(hours=6))
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
