"""Score estimates of earlier windows against measured metrics: once a window, when its labels are due."""

from collections.abc import Sequence

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.monitor_report import (
    EstimateScore,
    EstimatesResult,
    Measured,
    MonitorReport,
    ScoredWindow,
)
from mlops_runtime.monitor.monitors.classification import usable_rows
from mlops_runtime.monitor.monitors.label_measures import Target
from mlops_runtime.monitor.window import Window, stamp
from mlops_runtime.monitor.window_evidence import Evidence

KEPT = 10
# share of a window's predictions: fewer labels may not be representative
_LEAST_LABELLED = 0.5


def scored_windows(evidence: Evidence, window: Window, own: EstimatesResult, minimum: int) -> tuple[ScoredWindow, ...]:
    """Return the scored windows, newest first: those of the previous report, and the window whose labels are due now.

    Windows do not overlap. Windows of another model or baseline are dropped. A window with merged earlier hours is not scored,
    since its labels cover the window alone; nor is one in which fewer than half of the predictions, or fewer rows than ``minimum``,
    have a label.

    Args:
        evidence: The evidence of the run.
        window: The window of the run.
        own: The estimates of that window.
        minimum: Minimum number of labelled rows.
    """
    baseline, live = evidence.baseline, evidence.live
    if baseline is None or live is None:
        return ()
    before = next(iter(evidence.earlier()), None)
    kept = before.estimates.scored if before is not None and before.estimates and _is_same(before, evidence) else ()
    due = evidence.matured
    if due is None or (kept and kept[0].window_until > stamp(due.start)):
        return kept
    report = evidence.matured_report
    if due == window:
        found = own if evidence.hours_merged == 0 else None
    elif report is None or report.hours_merged or not _is_same(report, evidence):
        found = None
    else:
        found = report.estimates
    scored = None if found is None else _scored(found.metrics, evidence, baseline, due, minimum)
    return kept if scored is None else (scored, *kept)[:KEPT]


def _is_same(report: MonitorReport, evidence: Evidence) -> bool:
    return (
        evidence.live is not None
        and evidence.baseline is not None
        and report.model_package_arn == evidence.live.model_package_arn
        and report.baseline_sha256 == content_hash(evidence.baseline)
    )


def _scored(
    metrics: Sequence[Measured], evidence: Evidence, baseline: Baseline, due: Window, minimum: int
) -> ScoredWindow | None:
    if evidence.labels is None or not metrics:
        return None
    rows = usable_rows(evidence.labels.matured, baseline)
    predictions = (metrics[0].rows or 0) * evidence.labels.share
    if len(rows) < max(minimum, _LEAST_LABELLED * predictions):
        return None
    measured = Target.of(baseline).values(rows)
    # the interval is for labels of all predictions: widen it for fewer
    wider = max(1.0, predictions / len(rows)) ** 0.5
    found = tuple(_score(metric, measured[metric.name], wider) for metric in metrics if _is_known(metric, measured))
    # a window without its primary metric is not scored
    if not found or found[0].name != metrics[0].name:
        return None
    return ScoredWindow(window_from=stamp(due.start), window_until=stamp(due.end), rows=len(rows), metrics=found)


def _is_known(metric: Measured, measured: dict[str, float]) -> bool:
    value = measured.get(metric.name, float("nan"))
    return value == value and None not in (metric.value, metric.low, metric.high)  # noqa: PLR0124 - NaN


def _score(metric: Measured, measured: float, wider: float) -> EstimateScore:
    value, low, high = (float(each or 0.0) for each in (metric.value, metric.low, metric.high))
    return EstimateScore(
        name=metric.name,
        estimated=value,
        low=value - wider * (value - low),
        high=value + wider * (high - value),
        measured=measured,
    )
